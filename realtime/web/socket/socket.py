"""`/v1/ws`: a thin shell around `core.connection.session`. Frames in, effects out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from realtime import metrics
from realtime.core.connection import session
from realtime.core.live.events import format_position
from realtime.core.wire import protocol
from realtime.errors import InternalError, MalformedFrameError, ServiceError, TimedOutError
from realtime.hub.roster import Subscription
from realtime.ports import Sink, Writer, Written
from realtime.web.entrance.asgi_sink import AsgiSink
from realtime.web.entrance.live import Live, Perhaps
from realtime.web.socket.uvicorn_sink import EXTENSION, TransportSink

log = logging.getLogger("realtime.socket")

FENCE_SECONDS = 30.0
_TOO_BIG = 1009

router = APIRouter()


@router.websocket("/v1/ws", name="socket")
async def socket(websocket: WebSocket, live: Perhaps) -> None:
    """The wire protocol, version 1 (docs/protocol.md)."""
    if live is None:
        # Refused by the entrance, which has answered.
        return
    # A token may travel as a subprotocol; the one that is answered never carries it.
    subprotocol = "realtime.v1" if "realtime.v1" in websocket.scope.get("subprotocols", []) else None
    await websocket.accept(subprotocol=subprotocol)
    await Connection(websocket, live).run()


class Connection:
    """One accepted socket: carries out what its session decides, in the order of its frames."""

    sink: Sink

    def __init__(self, websocket: WebSocket, live: Live) -> None:
        self._websocket = websocket
        self._live = live
        self._hub = live.hub
        self._session = session.Session(secrets.token_hex(8), live.limits, live.epoch)
        self._writes: asyncio.Queue[protocol.Write | None] = asyncio.Queue()
        self._timers: dict[asyncio.TimerHandle, None] = {}
        self._leaving: tuple[int, str] | None = None
        self._effects: dict[type[Any], Callable[[Any], None]] = {
            session.Send: lambda effect: self.sink.send(effect.frame),
            session.OpenSubscription: self._open,
            session.EndSubscription: lambda effect: self._hub.detach(self, effect.id),
            session.StartWrite: lambda effect: self._writes.put_nowait(effect.request),
            session.Fence: self._fence,
        }

    async def run(self) -> None:
        """Until the peer or the service ends the connection."""
        async with asyncio.TaskGroup() as tasks:
            sender = self._make_sink(tasks)
            writer = tasks.create_task(self._write_in_order())
            self._live.connections.add(self)
            metrics.CONNECTIONS.inc()
            try:
                self._greet()
                await self._receive()
            except WebSocketDisconnect:
                pass
            finally:
                metrics.CONNECTIONS.dec()
                self._live.connections.discard(self)
                self._hub.drop(self)
                for timer in self._timers:
                    timer.cancel()
                # Writes that were taken are carried out, in order, although nobody hears of them.
                self._writes.put_nowait(None)
                await asyncio.wait({writer})
                if sender is not None:
                    sender.cancel()

    def subscription_ended(self, subscription_id: str) -> None:
        """The hub ended a subscription; its id is free again."""
        self._session.subscription_ended(subscription_id)

    def leave(self, code: int, reason: str) -> None:
        """End the connection once its writes are answered; from now on nothing more is taken from it."""
        self._leaving = (code, reason)
        self._leave_if_answered()

    def _leave_if_answered(self) -> None:
        if self._leaving is not None and not self._session.pending_writes:
            self.sink.close(*self._leaving)

    def lapsed(self, channel: int) -> None:
        """The outbox dropped what waited of a channel."""
        self._hub.slow.lapsed(self, channel)

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Everything else was taken."""
        self._hub.slow.drained(self, lapsed)

    def _make_sink(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None] | None:
        transport = self._websocket.scope.get("extensions", {}).get(EXTENSION)
        if transport is not None:
            self.sink = TransportSink(transport, self._live.settings.outbox_bytes, self)
            return None
        sink = AsgiSink(self._websocket, self._live.settings.outbox_bytes, self)
        self.sink = sink
        return tasks.create_task(sink.run())

    def _greet(self) -> None:
        self.sink.send(self._session.welcome(self._hub.time, self._live.settings.heartbeat_seconds))
        if self._live.degraded is not None:
            self.sink.send(self._live.degraded.encode())

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if self._leaving is not None:
                continue
            if text is None:
                error = MalformedFrameError("a frame is text, this one was binary")
                self.sink.send(protocol.ErrorFrame.of(error, None).encode())
            elif len(text.encode()) > self._live.limits.frame_bytes:
                # Servers that bound frames themselves never get here.
                self.sink.close(_TOO_BIG, "too_large")
            else:
                self._carry_out(text)

    def _carry_out(self, text: str) -> None:
        try:
            for effect in self._session.receive(text):
                self._effects[type(effect)](effect)
        except Exception:
            reference = metrics.reference()
            log.exception("a frame failed, reference %s", reference, extra={"reference": reference})
            error = InternalError(f"a bug; it is logged under {reference}")
            self.sink.send(protocol.ErrorFrame.of(error, None).encode())

    # ------------------------------------------------------------------------------------------------------- effects

    def _open(self, effect: session.OpenSubscription) -> None:
        self._hub.attach(Subscription(effect.id, self, effect.query, effect.after))

    def _fence(self, effect: session.Fence) -> None:
        def passed() -> None:
            self._timers.pop(timer, None)
            timer.cancel()
            self.sink.send(protocol.Pong(id=effect.id, position=self._hub.position).encode())

        def expired() -> None:
            self._timers.pop(timer, None)
            give_up()
            error = TimedOutError(f"no subscription reached the position within {FENCE_SECONDS:g} s")
            self.sink.send(protocol.ErrorFrame.of(error, effect.id).encode())

        timer = asyncio.get_running_loop().call_later(FENCE_SECONDS, expired)
        self._timers[timer] = None
        give_up = self._hub.fence(self, effect.time, passed)

    async def _write_in_order(self) -> None:
        while (request := await self._writes.get()) is not None:
            frame: protocol.ServerFrame
            try:
                written = await carry_out(self._live.writer, request)
                frame = result(request, written, self._live.epoch)
            except ServiceError as error:
                frame = protocol.ErrorFrame.of(error, request.id)
            except Exception:
                reference = metrics.reference()
                log.exception("a write failed, reference %s", reference, extra={"reference": reference})
                frame = protocol.ErrorFrame.of(InternalError(f"a bug; it is logged under {reference}"), request.id)
            self._session.write_ended()
            self.sink.send(frame.encode())
            self._leave_if_answered()


async def carry_out(writer: Writer, request: protocol.Write) -> Written:
    """A checked write, by its type."""
    match request:
        case protocol.Insert():
            return await writer.insert(request.collection, request.document)
        case protocol.Replace():
            return await writer.replace(
                request.collection, request.key, request.document, where=request.where, upsert=request.upsert
            )
        case protocol.Update():
            return await writer.update(
                request.collection, request.key, request.update, where=request.where, upsert=request.upsert
            )
        case protocol.Delete():
            return await writer.delete(request.collection, request.key, where=request.where)


def result(request: protocol.Write, written: Written, epoch: str) -> protocol.Result:
    """The answer to a write that is majority-committed."""
    return protocol.Result(
        id=request.id,
        position=format_position(epoch, written.time),
        key=written.key,
        matched=written.matched,
        modified=written.modified,
        upserted=written.upserted,
    )
