"""MongoDB: the only place that knows its driver."""
