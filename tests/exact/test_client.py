"""The Python client over connections that are cut at random bytes: what it says is what happened, all of it, once.

What the client handed out is written down as frames of the protocol, and put before the checker of the service.

Sabotage: `make sabotage`, rows "client".
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from realtime.client import Backoff, Client, Events, Moment, View, connect
from realtime.core.bson import ejson
from realtime.errors import ServiceError
from tests.checker import Asked, Frame, judge
from tests.cutting_proxy import WAYS, CuttingProxy, cutting_proxy
from tests.exact.conftest import Say
from tests.exact.ledger import Ledger, delete, insert, reader, to_json, update
from tests.replica_set import ReplicaSet
from tests.serving import serving
from tests.truth import Document, Truth, time_of

CUTS = 500
CLIENTS = 6
ACCOUNTS = 24
SPAN = (20, 15_000)
"""Bytes of a connection: from within the handshake to some dozen moments."""
QUICK = Backoff(first=0.002, limit=0.02)

pytestmark = pytest.mark.timeout(180)


def plain(value: Any) -> Any:
    """A value as the wire has it."""
    return json.loads(ejson.encode(value))


@dataclass(slots=True)
class Witness:
    """What one client handed out, as frames of the protocol, and what its view showed at its positions."""

    asked: list[Asked]
    frames: list[Frame] = field(default_factory=list)
    shown: list[tuple[str, list[Document]]] = field(default_factory=list)
    snapshots: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def entered(self, view: View) -> None:
        documents = plain(view.documents)
        self.frames += [
            {"type": "subscribed", "id": "q", "channel": 1, "recovered": False},
            {"type": "snapshot", "id": "q", "documents": documents, "first": True, "last": True}
            | {"position": view.position},
            {"type": "live", "id": "q", "position": view.position},
        ]

    def moment(self, moment: Moment, view: View) -> None:
        changes = []
        for one in moment.changes:
            document = {} if one.op == "leave" else {"document": plain(one.document)}
            changes.append({"op": one.op, "key": plain(one.key), **document})
        self.snapshots += moment.snapshot
        self.frames.append({"type": "changes", "channel": 1, "changes": changes, "position": moment.position})
        assert view.position is not None
        self.shown.append((view.position, plain(view.documents)))
        self.states[view.state] += 1

    async def follow(self, view: View) -> None:
        async for moment in view:
            self.moment(moment, view)


@dataclass(slots=True)
class Listener:
    """Events of one client. It stops now and then, at any event, and begins anew from `events.position`."""

    asked: Asked
    start: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    safe: list[str | None] = field(default_factory=list)
    last: str = ""

    async def follow(self, events: Events) -> None:
        self.start = self.start or str(events.position)
        async for event in events:
            names = ("op", "collection", "position", "key", "document", "as_of")
            fields = {name: getattr(event, name) for name in names}
            self.events.append({name: plain(value) for name, value in fields.items() if value is not None})
            self.safe.append(events.position)
        self.last = str(events.position)

    def frames(self) -> list[Frame]:
        """A frame for each run of events of one position."""
        frames: list[Frame] = [
            {"type": "subscribed", "id": "e", "channel": 2, "recovered": False},
            {"type": "live", "id": "e", "position": self.start},
        ]
        for event in self.events:
            if frames[-1].get("position") != event["position"] or "events" not in frames[-1]:
                frames.append({"type": "events", "channel": 2, "events": [], "position": event["position"]})
            frames[-1]["events"].append(event)
        return [*frames, {"type": "heartbeat", "position": self.last}]


def transfers(ledger: Ledger, part: int, stop: threading.Event) -> None:
    """Four-document transactions over a writer's own accounts, documents that come and go, and single writes."""
    dice = random.Random(part)
    balances: dict[Any, int] = {f"{part}-{n}": 100 for n in range(ACCOUNTS)}
    number = 0
    while not stop.wait(0.04):
        number += 1
        one, two, three, four = dice.sample(sorted(balances), 4)
        amount, fresh = dice.randrange(1, 60), f"{part}-new-{number}"
        left = balances.pop(four)
        balances[fresh] = left
        balances[one] += amount
        balances[two] -= amount
        ledger.together(
            [
                insert("accounts", fresh, part=part, balance=left),
                update("accounts", one, balance=balances[one]),
                delete("accounts", four),
                update("accounts", two, balance=balances[two]),
            ]
        )
        ledger.one(update("accounts", three, note=number))


