"""Who the client is behind proxies that are trusted; uvicorn, which decides so of a request, is the judge."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from realtime.core.access.forwarded import LONGEST, client_of

TRUSTED = ("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1")


def trusts(host: str) -> bool:
    try:
        return any(ipaddress.ip_address(host) in ipaddress.ip_network(one) for one in TRUSTED)
    except ValueError:
        return False


def judged(said: str) -> str | None:
    """Whom uvicorn takes for the client; None: the proxy."""
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    headers = [(b"x-forwarded-for", said.encode("latin1"))]
    scope: Any = {"type": "http", "client": ("127.0.0.1", 1), "headers": headers}
    asyncio.run(ProxyHeadersMiddleware(app, list(TRUSTED))(scope, None, None))  # type: ignore[arg-type]  # reason: never called
    return None if seen == ["127.0.0.1"] else str(seen[0])


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.66, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("192.0.2.66 ,192.0.2.7:4711, 10.1.2.3, 10.1.2.4:80", "192.0.2.7"),
        ("10.1.2.3, 10.1.2.4", "10.1.2.3"),
        ("2001:db8:2::7", "2001:db8:2::7"),
        ("[2001:db8:2::7]:80, [2001:db8:1::1]", "2001:db8:2::7"),
        ("[2001:db8:2::7]", "2001:db8:2::7"),
        ("[2001:db8:2::7", "[2001:db8:2::7"),
        ("[2001:db8:2::7]x", "[2001:db8:2::7]x"),
        ("unknown", "unknown"),
        ("192.0.2.7:http", "192.0.2.7:http"),
        ("", None),
        ("192.0.2.7,", None),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_is(said: str, client: str | None) -> None:
    assert client_of(said, trusts) == client == judged(said)


def test_what_is_no_address_is_short() -> None:
    assert client_of("x" * 5000, trusts) == "x" * LONGEST
