"""The relay: reads one change stream, completes its batches, and publishes them for any number of nodes."""