@dataclass(slots=True)
class Scribe:
    """A client that writes: what was acknowledged, and what nobody can tell of."""

    name: str
    inserted: list[tuple[str, Any]] = field(default_factory=list)
    added: int = 0
    maybe: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    async def write(self, rt: Client, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            written = await rt.insert("notes", {"by": self.name, "number": number})
            self.inserted.append((written.position, plain(written.key)))
            try:
                await rt.update("counts", self.name, {"$inc": {"n": 1}})
                self.added += 1
            except ServiceError as error:
                self.maybe += (error.code, error.details) == ("unavailable", {"maybe_written": True})
                self.refused[f"{error.code} {error.details}"] += 1


def query_of(number: int) -> tuple[dict[str, Any], Asked]:
    """Every third client asks for everything, for a part, for few fields."""
    if number % 3 == 0:
        return {}, Asked("q", ("accounts",))
    if number % 3 == 1:
        fields: dict[str, Any] = {"filter": {"balance": {"$gte": 100 + number}}}
        return fields, Asked("q", ("accounts",), matches=lambda one: bool(one["balance"] >= 100 + number))
    return {"projection": {"balance": 1}}, Asked(
        "q", ("accounts",), shows=lambda one: {name: one[name] for name in ("_id", "balance")}
    )


async def run_client(
    number: int, proxy: CuttingProxy, healed: asyncio.Event, ends: list[int]
) -> tuple[Witness, Listener, Scribe]:
    """One client's life: a view, events and writes over the proxy, until it has healed and everything is there."""
    fields, asked = query_of(number)
    witness, scribe = Witness([asked]), Scribe(f"c{number}")
    listener = Listener(Asked("e", ("accounts",), mode="events"))
    async with AsyncExitStack() as stack:
        rt = await stack.enter_async_context(connect(f"http://127.0.0.1:{proxy.port}", backoff=QUICK))
        view = await stack.enter_async_context(rt.query("accounts", **fields))
        witness.entered(view)
        events = await stack.enter_async_context(rt.events("accounts"))
        tasks = [
            asyncio.create_task(witness.follow(view)),
            asyncio.create_task(listener.follow(events)),
            asyncio.create_task(scribe.write(rt, healed)),
        ]
        await healed.wait()
        await tasks[2]
        await rt.settled(f"{str(view.position)[:8]}-{ends[0]:016X}")
        assert view.state == "live"
        view.close()
        events.close()
        await asyncio.gather(*tasks)
        witness.shown.append((str(view.position), plain(view.documents)))
    return witness, listener, scribe


def judged(truth: Truth, witness: Witness, listener: Listener) -> Counter[str]:
    """Both before the checker; beside it, every view that was shown against the truth at its position."""
    figures = judge(witness.frames, witness.asked, truth).accept()
    figures += judge(listener.frames(), [listener.asked], truth).accept()
    (asked,) = witness.asked
    for position, documents in witness.shown:
        at = truth.at("accounts", time_of(position)).values()
        expected = {one["_id"]: asked.shows(one) for one in at if asked.matches(one)}
        assert {one["_id"]: one for one in documents} == expected, position
        figures["shown"] += 1
    times = [time_of(event["position"]) for event in listener.events]
    for index, safe in enumerate(listener.safe):
        # Whoever went on from here would get every event after this one, and perhaps some of its own moment again.
        assert safe is None or time_of(safe) < min(times[index + 1 :][:1], default=1 << 64)
        figures["within a moment"] += safe is None or time_of(safe) < times[index]
    return figures


@pytest.mark.long("500 cuts; shorter runs of both clients are beside it")
async def test_over_500_cuts_the_client_says_what_happened_all_of_it_and_once(
    replica_set: ReplicaSet, say: Say
) -> None:
    async with (
        serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.5) as service,
        cutting_proxy(int(urlsplit(service.url).port or 0), seed=11, bytes=SPAN) as proxy,
    ):
        ledger, stop, healed, ends = Ledger(service.database), threading.Event(), asyncio.Event(), list[int]()
        for part in (0, 1):
            ledger.bulk("accounts", [{"_id": f"{part}-{n}", "part": part, "balance": 100} for n in range(ACCOUNTS)])
        service.database.counts.insert_many([{"_id": f"c{number}", "n": 0} for number in range(CLIENTS)])
        writers = [asyncio.create_task(asyncio.to_thread(transfers, ledger, part, stop)) for part in (0, 1)]
        clients = [asyncio.create_task(run_client(number, proxy, healed, ends)) for number in range(CLIENTS)]
        try:
            cutting = asyncio.create_task(proxy.until(CUTS))
            await asyncio.wait([cutting, *clients], return_when=asyncio.FIRST_COMPLETED)
            assert cutting.done(), [client for client in clients if client.done()]
        finally:
            stop.set()
        await asyncio.gather(*writers)
        ends.append(ledger.last)
        proxy.heal()
        healed.set()
        ran = await asyncio.gather(*clients)
        found = reader(service.database)("accounts", ledger.last)
        notes = [to_json(one) for one in service.database.notes.find()]
        counts = {one["_id"]: one["n"] for one in service.database.counts.find()}
    truth, figures = ledger.truth(), Counter[str]()
    for witness, listener, scribe in ran:
        figures += await asyncio.to_thread(judged, truth, witness, listener)
        figures["new snapshots"] += witness.snapshots
        figures["maybe"] += scribe.maybe
        figures["added"] += scribe.added
        assert scribe.added <= counts[scribe.name] <= scribe.added + scribe.maybe
        assert scribe.refused.total() == scribe.maybe, scribe.refused
        mine = {json.dumps(one["_id"]) for one in notes if one["by"] == scribe.name}
        assert mine == {json.dumps(key) for _, key in scribe.inserted}
        figures["inserted"] += len(scribe.inserted)
    assert len(notes) == figures["inserted"]
    final = {one["_id"]: one for one in ran[0][0].shown[-1][1]}
    assert final == {one["_id"]: one for one in found.values()}
    say(f"{proxy.cuts} cuts {dict(proxy.ways)}, {len(truth.writes)} writes, {dict(figures)}")
    assert proxy.cuts >= CUTS
    assert all(proxy.ways[way] > 100 for way in WAYS)
    assert figures["told"] == figures["expected"] > 1000
    assert figures["shown"] > 1000
    assert figures["within a moment"] > 100
    assert figures["inserted"] > 50
    assert figures["maybe"] > 5
    assert figures["added"] > 5
    assert figures["compared"] > 1000
