"""Accepting by hand, for TLS: a connection of an address over its limits is closed before a handshake, which costs a
millisecond. asyncio's own server tells of a connection only when its handshake is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from realtime.web.socket.gate import Gate, left

log = logging.getLogger("realtime.server")

AT_ONCE = 32
"""Connections that are accepted in one turn of the loop."""
PAUSE_SECONDS = 1.0
"""Time without accepting where there are no files or no memory for it."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Accepting:
    """Accepts from one listening socket until `close`.

    `make` gives the protocol of a connection that was counted by its socket, which then counts by its transport.
    """

    def __init__(
        self,
        listening: socket.socket,
        gate: Gate,
        make: Callable[[socket.socket], asyncio.Protocol],
        *,
        context: ssl.SSLContext,
        handshake_seconds: float,
    ) -> None:
        self._listening = listening
        self._gate = gate
        self._make = make
        self._context = context
        self._handshake_seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def begin(self, backlog: int) -> None:
        """Listen."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self._go_on()

    def close(self) -> None:
        """Accept nobody any more; whose handshake is not over by now is let go."""
        self._loop.remove_reader(self._listening.fileno())
        if self._pause is not None:
            self._pause.cancel()
        for task in self._shaking:
            task.cancel()

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another worker was faster, or the peer has gone
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                log.warning("no connection is accepted for %g s: %s", PAUSE_SECONDS, error.strerror)
                self._loop.remove_reader(self._listening.fileno())
                self._pause = self._loop.call_later(PAUSE_SECONDS, self._go_on)
                return
            if not self._gate.enters(connection, peer):
                connection.close()
                continue
            connection.setblocking(False)
            task = self._loop.create_task(self._shake(connection))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, connection: socket.socket) -> None:
        # What is no TLS, or too slow, is nobody's business but its peer's.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                lambda: self._make(connection),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_seconds,
            )
        left(connection)
