"""Documents over HTTP: requests, lists, event streams, NDJSON."""
