"""A GET that ends in time, at addresses on loopback that do what they like."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import pytest

from realtime.access.fetching import get

SECONDS = 0.5
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
TLS = b"\x16\x03\x03\x40\x00"


@contextmanager
def trickling(head: bytes, then: bytes, every: float = 0.05) -> Iterator[int]:
    """An address that says this at once, and that byte by byte."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.sendall(head)
                    for byte in then:
                        if over.wait(every):
                            return
                        peer.sendall(bytes([byte]))
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_what_comes_in_time_is_there() -> None:
    with trickling(WHOLE, b"") as port:
        assert get(f"http://127.0.0.1:{port}/", 10, 100) == b"{}"


@pytest.mark.parametrize(
    ("scheme", "head", "then"),
    [
        ("http", b"", b"H" * 1000),
        ("http", b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000),
        ("http", ENDLESS, b" " * 1000),
        ("https", TLS, b"\x02" * 1000),
    ],
    ids=["status", "head", "body", "handshake"],
)
def test_an_address_that_trickles_holds_nobody(scheme: str, head: bytes, then: bytes) -> None:
    with trickling(head, then) as port:
        began = time.monotonic()
        with pytest.raises((OSError, HTTPException)):
            get(f"{scheme}://127.0.0.1:{port}/", SECONDS, 100_000)
        assert SECONDS * 0.9 <= time.monotonic() - began < 10, "50 s is what it would take"


def test_too_much_is_refused() -> None:
    with trickling(ENDLESS + b" " * 200, b"") as port, pytest.raises(ValueError, match="over 100 bytes"):
        get(f"http://127.0.0.1:{port}/", 10, 100)
