"""Asks a NATS all that `realtime doctor` wants to know, as the user it is given; what is tried has no effect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nats import errors

from realtime.core.relay.diagnosis import NatsFacts
from realtime.core.relay.identity import Identity
from realtime.core.relay.permissions import Probe, forbidden, needed
from realtime.nats import stream
from realtime.nats.access import Access
from realtime.nats.connection import AwayError, Connection, DeniedError, close, connect
from realtime.nats.stream import ApiError, OffError, UnansweredError
from realtime.settings import is_loopback

TRY_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.05


async def examine(access: Access, identity: Identity | None, *, node: bool = True) -> NatsFacts:
    """Everything that can be learnt, of nodes' user or the relay's. `ConfigurationError`: it is not let in at all."""
    facts = NatsFacts(access.shown, identity, node=node)
    facts.local = all(is_loopback(server.host) for server in access.servers)
    facts.encrypted = all(server.encrypted for server in access.servers)
    facts.known = access.user is not None or access.creds is not None or access.certified
    said: list[Exception] = []
    try:
        connection = await connect(access, "realtime-doctor", on_error=said.append)
    except AwayError as error:
        facts.away = error.why
        return facts
    try:
        await _learn(connection, facts, said)
    finally:
        await close(connection)
    return facts


async def _learn(connection: Connection, facts: NatsFacts, said: list[Exception]) -> None:
    version = connection.connected_server_version
    facts.version = f"{version.major}.{version.minor}.{version.patch}"
    facts.max_payload = connection.max_payload
    facts.jetstream, facts.limits = await _account(connection)
    if facts.identity is None or facts.jetstream is False:
        return
    try:
        facts.stream = await stream.ask(connection, f"STREAM.INFO.{facts.identity.stream}")
    except DeniedError:
        facts.why_no_stream = "this user may not look at it"
    except (ApiError, UnansweredError) as error:
        facts.why_no_stream = str(error)
    else:
        facts.silent = await _silent(connection, facts.identity, facts.stream)
    refused = await _refused(connection, forbidden(facts.identity), said)
    facts.allowed = [one.name for one in forbidden(facts.identity) if one.name not in refused]
    refused = await _refused(connection, needed(facts.identity), said)
    facts.refused = [one.name for one in needed(facts.identity) if one.name in refused]
    facts.tried = True


async def _account(connection: Connection) -> tuple[bool | None, Mapping[str, Any] | None]:
    """Whether JetStream is on, where that can be known, and what it may store."""
    try:
        answer = await stream.ask(connection, "INFO")
    except OffError:
        return False, None
    except (ApiError, DeniedError, UnansweredError):
        return None, None
    return True, {"storage": answer.get("storage", 0), **(answer.get("limits") or {})}


async def _silent(connection: Connection, identity: Identity, found: Mapping[str, Any]) -> float | None:
    """Seconds since the newest message's time; None where there is none, or it cannot be read."""
    try:
        last = await stream.get(connection, identity, found["state"]["last_seq"])
    except (DeniedError, UnansweredError):
        return None
    return None if last is None else time.time() - (last.head.time >> 32)


async def _refused(connection: Connection, probes: Sequence[Probe], said: list[Exception]) -> set[str]:
    """The names of what the server refuses to take from the user.

    Each is refused, or answered; what is neither within `TRY_SECONDS` is not known to be refused.
    """
    inbox, answered = connection.new_inbox(), set[str]()
    news = asyncio.Event()

    async def answer(message: Any) -> None:
        answered.add(probes[int(message.subject.rpartition(".")[2])].name)
        news.set()

    def refused() -> set[str]:
        denied = {error.subject for error in said if isinstance(error, DeniedError)}
        return {one.name for one in probes if one.subject.lower() in denied}

    try:
        async with asyncio.timeout(TRY_SECONDS):
            await connection.subscribe(f"{inbox}.*", cb=answer)
            for number, one in enumerate(probes):
                headers = dict(one.headers) or None
                await connection.publish(one.subject, one.payload, reply=f"{inbox}.{number}", headers=headers)
            await connection.flush()
            while len(refused() | answered) < len(probes):
                news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_SECONDS)
    except (errors.Error, OSError, TimeoutError):
        pass
    return refused()
