"""`/v1/ws`: a thin shell around `core.session`. Frames in, effects out."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from realtime import metrics
from realtime.access.audit import What
from realtime.bugs import break_off, bug, tell
from realtime.core.access.bearer import answered
from realtime.core.access.limits import over_frames
from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.rules.policy import Policy
from realtime.core.connection import cutting, session
from realtime.core.connection.admission import Ending, ending
from realtime.core.connection.outbox import ALL_ROOM, Claim
from realtime.core.wire import legible, protocol
from realtime.core.wire.closing import CLOSE_PROTOCOL_VIOLATION
from realtime.errors import ForbiddenError, InvalidRequestError, MalformedFrameError, ServiceError
from realtime.hub.roster import Subscription
from realtime.ports import Sink
from realtime.web.entrance.asgi_sink import AsgiSink, until_over
from realtime.web.entrance.changes import change
from realtime.web.entrance.doorkeeper import address_of, limited
from realtime.web.entrance.live import Asking, Live, Perhaps, ruled
from realtime.web.socket.fence import Fence
from realtime.web.socket.handshake import keeps_task, protocol_of
from realtime.web.socket.line import Line
from realtime.web.socket.refused import refuse
from realtime.web.socket.uvicorn_sink import TransportSink
from realtime.web.socket.writing import carry_out, result

PATH = "/v1/ws"
_TOO_BIG = 1009

router = APIRouter()


@router.websocket(PATH, name="socket")
@ruled
async def socket(websocket: WebSocket, live: Perhaps) -> None:
    """The wire protocol, version 1 (docs/protocol.md)."""
    if live is None:
        # Refused by the entrance, which has answered.
        return
    await websocket.accept(subprotocol=answered(websocket.scope.get("subprotocols", [])))
    asking: Asking = websocket.state.asking
    try:
        max_frame = cutting.parse_bound(websocket.query_params.getlist("max_frame"))
    except InvalidRequestError as error:
        await refuse(websocket, error, Ending(CLOSE_PROTOCOL_VIOLATION, error.code))
        return
    if isinstance(asking, ServiceError):
        await refuse(websocket, asking, ending(asking))
        return
    handshake = protocol_of(websocket)
    if handshake is None:
        await Connection(live, max_frame, set(), asking, websocket).serve(websocket)
        return
    keeps = keeps_task(websocket, handshake.app)
    line, early = handshake.hand_over()
    connection = Connection(live, max_frame, line.lines.tasks, asking, websocket)
    connection.take_over(line, early)
    if keeps:
        await connection.gone()


class Connection:
    """One accepted socket: carries out what its session decides, in the order of its frames."""

    __slots__ = (
        "__weakref__",
        "_address",
        "_came_by",
        "_deciding",
        "_fences",
        "_full",
        "_gone",
        "_leaving",
        "_live",
        "_max_frame",
        "_own",
        "_rate",
        "_session",
        "_taken",
        "_tasks",
        "_writer",
        "_writes",
        "sink",
    )

    sink: Sink

    def __init__(
        self,
        live: Live,
        max_frame: int | None,
        tasks: set[asyncio.Task[None]],
        principal: Principal | None,
        websocket: WebSocket,
    ) -> None:
        self._max_frame = max_frame
        self._live = live
        self._address = address_of(websocket)
        self._rate = live.doorkeeper.frames()
        asked = live.doorkeeper.takes_tokens
        self._session = session.Session(secrets.token_hex(8), live.limits, live.epoch, principal, asked=asked)
        self._came_by: WebSocket | None = websocket
        self._full = False
        self._deciding: asyncio.Task[None] | None = None
        self._tasks = tasks
        self._writes: deque[tuple[protocol.Write, int]] | None = None
        self._taken = 0
        self._writer: asyncio.Task[None] | None = None
        self._fences: dict[Fence, None] | None = None
        self._leaving: tuple[int, str] | None = None
        self._gone: asyncio.Event | None = None
        self._own: TransportSink | AsgiSink | None = None

    def take_over(self, line: Line, early: bytes) -> None:
        """Serve a connection of our own server, without a task."""
        self._begin(TransportSink(line, self._live.settings.outbox_bytes, self, self._max_frame))
        line.take_up_to(self._session.largest)
        line.start(self, early, self._rate)

    async def gone(self) -> None:
        """Until the connection has ended and its writes are done, for whoever may not return before."""
        self._gone = asyncio.Event()
        await self._gone.wait()
        await self._written()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a connection of any other server, until the peer or the service ends it."""
        sink = AsgiSink(websocket, self._live.settings.outbox_bytes, self, self._max_frame)
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(sink.run())
            self._begin(sink)
            try:
                await until_over(sink, sender, self._receive(websocket, sink))
            except WebSocketDisconnect:
                pass
            finally:
                self.ended()
                await self._written()
                sender.cancel()
                sink.lost()

    async def _written(self) -> None:
        """Writes that were taken are carried out, in order, although nobody hears of them."""
        if self._writer is not None:
            await asyncio.wait({self._writer})

    async def _receive(self, websocket: WebSocket, sink: AsgiSink) -> None:
        while True:
            # A server reads no further than what was received here, so its peer waits as well.
            await sink.room()
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                self.receive_binary()
            elif len(text.encode()) > self._session.largest:
                # Servers that bound frames themselves never get here.
                self.sink.close(_TOO_BIG, "too_large")
            else:
                self.receive(text)

    def _begin(self, sink: TransportSink | AsgiSink) -> None:
        self.sink = self._own = sink
        self._live.connections.add(self)
        metrics.CONNECTIONS.inc()
        self.sink.send(self._session.welcome(self._live.hub.time, self._live.settings.heartbeat_seconds))
        if self._session.principal is None:
            self._live.doorkeeper.expect(self, self._address)
        else:
            self._admit(self._session.principal)

    def ended(self) -> None:
        """Nothing more comes, and nothing more is sent; writes that were taken are carried out."""
        metrics.CONNECTIONS.dec()
        self._live.connections.discard(self)
        self._live.doorkeeper.forget(self)
        self._live.hub.drop(self)
        if self._deciding is not None:
            self._deciding.cancel()
        for fence in self._fences or ():
            fence.forget()
        self._fences = self._own = None
        if self._gone is not None:
            self._gone.set()

    # --------------------------------------------------------------------------------------- by the hub and the server

    def subscription_ended(self, subscription_id: str) -> None:
        """The hub ended a subscription; its id is free again."""
        self._session.subscription_ended(subscription_id)

    @property
    def admitted(self) -> bool:
        """Whether it is known whose connection this is."""
        return self._session.principal is not None

    def over(self, code: int, reason: str, error: ServiceError | None = None) -> None:
        """End the connection of who may stay no longer. Of its writes the one that is with MongoDB is finished."""
        who = self._session.principal or ANONYMOUS
        while self._writes:
            self._live.doorkeeper.let_go(who, self._address, self._writes.popleft()[1])
        if error is not None:
            self.sink.send(protocol.ErrorFrame.of(error, None).encode())
        for effect in self._session.end(Ending(code, reason)):
            self._carry_out(effect)

    def leave(self, code: int, reason: str) -> None:
        """End the connection once its writes are answered; from now on nothing more is taken from it."""
        self._leaving = (code, reason)
        self._leave_if_answered()

    def _leave_if_answered(self) -> None:
        if self._leaving is not None and not self._session.pending_writes:
            self.sink.close(*self._leaving)

    def reconsider(self, about: frozenset[str] | None = None) -> None:
        """The rules are others now, of these collections or of any."""
        for effect in self._session.reconsider(about):
            self._carry_out(effect)

    def foresee(self, policy: Policy, about: frozenset[str] | None = None) -> Iterator[None]:
        """As the session has it."""
        return self._session.foresee(policy, about)

    def lapsed(self, channel: int) -> None:
        """The outbox dropped what waited of a channel."""
        self._live.hub.slow.lapsed(self, channel)

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Everything else was taken."""
        self._live.hub.slow.drained(self, lapsed)

    # ---------------------------------------------------------------------------------------------------- by the peer

    def receive(self, text: str) -> None:
        """A text message."""
        if self._leaving is None and not self._too_fast(text):
            self._take(text)

    def _take(self, text: str | bytes) -> None:
        """A text message that the rate of frames allows."""
        self._taken = len(text)
        try:
            for effect in self._session.receive(text):
                self._carry_out(effect)
        except Exception as error:
            told = bug("frame", error)
            self.sink.send(protocol.ErrorFrame.of(told, protocol.id_of(text)).encode())
        if self._session.admission.crowded != self._full:
            self._weigh()

    def _too_fast(self, text: str | None) -> bool:
        """Refuse a frame over the connection's rate, unread but for an id at either end of it."""
        wait = 0.0 if self._rate is None else self._rate.take(asyncio.get_running_loop().time())
        if wait:
            error = limited(over_frames(wait))
            told = None if text is None else legible.id_at_an_end(text)
            self.sink.send(protocol.ErrorFrame.of(error, told).encode())
        return bool(wait)

    def _weigh(self) -> None:
        """Read no further while too much waits for an `auth` to be decided."""
        self._full = self._session.admission.crowded
        if self._own is not None:
            self._own.owe(ALL_ROOM if self._full else -ALL_ROOM)

    def receive_binary(self) -> None:
        """A binary message."""
        if self._leaving is None and not self._too_fast(None):
            error = MalformedFrameError("a frame is text, this one was binary")
            self.sink.send(protocol.ErrorFrame.of(error, None).encode())

    def _carry_out(self, effect: session.Effect) -> None:
        match effect:
            case session.Send():
                self.sink.send(cutting.answer(effect.frame, self._max_frame))
            case session.OpenSubscription():
                self._note("subscribe", effect.query.shown_collections, operation=effect.query.mode)
                subscription = Subscription(effect.id, self, effect.query, effect.after, since=effect.since)
                self._live.hub.attach(subscription)
            case session.Succeed() | session.Revoke():
                change(self._live.hub, self, effect)
            case session.EndSubscription():
                self._note("unsubscribe")
                self._live.hub.detach(self, effect.id)
            case session.StartWrite():
                self._write(effect.request)
            case session.Fence():
                self._fence(effect)
            case session.Authenticate():
                if isinstance(self._own, TransportSink):
                    self._own.take_up_to(self._session.largest)
                self._deciding = asyncio.get_running_loop().create_task(self._decide(effect.token))
            case session.Admit():
                self._admit(effect.principal)
            case session.Close():
                self.sink.close(effect.ending.code, effect.ending.reason)

    def _admit(self, principal: Principal) -> None:
        """The connection is the principal's from now on, or goes on to be."""
        came_by, self._came_by = self._came_by, None
        self._live.doorkeeper.watch(self, principal, came_by)
        if came_by is not None and self._live.degraded is not None:
            self.sink.send(self._live.degraded.encode())

    async def _decide(self, token: str) -> None:
        """Find out whose token it is; then what waited for that is taken."""
        outcome: Principal | ServiceError
        try:
            outcome = await self._live.doorkeeper.whose(token, self._address)
        except ServiceError as error:
            outcome = error
            self._live.doorkeeper.refused(error, self._address, self._session.principal)
        now, time = self._live.doorkeeper.now(), self._live.hub.time
        try:
            effects = self._session.authenticated(outcome, now=now, time=time)
            if effects and isinstance(outcome, Principal) and self._session.principal is not outcome:
                # A good token, and not for this connection.
                of_another = ForbiddenError("auth: the token is of somebody else")
                self._live.doorkeeper.refused(of_another, self._address, self._session.principal)
            for effect in effects:
                self._carry_out(effect)
        except Exception as error:
            # It may have been let in, or not: nobody is to guess.
            break_off(self.sink, error)
            return
        while self._leaving is None and (text := self._session.release()) is not None:
            self._take(text)

    def _fence(self, effect: session.Fence) -> None:
        waiting = Fence(self, effect)
        give_up = self._live.hub.fence(self, effect.time, waiting.passed)
        if not waiting.over:
            waiting.begin(give_up)
            self.owe(waiting)

    def owe(self, fence: Fence) -> None:
        """A pong is to come."""
        if self._fences is None:
            self._fences = {}
        self._fences[fence] = None
        if self._own is not None:
            self._own.owe(1)

    def paid(self, fence: Fence) -> None:
        """It comes now, or what says why not."""
        if self._fences is not None and self._fences.pop(fence, fence) is None and self._own is not None:
            self._own.owe(-1)
        self._fences = self._fences or None

    def pong(self, asked: session.Fence) -> None:
        """Answer a ping; once more where something that it waited for is dropped behind its back."""
        frame = protocol.Pong(id=asked.id, position=self._live.hub.position).encode()
        tell(self.sink, frame, Claim(partial(self._fence, asked)) if asked.time else None)

    def _note(self, what: What, collection: str | None = None, **said: Any) -> None:
        who = self._session.principal
        self._live.doorkeeper.note(what, who, self._address, collection=collection, **said)

    def _write(self, request: protocol.Write) -> None:
        who = self._session.principal or ANONYMOUS
        try:
            self._live.doorkeeper.writes(who, self._address)
            self._live.doorkeeper.hold(who, self._address, self._taken)
        except ServiceError as error:
            self._session.write_ended()
            self.sink.send(protocol.ErrorFrame.of(error, request.id).encode())
            return
        if self._writes is not None:
            self._writes.append((request, self._taken))
            return
        self._writes = deque([(request, self._taken)])
        self._writer = asyncio.get_running_loop().create_task(self._write_in_order(self._writes))
        # Whoever ends the server waits for it.
        self._tasks.add(self._writer)
        self._writer.add_done_callback(self._tasks.discard)

    async def _write_in_order(self, writes: deque[tuple[protocol.Write, int]]) -> None:
        who = self._session.principal or ANONYMOUS
        while writes:
            request, size = writes.popleft()
            frame: protocol.ServerFrame
            try:
                # By the rules and claims of now: an `auth` may have come since the frame did.
                written = await carry_out(self._live, request, self._session.principal or ANONYMOUS)
                frame = result(request, written, self._live.epoch)
                said = {"operation": request.type, "key": written.key, "position": frame.position}
                self._live.doorkeeper.note("write", who, self._address, collection=request.collection, **said)
            except ServiceError as error:
                frame = protocol.ErrorFrame.of(error, request.id)
            except Exception as error:
                frame = protocol.ErrorFrame.of(bug("write", error), request.id)
            self._session.write_ended()
            self._live.doorkeeper.let_go(who, self._address, size)
            self.sink.send(cutting.answer(frame.encode(), self._max_frame))
            self._leave_if_answered()
        # Without an await since the last look: a write that comes now begins another task.
        self._writes = self._writer = None
