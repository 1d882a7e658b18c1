"""What a relay shows of itself over HTTP: that it lives, whether it can publish, its instruments. It takes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from realtime.errors import ConfigurationError
from realtime.relay import figures

HEAD_BYTES: Final = 8 * 1024
HEAD_SECONDS: Final = 5.0


@asynccontextmanager
async def opened(
    host: str, port: int, away: Callable[[], str | None], publishes: Callable[[], bool]
) -> AsyncIterator[int]:
    """Answers probes and `/metrics` as long as the block lasts; its port. `ConfigurationError` where it is taken.

    The probes mean what they do at a service: `/healthz` is 200 while the process answers, for whoever would start it
    anew, and `/readyz` is 503 while nothing can be published. `away`: why, where that is so; one that waits for its
    turn is ready.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_answer(head, away(), publishes()))
            async with asyncio.timeout(HEAD_SECONDS):
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or asks what nobody asks here
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): choose another --admin-port "
            "(REALTIME_ADMIN_PORT)"
        ) from None
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _answer(head: bytes, away: str | None, publishes: bool) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path == b"/metrics":
        status, kind, body = "200 OK", "text/plain; version=0.0.4; charset=utf-8", figures.exposition()
    elif path == b"/healthz":
        status, kind, body = "200 OK", "application/json", b'{"status":"alive"}'
    elif path == b"/readyz":
        said = {"status": "ready" if away is None else "away", "publishes": publishes} | (
            {} if away is None else {"reason": away}
        )
        status, kind = "200 OK" if away is None else "503 Service Unavailable", "application/json"
        body = json.dumps(said).encode()
    else:
        status, kind, body = "404 Not Found", "text/plain; charset=utf-8", b"/healthz, /readyz and /metrics are here\n"
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return lines.encode() + (b"" if method == b"HEAD" else body)
