"""OpenAPI and AsyncAPI."""
