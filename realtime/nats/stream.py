"""The stream: made or held to what it should be, its messages by their sequence, and the first one after a time.

JetStream's API is asked as it is (docs.nats.io, "JetStream wire API reference"): what is not known to nats-py is in no
way, and nothing is tried again here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from nats import errors
from nats.aio.client import Client

from realtime.core.relay.diagnosis import TURN_ON
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import Head, peek
from realtime.errors import ConfigurationError, RealtimeError
from realtime.nats.staggered import first

log = logging.getLogger("realtime.nats")

ANSWER_SECONDS: Final = 2.0
DIRECT_TRIES: Final = 6
DIRECT_SECONDS: Final = 0.25
MESSAGE_BYTES: Final = 1024 * 1024
"""Of one message with its headers: a part, and what JetStream's own headers add. A larger one than the whole stream may
hold would empty it and be acknowledged."""
_NO_STREAM, _NO_MESSAGE = 10059, 10037


class UnansweredError(RealtimeError):
    """NATS, or JetStream in it, does not answer. It may later."""


class OffError(UnansweredError):
    """Nobody takes what JetStream is asked: it is off, or has no leader, or what is asked of is not there."""


class ApiError(RealtimeError):
    """JetStream refuses what was asked; `code` is its own (`err_code`)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"JetStream refuses it ({code}): {text}")
        self.code = code


class StreamError(ConfigurationError):
    """The stream is not what it should be; the text names the mend."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream may hold: bytes on each replica, and for how many seconds."""

    max_bytes: int
    max_age: float
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """What JetStream says of a stream. `first` is the sequence of the oldest message, `last` of the newest ever.

    `deleted`: how many between them were taken out one by one.
    """

    created: str
    messages: int
    first: int
    last: int
    size: int
    deleted: int
    config: Mapping[str, Any] = field(repr=False)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What stands in its metadata."""
        return self.config.get("metadata") or {}


@dataclass(frozen=True, slots=True)
class Stored:
    """One message of the stream."""

    sequence: int
    headers: Mapping[str, str]
    payload: bytes = field(repr=False)

    @property
    def head(self) -> Head:
        """What its headers say; `FormatError` where it is none of ours."""
        return peek(self.headers)


async def ask(client: Client, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An answer of JetStream's API. Raises `ApiError`, `UnansweredError`; `DeniedError` where the user may not ask."""
    message = await _requested(client, f"$JS.API.{subject}", body)
    try:
        answer = json.loads(message.data)
    except ValueError:
        raise UnansweredError(f"the answer to {subject} is no JSON: is it JetStream that answers?") from None
    if error := answer.get("error"):
        raise ApiError(error.get("err_code", error.get("code", 0)), error.get("description", "no reason is said"))
    return dict(answer)


