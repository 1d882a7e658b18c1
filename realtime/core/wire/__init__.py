"""What travels: frames, their schema, cursors of pages, the collections that are served."""
