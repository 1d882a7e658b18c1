"""The connection: kept, made again, and shared by every subscription and request of one client."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from ssl import SSLCertVerificationError
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from realtime.client.bearer import Bearer
from realtime.client.failures import (
    ABOUT_TOKENS,
    TOLD,
    answered,
    asked_for,
    failure,
    final_close,
    nobody,
    refused_handshake,
    untrusted,
)
from realtime.client.folds import Frame
from realtime.client.options import Options, address_of
from realtime.client.reading import UNREADABLE, named_by, unreadable, whom
from realtime.client.records import Status
from realtime.client.renewal import renewing, who_asks
from realtime.client.subscriber import Request, Subscriber
from realtime.core.bson.ejson import decode_frame, encode_strictly
from realtime.errors import (
    InternalError,
    InvalidRequestError,
    ServiceError,
    TimedOutError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)

log = logging.getLogger("realtime.client")

SETTLED_SECONDS = 5.0
"""A connection that lived this long has proved itself: the next delay is the first again."""
ANSWERS = frozenset({"result", "pong", "error", "authenticated"})
DEFAULT_HEARTBEAT = 20.0
MAX_WRITES = 32
"""Writes of one client on their way at once; the others wait here, in order."""


class Link:
    """One client's connection to the service, and who is on it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.address = address_of(options.url)
        self.status = Status()
        self.listeners: list[Callable[[Status], None]] = []
        self.writes = asyncio.Semaphore(MAX_WRITES)
        self._bearer = Bearer(options.token)
        self._renewing: asyncio.Task[None] | None = None
        self._told = ""
        self.ready = asyncio.Event()
        self.ended: ServiceError | None = None
        self._names = itertools.count(1)
        self._subscribers: dict[str, Subscriber] = {}
        self._all: dict[Subscriber, None] = {}
        self._channels: dict[int, dict[Subscriber, None]] = {}
        self._requests: dict[str, Request] = {}
        self._outgoing: deque[tuple[str, Request | None]] = deque()
        self._to_send = asyncio.Event()
        self._heartbeat = DEFAULT_HEARTBEAT
        self._frame_bytes: int | None = None
        self._least_delay = 0.0
        self._attempts = 0
        self._up = False
        self._up_at = 0.0
        self._timers: set[asyncio.TimerHandle] = set()
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------ from outside

    async def start(self) -> None:
        """Connect. Raises what makes it useless to go on, or `UnavailableError` after `connect_timeout`."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                await self.ready.wait()
        except TimeoutError:
            reason = self.status.reason or "no answer"
            await self.stop()
            raise nobody(self.options.url, reason) from None
        except BaseException:
            await self.stop()
            raise
        if self.ended is not None:
            await self.stop()
            raise self.ended

    async def stop(self) -> None:
        """End everything; iterations of what is open come to their end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._bearer.close()
        self._finish(self.ended)

    def open(self, subscriber: Subscriber) -> None:
        """Subscribe, now or when there is a connection. `TypeError` for a filter of what BSON does not have."""
        self._text({**subscriber.fold.asked, "position": " " * 25, "query": " " * 64})
        if self.status.link == "closed":
            raise self.ended or UnavailableError("this client was closed: subscribe within `async with connect(…)`")
        self._all[subscriber] = None
        if self._up:
            self._subscribe(subscriber)

    def close(self, subscriber: Subscriber) -> None:
        """Unsubscribe."""
        self._drop(subscriber, tell=True)
        self._all.pop(subscriber, None)
        subscriber.end(None)

    def resume(self, subscriber: Subscriber) -> None:
        """Its consumer has caught up."""
        subscriber.paused = False
        if self._up and not subscriber.ended:
            self._subscribe(subscriber)

    async def ask(self, frame: Frame, *, repeat: bool) -> tuple[Frame, int]:
        """The answer to a request (`result`, `pong` or `error`) and how often it was sent.

        Lost on the way and not to be repeated: `UnavailableError` with `details.maybe_written`. No answer within
        `request_timeout`: `TimedOutError`, with `maybe_written` where it was sent.
        """
        if self.status.link == "closed":
            raise self.ended or UnavailableError("this client was closed: ask within `async with connect(…)`")
        name = f"r{next(self._names)}"
        text = self._text({**frame, "id": name})
        request = Request(frame["type"], text, asyncio.get_running_loop().create_future(), repeat)
        self._requests[name] = request
        if self._up:
            self._send(text, request)
        try:
            async with asyncio.timeout(self.options.request_timeout):
                answer = await request.answer
        except TimeoutError:
            details = {"maybe_written": True} if request.sent and request.kind != "ping" else None
            why = "" if request.sent else f", there is no connection to {self.options.url}"
            raise TimedOutError(f"no answer in {self.options.request_timeout:g} s{why}", details=details) from None
        finally:
            self._requests.pop(name, None)
        return answer, request.sent

    async def settle(self, position: str, among: Collection[Subscriber] | None = None) -> None:
        """Until these subscriptions, or all, are live and at or after a position. `TimedOutError` after
        `request_timeout`."""
        try:
            async with asyncio.timeout(self.options.request_timeout):
                while not await self._fence(position, among):
                    pass
        except TimeoutError:
            raise TimedOutError(f"not there in {self.options.request_timeout:g} s: {position}") from None

    async def _fence(self, position: str, among: Collection[Subscriber] | None) -> bool:
        """One fence; False where a subscription was brought up anew meanwhile, which no fence waits for."""
        for subscriber in list(self._all if among is None else among):
            while not subscriber.settled:
                await subscriber.news()
        chosen = self._all if among is None else among
        lives = {one: one.fold.live_from for one in chosen if one.fold.live_from is not None}
        answer, _ = await self.ask({"type": "ping", "position": position}, repeat=True)
        if answer["type"] == "error":
            raise failure(answer)
        for subscriber, live_from in lives.items():
            if subscriber.fold.live_from == live_from:
                subscriber.fold.reach(position)
                subscriber.wake()
        return all(one.fold.live_from == live_from or one.ended or one.paused for one, live_from in lives.items())

    def say(self, **changed: Any) -> None:
        """A new status, to whoever listens."""
        status = replace(self.status, **changed)
        if status != self.status:
            self.status = status
            for listener in list(self.listeners):
                try:
                    listener(status)
                except Exception:
                    log.exception("a listener of on_status failed")

    # ---------------------------------------------------------------------------------------------- the connection

    async def _run(self) -> None:
        try:
            while True:
                error = await self._connection()
                if error is not None:
                    self.ended = error
                    return
                delay = self.options.backoff.delay(self._attempts, random.random(), self._least_delay)  # noqa: S311 - spreads clients, hides nothing
                self._attempts += 1
                self._least_delay = 0.0
                self.say(link="connecting", attempts=self._attempts)
                await asyncio.sleep(delay)
        except Exception as error:
            log.exception("the client ends")
            self.ended = InternalError(f"a bug of realtime.client: {error!r}")
        finally:
            self._finish(self.ended)

    async def _connection(self) -> ServiceError | None:
        """One connection, to its end: why there is no use in another, or None."""
        try:
            token = await self._bearer.ask()
        except Exception as error:  # noqa: BLE001 - the application's own code, which may fail in any way
            self.say(reason=f"no token: {error!r}")
            return error if isinstance(error, ServiceError) and not error.retry else None
        if (refused := self._bearer.use(token)) is not None:
            return refused
        try:
            async with connect(
                f"{self.address}?max_frame={self.options.max_frame}",
                additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
                compression=None,
                max_size=self.options.max_frame,
                ping_interval=None,
                open_timeout=self.options.connect_timeout or 10,
                close_timeout=1,
            ) as socket:
                return await self._serve(socket)
        except InvalidURI as error:
            return InvalidRequestError(f"{self.options.url!r} is no address of a service: {error}")
        except InvalidStatus as error:
            status = error.response.status_code
            self.say(reason=answered(status, error.response.body))
            refusal = refused_handshake(status, self.options.url)
            return self._bearer.refuse(refusal) if status == 401 and refusal is not None else refusal
        except (OSError, EOFError, TimeoutError, WebSocketException) as error:
            if not self.ready.is_set() and isinstance(error, SSLCertVerificationError):
                return untrusted(self.options.url, error.verify_message)
            self.say(reason=str(error) or type(error).__name__)
        return None

    async def _serve(self, socket: ClientConnection) -> ServiceError | None:
        sending = asyncio.create_task(self._sender(socket))
        why, self._told = None, ""
        try:
            await self._listen(socket)
        except ConnectionClosed:
            pass
        except TimeoutError:
            why = f"the service was silent for {self._silence:g} s"
            socket.transport.abort()
        except UnauthenticatedError as error:
            return self._bearer.refuse(error)
        except UNREADABLE as error:
            log.warning("a frame that cannot be read (%r), and that names nobody: connecting again", error)
            why, self._up = "a frame could not be read", False
        finally:
            if self._up and asyncio.get_running_loop().time() - self._up_at >= SETTLED_SECONDS:
                self._attempts = 0
            tasks = [sending] if self._renewing is None else [sending, self._renewing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._renewing = None
            self._lost()
        code, reason = socket.close_code or 1006, socket.close_reason or ""
        if self.status.link == "connected":
            self.say(link="connecting", reason=why or f"closed with {code} {reason}".strip())
        final = final_close(code, reason, self._told, token=self._bearer.used is not None)
        return self._bearer.refuse(final) if code in ABOUT_TOKENS and final is not None else final

    @property
    def _silence(self) -> float:
        return 2 * self._heartbeat + 5

    async def _listen(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._silence) as patience:
            async for text in socket:
                self._hear(text)
                patience.reschedule(loop.time() + self._silence)

    async def _sender(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while self._outgoing:
                    text, request = self._outgoing.popleft()
                    if request is not None:
                        if request.answer.done():
                            continue
                        request.sent += 1
                    await socket.send(text)
        except ConnectionClosed:
            return

    def _text(self, frame: Frame) -> str:
        """A frame's text; `TooLargeError` where the service would end the whole connection for it."""
        text = encode_strictly(frame)
        if self._frame_bytes is not None and len(text) > self._frame_bytes:
            raise TooLargeError(
                f"{len(text)} bytes, the service takes {self._frame_bytes} in a frame: write large documents over HTTP",
                details={"limit": self._frame_bytes},
            )
        return text.decode()

    def _send(self, text: str, request: Request | None = None) -> None:
        self._outgoing.append((text, request))
        self._to_send.set()

    def _welcomed(self, frame: Frame) -> None:
        self._heartbeat = float(frame.get("heartbeat", DEFAULT_HEARTBEAT))
        self._frame_bytes = frame.get("limits", {}).get("frame_bytes")
        if self._up:
            return
        if frame.get("requires_auth"):
            raise asked_for(self._bearer.used)
        self._bearer.taken()
        self._up, self._up_at = True, asyncio.get_running_loop().time()
        for subscriber in self._all:
            if not subscriber.paused:
                self._subscribe(subscriber)
        for request in self._requests.values():
            self._send(request.text, request)
        self.ready.set()
        expires = frame.get("expires")
        if self._bearer.renewable and expires is not None:
            self._renewing = asyncio.create_task(renewing(self._bearer, self.ask, self._identified, expires))
        self.say(link="connected", feed="up", since=None, reason=None, attempts=0, **who_asks(frame))

    def _identified(self, frame: Frame) -> None:
        """`authenticated`: who asks, and until when."""
        self.say(**who_asks(frame))

    def _lost(self) -> None:
        self._up = False
        self._outgoing.clear()
        self._subscribers.clear()
        self._channels.clear()
        for subscriber in self._all:
            subscriber.id = None
            subscriber.fold.lost()
            subscriber.wake()
        for request in self._requests.values():
            if request.sent and not request.repeat and not request.answer.done():
                details = {"maybe_written": True} if request.kind != "ping" else None
                text = "the connection was lost before the answer came"
                request.answer.set_exception(UnavailableError(text, details=details))

    def _finish(self, error: ServiceError | None) -> None:
        self._up = False
        for timer in self._timers:
            timer.cancel()
        for subscriber in list(self._all):
            subscriber.end(error)
        self._all.clear()
        for request in self._requests.values():
            if not request.answer.done():
                details = {"maybe_written": True} if request.sent and request.kind != "ping" else None
                request.answer.set_exception(error or UnavailableError("this client was closed", details=details))
        self.ready.set()
        self.say(link="closed", reason=None if error is None else error.message)

    # ------------------------------------------------------------------------------------------------------ frames

    def _hear(self, text: str | bytes) -> None:
        """Take a frame. One that cannot be read ends whom it concerns alone; raises where nobody knows who that is."""
        try:
            frame = decode_frame(text)
        except UNREADABLE as error:
            if not self._spoil(named_by(text), error):
                raise
            return
        try:
            self._take(frame, len(text))
        except UNREADABLE as error:
            if not self._spoil(frame, error):
                raise

    def _spoil(self, named: Any, error: Exception) -> bool:
        """End the subscriptions, or the request, that a frame names; False where it names nobody."""
        name, channel = whom(named)
        if name is None and channel is None:
            return False
        request = self._requests.get(name or "")
        if request is not None and not request.answer.done():
            details = {} if request.kind == "ping" else {"maybe_written": True}
            request.answer.set_exception(unreadable(error, **details))
        found = list(self._channels.get(channel, ())) if channel is not None else []
        if name in self._subscribers:
            found.append(self._subscribers[name])
        # None of them: it has ended, and this was on its way.
        for subscriber in found:
            told = unreadable(error)
            log.warning("a subscription ends: %s", told.message)
            self._drop(subscriber, tell=True)
            self._all.pop(subscriber, None)
            subscriber.end(told)
        return True

    def _take(self, frame: Frame, size: int) -> None:
        kind, name = frame.get("type"), frame.get("id")
        if name in self._requests and kind in ANSWERS:
            request = self._requests[name]
            if not request.answer.done():
                request.answer.set_result(frame)
        elif name in self._subscribers:
            self._to_subscriber(self._subscribers[name], frame, size)
        elif name is None and "channel" in frame:
            for subscriber in list(self._channels.get(frame["channel"], ())):
                self._fold(subscriber, frame, size)
        elif name is None:
            self._take_of_all(frame)

    def _take_of_all(self, frame: Frame) -> None:
        """A frame of the whole connection."""
        kind = frame.get("type")
        if kind == "heartbeat":
            behind = frame.get("behind", ())
            for name, subscriber in self._subscribers.items():
                if name not in behind:
                    subscriber.fold.reach(frame["position"])
                    subscriber.wake()
        elif kind == "welcome":
            self._welcomed(frame)
        elif kind == "status":
            self.say(feed=frame["feed"], since=frame.get("since"), reason=frame.get("reason"))
        elif kind == "error":
            self._told = str(frame.get("message", ""))[:TOLD]
        elif kind == "closing":
            self._least_delay = float(frame.get("retry_after") or 0)

    def _to_subscriber(self, subscriber: Subscriber, frame: Frame, size: int) -> None:
        if frame["type"] in {"error", "unsubscribed"}:
            self._drop(subscriber, tell=False)
            error = failure(frame)
            if error.retry:
                attempt = self.options.backoff.delay(2, random.random(), error.retry_after or 0)  # noqa: S311 - as above
                self._later(attempt, subscriber)
            else:
                self._all.pop(subscriber, None)
                subscriber.end(error)
            return
        self._fold(subscriber, frame, size)

    def _fold(self, subscriber: Subscriber, frame: Frame, size: int) -> None:
        before = subscriber.fold.channel
        need = subscriber.fold.take(frame, size)
        channel = subscriber.fold.channel
        if channel != before:
            if before is not None:
                self._channels.get(before, {}).pop(subscriber, None)
            if channel is not None:
                self._channels.setdefault(channel, {})[subscriber] = None
        if need is not None:
            self._drop(subscriber, tell=True)
            subscriber.paused = need == "pause"
            if need == "again":
                self._subscribe(subscriber)
        subscriber.wake()

    def _subscribe(self, subscriber: Subscriber) -> None:
        # A name for each time, so that late frames of the time before concern nobody.
        subscriber.id = f"s{next(self._names)}"
        self._subscribers[subscriber.id] = subscriber
        self._send(encode_strictly({"type": "subscribe", "id": subscriber.id, **subscriber.fold.request()}).decode())

    def _drop(self, subscriber: Subscriber, *, tell: bool) -> None:
        """Take it off the connection; it may come again."""
        if subscriber.id is None:
            return
        del self._subscribers[subscriber.id]
        if subscriber.fold.channel is not None:
            self._channels.get(subscriber.fold.channel, {}).pop(subscriber, None)
        if tell and self._up:
            self._send(encode_strictly({"type": "unsubscribe", "id": subscriber.id}).decode())
        subscriber.id = None
        subscriber.fold.lost()

    def _later(self, seconds: float, subscriber: Subscriber) -> None:
        def again() -> None:
            self._timers.discard(timer)
            if self._up and subscriber.id is None and not subscriber.ended and not subscriber.paused:
                self._subscribe(subscriber)

        timer = asyncio.get_running_loop().call_later(seconds, again)
        self._timers.add(timer)
        subscriber.wake()