async def _requested(client: Client, subject: str, body: Mapping[str, Any] | None) -> Any:
    try:
        return await client.request(subject, json.dumps(body).encode() if body else b"", timeout=ANSWER_SECONDS)
    except errors.NoRespondersError:
        raise OffError(
            f"nobody answers {subject}: JetStream is off (turn it on: {TURN_ON}), has no leader, or there is no such"
        ) from None
    except (errors.Error, OSError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise UnansweredError(
            f"no answer to {subject} within {ANSWER_SECONDS:g} s ({said}): look whether NATS runs"
        ) from None


# ------------------------------------------------------------------------------------------------------ the stream


async def look(client: Client, identity: Identity) -> State | None:
    """The stream as its leader knows it; None where there is none."""
    try:
        return _state(await ask(client, f"STREAM.INFO.{identity.stream}"))
    except ApiError as error:
        if error.code == _NO_STREAM:
            return None
        raise


async def ensure(client: Client, identity: Identity, limits: Limits) -> State:
    """The stream of a relay, made where there is none. `StreamError` for one that is not as it should be."""
    state = await look(client, identity)
    if state is None:
        wanted = {"name": identity.stream, **configured(identity, limits), "metadata": identity.metadata}
        try:
            state = _state(await ask(client, f"STREAM.CREATE.{identity.stream}", wanted))
        except ApiError as error:
            raise StreamError(
                f"the stream {identity.stream} cannot be made ({error}): see what JetStream has room for "
                "(REALTIME_NATS_BYTES, REALTIME_NATS_REPLICAS), and whether another stream takes its subject"
            ) from None
        log.info("made the stream %s", identity.stream)
    if (wrong := identity.differs(state.metadata) or unlike(state.config, identity, limits)) is not None:
        raise StreamError(str(wrong))
    return state


def configured(identity: Identity, limits: Limits) -> dict[str, Any]:
    """What a stream of ours is configured as, but for its name and metadata."""
    return {
        "subjects": [identity.subject],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": limits.replicas,
        "max_bytes": limits.max_bytes,
        "max_age": int(limits.max_age * 1_000_000_000),
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": MESSAGE_BYTES,
        "allow_atomic": True,
        "allow_direct": True,
    }


_SETTINGS = {
    "num_replicas": "REALTIME_NATS_REPLICAS",
    "max_bytes": "REALTIME_NATS_BYTES",
    "max_age": "REALTIME_NATS_AGE_SECONDS",
}


def unlike(config: Mapping[str, Any], identity: Identity, limits: Limits) -> str | None:
    """In what a stream is configured otherwise than a relay needs it, and the mend; None where it is not."""
    wanted = configured(identity, limits)
    wrong = {name: config.get(name) for name in wanted if config.get(name, False) != wanted[name]}
    if not wrong:
        return None
    said = ", ".join(f"{name} is {value!r} and should be {wanted[name]!r}" for name, value in wrong.items())
    if wrong.keys() <= _SETTINGS.keys():
        mend = f"set {', '.join(_SETTINGS[name] for name in wrong)} to what it has, or edit it (nats stream edit)"
    else:
        mend = f"edit it, or remove it (nats stream rm {identity.stream}): the relay makes it anew"
    return f"the stream {identity.stream} is not as a relay needs it: {said}: {mend}"


def _state(answer: Mapping[str, Any]) -> State:
    state = answer["state"]
    return State(
        created=answer["created"],
        messages=state["messages"],
        first=state["first_seq"],
        last=state["last_seq"],
        size=state["bytes"],
        deleted=state.get("num_deleted", 0),
        config=answer["config"],
    )


# ---------------------------------------------------------------------------------------------------- its messages


async def get(client: Client, identity: Identity, sequence: int) -> Stored | None:
    """The message at this sequence, or the next one there is; None where there is none. Any replica answers."""
    return await _direct(client, identity, {"seq": sequence, "next_by_subj": identity.subject})


async def last(client: Client, identity: Identity, state: State) -> Stored | None:
    """The last part of the newest message that is whole, of a stream of which its leader said this; None: it has none.

    JetStream stores the parts of a message one after the other: the newest may not be whole yet, or never will be. A
    replica that lags has not got it yet: `UnansweredError`, to be asked again. `FormatError` for what is none of ours.
    """
    if not state.messages:
        return None
    stored = await _direct(client, identity, {"last_by_subj": identity.subject})
    # Where messages were taken out by hand the newest may be older than the stream's last sequence.
    if stored is None or (stored.sequence < state.last and not state.deleted):
        raise UnansweredError(f"a replica of {identity.stream} is behind its leader")
    while stored.head.part < stored.head.parts:
        before = stored.sequence - stored.head.part
        found = await get(client, identity, before) if before >= state.first else None
        if found is None or found.sequence != before:
            return None
        stored = found
    return stored


async def _direct(client: Client, identity: Identity, body: Mapping[str, Any]) -> Stored | None:
    """Of any replica, by chance: where one is frozen it is among them, so who gets no answer soon asks again."""
    asking = partial(_requested, client, f"$JS.API.DIRECT.GET.{identity.stream}", body)
    try:
        message = await first([asking] * DIRECT_TRIES, DIRECT_SECONDS, (UnansweredError,))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    headers = message.headers or {}
    if "Nats-Sequence" not in headers:
        if headers.get("Status") == "404":
            return None
        raise UnansweredError(
            f"{identity.stream} gives no message: {headers.get('Status')} {headers.get('Description')}"
        )
    return Stored(int(headers["Nats-Sequence"]), headers, message.data)


async def first_after(client: Client, identity: Identity, state: State, time: int) -> Stored | None:
    """The first message of a later time, found by its headers in as many steps as the count has bits; None: no such.

    `FormatError` for a message of another's. What is trimmed meanwhile is passed over, as if it had never been.
    """
    low, high = state.first, state.last + 1
    found: Stored | None = None
    while low < high:
        middle = (low + high) // 2
        stored = await get(client, identity, middle)
        if stored is None:
            high = middle
        elif stored.head.time > time:
            found, high = stored, middle
        else:
            low = stored.sequence + 1
    return found
