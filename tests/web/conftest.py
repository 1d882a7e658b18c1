"""Every test here talks to a real service over a real socket."""

from tests.serving import service

__all__ = ["service"]
