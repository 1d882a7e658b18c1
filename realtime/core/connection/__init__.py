"""One connection: its state, what waits for it, what several are told alike."""
