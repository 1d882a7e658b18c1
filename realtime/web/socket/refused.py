"""Sockets that are accepted and ended all the same, because a page cannot see why a handshake was refused."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.websockets import WebSocket

from realtime.core.connection.admission import Ending
from realtime.core.wire.closing import announced
from realtime.core.wire.protocol import Closing, ErrorFrame
from realtime.errors import ServiceError
from realtime.web.socket.handshake import protocol_of
from realtime.web.socket.uvicorn_sink import TransportSink

_OUTBOX_BYTES = 64 * 1024


class _Nobody:
    """Whoever a connection is for that is ending."""

    def receive(self, text: str) -> None: ...

    def receive_binary(self) -> None: ...

    def ended(self) -> None: ...

    def lapsed(self, channel: int) -> None: ...

    def drained(self, lapsed: Mapping[int, int]) -> None: ...


async def refuse(websocket: WebSocket, error: ServiceError, by: Ending) -> None:
    """Tell the error, and close an accepted socket."""
    told = ErrorFrame.of(error, None).encode()
    handshake = protocol_of(websocket)
    if handshake is not None:
        line, early = handshake.hand_over()
        sink = TransportSink(line, _OUTBOX_BYTES, _Nobody())
        line.start(_Nobody(), early)
        sink.send(told)
        sink.close(by.code, by.reason)
        return
    await websocket.send_text(told.decode())
    if announced(by.code):
        await websocket.send_text(Closing.of(by.code, by.reason, error.retry_after).encode().decode())
    await websocket.close(by.code, by.reason)
