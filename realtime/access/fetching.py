"""A GET that ends in time, whatever the address does: names apart, which the machine's own resolver bounds.

The timeouts of `urllib` are of each read. An address that gives a byte of its head, or of its TLS handshake, now and
then would hold a thread for as long as it likes.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

_CHUNK = 16384


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The address that was configured is the one that is believed."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Deadline:
    """Connections that are cut when the time is over."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._held: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    @property
    def left(self) -> float:
        """Seconds; `TimeoutError` where there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("not whole in time")
        return left

    def connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        """As `socket.create_connection`, of whose addresses all together have the time."""
        failed: OSError = OSError("no address")
        for family, kind, protocol, _name, place in socket.getaddrinfo(*address, 0, socket.SOCK_STREAM):
            one = socket.socket(family, kind, protocol)
            try:
                one.settimeout(self.left)
                one.connect(place)
            except OSError as error:
                one.close()
                failed = error
            else:
                # A second handle: TLS takes the first one for itself.
                self._held.append(one.dup())
                return one
        raise failed

    def close(self) -> None:
        """The time counts no more."""
        self._timer.cancel()
        for one in self._held:
            one.close()

    def _cut(self) -> None:
        for one in list(self._held):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_made(http.client.HTTPConnection, self._deadline), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        made = _made(http.client.HTTPSConnection, self._deadline)
        return self.do_open(made, request, context=ssl.create_default_context())


def _made(kind: Callable[..., Any], deadline: _Deadline) -> Any:
    def connection(host: str, **options: Any) -> Any:
        made = kind(host, **options)
        made._create_connection = deadline.connect
        return made

    return connection


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline(seconds)
    try:
        yield deadline
    finally:
        deadline.close()


def get(url: str, seconds: float, most: int) -> bytes:
    """The body at an address, which does not redirect. `OSError`, `ValueError` over `most` bytes, `HTTPException`."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked by Settings
    with _within(seconds) as deadline:
        opener = urllib.request.build_opener(_NoRedirects, _Http(deadline), _Https(deadline))
        with opener.open(request, timeout=seconds) as reply:
            body = b""
            while chunk := reply.read1(_CHUNK):
                body += chunk
                if len(body) > most:
                    raise ValueError(f"over {most} bytes")
            _ = deadline.left  # what was cut looks as if it were whole
    return body
