"""What a change means: events, moments, query groups and how a change finds them, the journal."""
