"""NATS and its JetStream: what a relay publishes, and what nodes follow in place of a change stream of their own."""
