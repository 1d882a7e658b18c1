"""What a deployment does, measured from outside: connections, writes, deliveries."""
