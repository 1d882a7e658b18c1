"""Live MongoDB queries for browsers and programs: a snapshot and a stream, without gap or repeat."""

__version__ = "0.1.0"
