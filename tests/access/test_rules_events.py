"""Events under rules, from a real mongod over real sockets: live, resumed from journal and oplog, and as a stream."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.access.issuer import SECRET, signer
from tests.chance import fresh_seed
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.streams import streaming
from tests.wire import Frame, Wire, wired

SIGNER = signer("HS256")
RULES = """
orders:
  customer: {read: {owner: $user.sub}, fields: {hide: [margin, notes.internal]}}
plain:
  customer: {read: {owner: $user.sub}, fields: {hide: [margin, notes.internal]}}
open:
  customer: {read: true, fields: {hide: [margin, notes.internal]}}
audit:
  auditor: {read: true}
"*":
  admin: {read: true}
"""
NAMES = ("orders", "plain", "open", "audit")
ALL = "/v1/collections/*/events"
ORDERS = "/v1/collections/orders/events"
SECRET_VALUE = "planted"


@dataclass
class Run:
    """What was written, and what ann is to be told of `orders`, where each image is known."""

    expected: list[tuple[str, Any, Any]] = field(default_factory=list)
    withheld: int = 0
    documents: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def note(self, name: str, op: str, key: int, after: dict[str, Any] | None) -> None:
        """What a write did to a document."""
        before = self.documents.pop((name, key), None)
        if after is not None:
            self.documents[name, key] = after
        was, now = cut(before), cut(after)
        told = was is not None if op == "delete" else now is not None and now != was
        if name == "orders" and before != after:
            self.withheld += not told
            self.expected += [(op, key, now)] if told else []


def cut(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """A document of `orders` as ann sees it."""
    if document is None or document.get("owner") != "ann":
        return None
    shown = {name: value for name, value in document.items() if name != "margin"}
    if isinstance(shown.get("notes"), dict):
        shown["notes"] = {name: value for name, value in shown["notes"].items() if name != "internal"}
    return shown


def write(service: Service, dice: random.Random, count: int) -> Run:
    """Writes of all kinds on collections with images and without; what is not ann's, and what is hidden, is marked."""
    run, database = Run(), service.database
    for name in NAMES:
        database[name].delete_many({})
    for number in range(count):
        name, key = dice.choice(NAMES), dice.randrange(6)
        held = run.documents.get((name, key))
        owner = dice.choice(["ann", "ann", "bob"])
        mark = f"{SECRET_VALUE} {number}"
        note = {"internal": mark, "public": dice.randrange(2)}
        mine = name in {"orders", "plain"} and owner == "ann"
        said = number if mine or name == "open" else mark
        whole = {"owner": owner, "margin": mark, "notes": note, "n": said}
        kind = dice.choice(["insert", "replace", "set", "set", "set", "hidden", "move", "unset", "delete"])
        if held is None:
            database[name].insert_one({"_id": key, **whole})
            run.note(name, "insert", key, {"_id": key, **whole})
            continue
        theirs = name == "audit" or (name != "open" and held["owner"] != "ann")
        if kind == "delete":
            database[name].delete_one({"_id": key})
            run.note(name, "delete", key, None)
        elif kind in {"insert", "replace"}:
            database[name].replace_one({"_id": key}, whole)
            run.note(name, "replace", key, {"_id": key, **whole})
        else:
            change = {
                "set": {"n": f"{mark} of another" if theirs else number, "notes.public": dice.randrange(2)},
                "hidden": {"margin": mark, "notes.internal": mark},
                # What was hidden is not to be seen by moving it: it is written anew.
                "move": {"owner": owner, "n": said},
            }.get(kind, {})
            update = {"$set": change} if change else {"$unset": {"extra": 1, "margin": 1}}
            database[name].update_one({"_id": key}, update)
            run.note(name, "update", key, database[name].find_one({"_id": key}))
    return run


@asynccontextmanager
async def ruled(replica_set: ReplicaSet, **more: Any) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(RULES)
        asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100, "rules": rules}
        async with serving(replica_set, **asks, **more) as running:
            yield running


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    async with ruled(replica_set) as running:
        running.database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
        for name in ("plain", "open", "audit"):
            running.database.create_collection(name)
        yield running


