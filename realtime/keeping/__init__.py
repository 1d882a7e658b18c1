"""An embedded server: a process that ends with its service, and starts again where it dies meanwhile."""
