"""How a running service is watched."""