def token(sub: str, *roles: str) -> str:
    return SIGNER.token(sub=sub, roles=list(roles))


@asynccontextmanager
async def as_(service: Service, *who: str) -> AsyncIterator[Wire]:
    async with wired(service.url, additional_headers={"Authorization": f"Bearer {token(*who)}"}) as wire:
        yield wire


def events(wire: Wire) -> list[dict[str, Any]]:
    return [event for frame in wire.of("events") for event in frame["events"]]


def entries(found: list[dict[str, Any]], *collections: str) -> list[tuple[str, Any, Any]]:
    """What was told of the documents of some collections."""
    kept = (event for event in found if event["collection"] in collections)
    return [(event["op"], event.get("key"), event.get("document")) for event in kept]


async def passed(service: Service, wire: Wire, admin: Wire) -> None:
    """Until everything that was written so far has been told."""
    service.database.orders.insert_one({"_id": "end", "owner": "nobody"})
    service.database.orders.delete_one({"_id": "end"})
    await admin.when(lambda: bool(events(admin)) and events(admin)[-1].get("key") == "end")
    answer = await wire.ask(type="ping", position=admin.of("events")[-1]["position"])
    assert answer["type"] == "pong"


def check(found: list[dict[str, Any]]) -> None:
    """Nothing that is hidden, by whatever name."""
    assert found
    for event in found:
        assert event["collection"] in {"orders", "plain", "open"}, event
        assert SECRET_VALUE not in repr(event), event
        assert not {"margin", "notes.internal"} & {*event.get("updated", ()), *event.get("removed", ())}, event


async def test_each_event_that_may_be_seen_is_told_once_live_and_after_a_resume(
    service: Service, replica_set: ReplicaSet
) -> None:
    seed = fresh_seed()
    async with as_(service, "ann", "customer") as ann, as_(service, "root", "admin") as admin:
        await admin.subscribe("*", mode="events")
        await ann.subscribe("*", mode="events")
        begin = next(frame["position"] for frame in ann.of("live"))
        run = write(service, random.Random(seed), 400)
        await passed(service, ann, admin)
        live, of_all = events(ann), events(admin)
        check(live)
        assert SECRET_VALUE not in "".join(ann.raw)
        assert entries(live, "orders") == run.expected, seed
        assert min(len(run.expected), run.withheld) >= 20
        whole = [event for event in of_all if event["collection"] in NAMES and event.get("key") != "end"]
        assert len(whole) > len(live) >= 100
        await resumed(service, ann, live, begin)
    # From the oplog: another process, with no memory of its own.
    async with (
        ruled(replica_set, database=service.database.name, keep=True, journal_bytes=0) as other,
        as_(other, "ann", "customer") as ann,
    ):
        await resumed(other, ann, live, begin)


async def resumed(service: Service, ann: Wire, live: list[dict[str, Any]], begin: str) -> None:
    """From each of some positions on: of `orders`, where each image is known, just the rest; of others nothing more
    than may be told."""
    positions = [begin, *(event["position"] for event in random.Random(1).sample(live, 5))]
    for number, position in enumerate(positions):
        after = len(ann.frames)
        await ann.subscribe("*", id=f"again {service.url} {number}", mode="events", position=position)
        found = [event for frame in ann.frames[after:] if frame["type"] == "events" for event in frame["events"]]
        rest = [event for event in live if event["position"] > position]
        assert entries(found, "orders") == entries(rest, "orders")
        if found:
            check(found)
    assert SECRET_VALUE not in "".join(ann.raw)


