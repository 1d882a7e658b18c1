"""uvicorn, as the service runs it: shared bytes on the sockets, and an end that leaves the clean-up to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from realtime.errors import ConfigurationError
from realtime.settings import Settings
from realtime.web.frames import FrameProtocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """A uvicorn server that ends without raising the signal again, which would end the process before its clean-up."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], on_started: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so."""
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            await self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell every client that this is a farewell and no fault, before uvicorn closes what is left."""
        self._drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: an orderly end. Second: at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def make_server(app: FastAPI, settings: Settings, on_started: Callable[[], Awaitable[None]] | None = None) -> Server:
    """A server for `app`, whose lifespan the caller runs. `on_started` is awaited once it listens."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws=FrameProtocol,
        ws_max_size=settings.frame_bytes,
        # Deflate is state per connection: it forbids shared bytes and costs tens of KiB each.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # A half-open peer is gone within 30 s: a ping, and its time to answer.
        ws_ping_interval=8,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        timeout_keep_alive=75,
    )
    return Server(config, app.state.realtime.drain, on_started)


def bind(settings: Settings) -> socket.socket:
    """A listening socket. `ConfigurationError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A peer that takes nothing for this long is gone, whatever its keepalive says.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): choose another --port, or --port 0 "
            "for a free one"
        ) from None
    return listening
