"""What a relay publishes and nodes follow: messages, their parts and headers, and what a stream is of."""
