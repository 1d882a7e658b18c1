"""Any address of a service becomes that of its socket; what is none is said."""

from __future__ import annotations

import pytest

from realtime.client.options import address_of
from realtime.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/v1/ws"),
        ("https://h/live/", "wss://h/live/v1/ws"),
        ("ws://h:1/v1/ws", "ws://h:1/v1/ws"),
        ("wss://h", "wss://h/v1/ws"),
    ],
)
def test_any_url_of_the_service_will_do(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://h", "http://"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="http://host:port/prefix"):
        address_of(url)