async def test_a_stream_tells_what_a_socket_does_and_what_becomes_of_deletes_is_said(service: Service) -> None:
    async with as_(service, "root", "admin") as admin, as_(service, "ann", "customer") as ann:
        await admin.subscribe("*", mode="events")
        await ann.subscribe("orders", mode="events")
        assert ann.of("subscribed")[-1]["deletes"] == "matched"
        for name, deletes in (("plain", "none"), ("open", "all"), (["orders", "plain"], "none"), ("*", "none")):
            await ann.subscribe(name, id=str(name), mode="events")
            assert ann.of("subscribed")[-1]["deletes"] == deletes, name
        assert admin.of("subscribed")[-1]["deletes"] == "all"
        async with (
            streaming(service.url, ALL, token=token("ann", "customer")) as everywhere,
            streaming(service.url, ORDERS, token=token("ann", "customer")) as stream,
        ):
            await stream.when(lambda: stream.of("live"))
            await everywhere.when(lambda: everywhere.of("live"))
            write(service, random.Random(2), 60)
            await passed(service, ann, admin)
            channel = next(frame["channel"] for frame in ann.of("subscribed") if frame["id"] == "s")
            told = [event for frame in ann.of("events") if frame.get("channel") == channel for event in frame["events"]]
            await stream.when(lambda: len(list(of_stream(stream.frames))) >= len(told))
            assert list(of_stream(stream.frames)) == told != []
            check(list(of_stream(everywhere.frames)))


def of_stream(frames: list[Frame]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        yield from frame["events"] if frame["type"] == "events" else ()


async def test_whoever_asks_for_what_is_not_theirs_is_refused_alike(service: Service) -> None:
    service.database.command("create", "seen", viewOn="orders", pipeline=[])
    async with as_(service, "ann", "customer") as ann, as_(service, "eve") as eve:
        asked = [
            await wire.ask(type="subscribe", mode="events", collection=name)
            for wire, name in ((ann, "audit"), (ann, "nowhere"), (ann, "seen"), (ann, ["orders", "audit"]), (eve, "*"))
        ]
        assert {(answer["type"], answer["code"], answer["message"]) for answer in asked} == {
            ("error", "forbidden", asked[0]["message"])
        }
        hidden = await ann.ask(type="subscribe", mode="events", collection="*", filter={"margin": {"$gt": 1}})
        assert (hidden["code"], hidden["details"]) == ("forbidden", {"field": "filter"})
    answer = await service.http.get(
        "/v1/collections/audit/events",
        headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token('ann', 'customer')}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_names_are_told_where_they_may_be_read_and_a_rule_holds_for_what_is_made_later(
    service: Service,
) -> None:
    database = service.database
    async with as_(service, "root", "admin") as admin, as_(service, "ann", "customer") as ann:
        await admin.subscribe("*", mode="events")
        await ann.subscribe("*", mode="events")
        database.hidden.insert_one({"_id": 1, "text": SECRET_VALUE})
        database.create_collection("shown").insert_one({"_id": 1, "text": SECRET_VALUE})
        database.shown.rename("open", dropTarget=True)  # from a name that is hidden
        database.open.rename("elsewhere")  # to one that is
        database.create_collection("open").insert_one({"_id": 2, "margin": SECRET_VALUE, "n": 1})
        database.plain.rename("open", dropTarget=True)
        database.hidden.drop()
        database.open.drop()
        await passed(service, ann, admin)
        told = [(event["op"], event["collection"], event.get("to")) for event in events(ann)]
        assert told == [
            ("drop", "open", None),
            ("drop", "open", None),
            ("insert", "open", None),
            ("rename", "plain", "open"),
            ("drop", "open", None),
        ]
        assert SECRET_VALUE not in "".join(ann.raw)
        of_all = [(event["op"], event["collection"], event.get("to")) for event in events(admin)]
        assert ("rename", "shown", "open") in of_all
        assert ("drop", "hidden", None) in of_all


async def test_who_may_see_the_same_hears_one_channel(service: Service) -> None:
    async with as_(service, "ann", "customer") as ann, as_(service, "bob", "customer") as bob:
        for wire in (ann, bob):
            await wire.subscribe("orders", id="orders", mode="events")
            await wire.subscribe("open", id="open", mode="events")
        channels = [{frame["id"]: frame["channel"] for frame in wire.of("subscribed")} for wire in (ann, bob)]
        assert channels[0]["orders"] != channels[1]["orders"]
        assert channels[0]["open"] == channels[1]["open"]
