"""The demo's writer and its small shop."""
