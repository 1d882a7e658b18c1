"""Whose request it is that came through a proxy, by the `X-Forwarded-For` of who is trusted to say so."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 64
"""Characters of what is no address and counts all the same."""


def client_of(said: str, trusts: Callable[[str], bool]) -> str | None:
    """The last of the addresses in a header, or in several joined by commas, that is no trusted proxy's own.

    Each proxy adds at the end from where a request came to it, so what stands before that is anybody's word. None
    where nothing is said. `uvicorn` decides alike who the client is.
    """
    hosts = [_host(one.strip()) for one in said.split(",")]
    found = next((host for host in reversed(hosts) if not trusts(host)), hosts[0])
    return found[:LONGEST] or None


def _host(said: str) -> str:
    """An address without its port: as `192.0.2.7:80`, `[2001:db8::7]:80`, or plain."""
    if said.startswith("["):
        host, bracket, port = said[1:].partition("]")
        return host if bracket and (not port or port.startswith(":")) else said
    host, _, port = said.partition(":")
    return host if port.isdecimal() else said
