"""What rules cost: `python -m tests.rules.costs`. Ratios of one run, and counts.

A hub without MongoDB, as in tests/bench: subscriptions come in as frames through a session of each user's own.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.connection.session import OpenSubscription, Session
from realtime.hub.roster import Subscription
from tests.bench import fanout
from tests.bench.groups import COLLECTION, Stage, counted, document

SOCKETS = 500
USERS = 10_000
MOMENTS = 400
OWNER = {"read": {"owner": "$user.sub"}}
CUT = {**OWNER, "fields": {"hide": ["field1", "field2"]}}
NOBODY = {"read": {"status": "open"}, "fields": {"hide": ["field1"]}}
Grant = Mapping[str, Any]


def policy(grant: Grant) -> Policy:
    """That grant for every customer."""
    return Policy(Rules.model_validate({"collections": {COLLECTION: {"customer": grant}}}))


def principal(number: int, **claims: Any) -> Principal:
    return Principal(f"c{number}", frozenset({"customer"}), claims)


def asked(stage: Stage, number: int, grant: Grant | None) -> OpenSubscription:
    """What the hub is asked for by a user under a rule, or who names themselves in the filter."""
    limits = stage.session.limits
    if grant is None:
        session, selection = Session(f"s{number}", limits, stage.session.epoch, ANONYMOUS), {"owner": f"c{number}"}
    else:
        session = Session(f"s{number}", replace(limits, policy=policy(grant)), stage.session.epoch, principal(number))
        selection = {}
    frame = {"type": "subscribe", "id": "s", "collection": COLLECTION, "filter": selection}
    (effect,) = session.receive(orjson.dumps(frame))
    assert isinstance(effect, OpenSubscription), effect
    return effect


class Line(fanout.Line):
    """A connection of one user."""

    def __init__(self, stage: Stage, number: int, grant: Grant | None) -> None:
        super().__init__(stage)
        self.number, self.grant = number, grant

    def subscribe(self) -> None:
        effect = asked(self.stage, self.number, self.grant)
        self.stage.hub.attach(Subscription(effect.id, self, effect.query, effect.after))


@dataclass(frozen=True, slots=True)
class Delivered:
    """Of events that concern one user each: CPU microseconds and filters asked, an event."""

    microseconds: float
    evaluations: float


async def delivered(grant: Grant | None, *, sockets: int = SOCKETS, moments: int = MOMENTS) -> Delivered:
    """So many sockets of as many users; each event is a document of one of them, all in turn."""
    stage = Stage()
    lines: list[Line] = []

    def accept() -> Line:
        lines.append(Line(stage, len(lines), grant))
        return lines[-1]

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0, backlog=sockets)
    port = server.sockets[0].getsockname()[1]
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", fanout.READER, str(port), str(sockets))
    try:
        async with asyncio.timeout(60):
            while stage.hub.roster.count < sockets or stage.hub.groups.tasks:
                await asyncio.sleep(0.01)
        assert len(stage.hub.router) == sockets
        evaluations = counted()
        gc.collect()
        began = time.thread_time()
        for moment in range(moments):
            stage.write("insert", document(moment, owner=f"c{moment % sockets}"))
            if moment % 50 == 0:
                await asyncio.sleep(0)
        spent = (time.thread_time() - began) * 1e6
        return Delivered(spent / moments, (counted() - evaluations) / moments)
    finally:
        server.close()
        await stage.hub.close()
        reader.terminate()
        await reader.wait()


@dataclass(frozen=True, slots=True)
class Shared:
    """Groups, and evaluations an event, of so many users."""

    groups: int
    evaluations: float


async def shared(grant: Grant, users: int = USERS, documents: Sequence[Mapping[str, Any]] = ()) -> Shared:
    """All of them ask the same, each by a session of their own."""
    stage = Stage()
    rule = policy(grant)
    for number in range(users):
        limits = replace(stage.session.limits, policy=rule)
        session = Session(f"s{number}", limits, stage.session.epoch, principal(number))
        frame = {"type": "subscribe", "id": "s", "collection": COLLECTION}
        (effect,) = session.receive(orjson.dumps(frame))
        assert isinstance(effect, OpenSubscription), effect
        stage.hub.attach(Subscription(f"s{number}", stage.owner, effect.query, effect.after))
    while stage.hub.groups.tasks:
        await asyncio.sleep(0)
    evaluations = counted()
    for one in documents:
        stage.write("insert", dict(one))
    found = Shared(len(stage.hub.router), (counted() - evaluations) / max(len(documents), 1))
    await stage.hub.close()
    return found


async def main() -> None:
    plain, ruled, cut = [await delivered(grant) for grant in (None, OWNER, CUT)]
    one = await shared(NOBODY, documents=[document(number) for number in range(200)])
    sys.stdout.write(
        f"{SOCKETS} sockets, µs of CPU an event: {{owner: me}} {plain.microseconds:.1f}, "
        f"{{owner: $user.sub}} {ruled.microseconds:.1f}, two fields hidden {cut.microseconds:.1f}\n"
        f"{USERS} users under a rule of nobody's name: {one.groups} group, {one.evaluations:.2f} evaluations an event\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
