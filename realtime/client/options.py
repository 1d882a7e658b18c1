"""How a client was asked to behave, and the address that it connects to."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from realtime.client.bearer import Token
from realtime.client.records import Backoff
from realtime.errors import InvalidRequestError

MAX_FRAME = 128 * 1024 * 1024
"""A frame that holds two documents of MongoDB's largest size as JSON, both images of an update, fits in by far."""
LEAST_FRAME = 4096
"""The least that a service is content with."""
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Options:
    """How a client behaves; seconds and bytes. Described at `realtime.client.connect`."""

    url: str
    token: Token = field(repr=False)
    backoff: Backoff
    connect_timeout: float | None
    request_timeout: float
    buffer_bytes: int
    max_frame: int


def address_of(url: str) -> str:
    """The WebSocket address of the service at a URL. `InvalidRequestError` where it cannot be one."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise InvalidRequestError(f"{url!r} is no address of a service: write it as http://host:port/prefix")
    path = parts.path.rstrip("/").removesuffix("/v1/ws") + "/v1/ws"
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, "", ""))
