"""Aggregation pipelines that can be followed: compiled once, checked by name and place."""
