"""Who asks a node that follows a relay: revoked, put out of a team, under other rules, each within a second.

Sabotage: `make sabotage`, rows "access by a relay".
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.synchronous.database import Database

from realtime.commands.access import key, revoke
from realtime.core.access.keys import id_of
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.mongo.commands import Documents
from tests.relay.processes import Place
from tests.relay.test_relay import PUBLISHES
from tests.serving import Process, process
from tests.wire import Frame, View, Wire, wired

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.long("many rounds on whole processes, and how long each of them took"),
    pytest.mark.alone("asserts upper bounds in seconds"),
]
Say = Callable[[str, object], None]

SIGNER = signer("HS256")
ROUNDS = 24
SECONDS = 1.0
WRITES_A_SECOND = 200
NAMES = ("docs", "orders", "tasks", "memberships")
RULES = """
docs:
  "*": {read: true}
orders:
  "*": {read: {owner: $user.sub}}
tasks:
  "*": {read: {team: {$in: {$from: {collection: memberships, where: {user: $user.sub}, values: team}}}}}
"""
HIDDEN = RULES.replace("{owner: $user.sub}}", "{owner: $user.sub}, fields: {hide: [planted]}}")


@dataclass(frozen=True, slots=True)
class Node:
    """A service as a process that follows a relay, beside writes."""

    service: Process
    database: Database[dict[str, Any]]
    rules: Path

    @asynccontextmanager
    async def of(self, sub: str, token: str | None = None, **claims: Any) -> AsyncIterator[Wire]:
        """A connection of a user."""
        shown = token or SIGNER.token(sub=sub, exp=time.time() + 600, **claims)
        async with wired(self.service.url, additional_headers={"Authorization": f"Bearer {shown}"}) as wire:
            yield wire

    def insert(self, collection: str, key: Any, **fields: Any) -> None:
        self.database[collection].insert_one({"_id": key, **fields})

    def update(self, collection: str, key: Any, **fields: Any) -> None:
        self.database[collection].update_one({"_id": key}, {"$set": fields})


@contextmanager
def writing(database: Database[dict[str, Any]]) -> Iterator[None]:
    """About `WRITES_A_SECOND` inserts into `docs`, as long as the block runs."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(1 / WRITES_A_SECOND):
            number += 1
            database.docs.insert_one({"_id": number, "owner": "nobody"})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
async def node(here: Place, documents: Documents, tmp_path: Path) -> AsyncIterator[Node]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    for name in NAMES:
        documents.create_collection(name)
    # Where collections are named, the service's own are published all the same.
    served = {"REALTIME_COLLECTIONS": ",".join(NAMES)}
    await here.relay(**served).says(PUBLISHES)
    given = {**served, "REALTIME_JWT_SECRET": SECRET, "REALTIME_JWT_AUDIENCE": AUDIENCE, "REALTIME_NATS": here.nats}
    where = ("--mongodb-uri", here.uri, "--database", here.database)
    asks = ("--auth", "jwt,keys", "--rules", str(rules))
    async with process("serve", "--port", "0", *where, *asks, home=tmp_path, **given) as service:
        with pymongo.MongoClient[dict[str, Any]](here.uri) as client:
            concern = pymongo.WriteConcern("majority")
            database = client.get_database(here.database, write_concern=concern)
            with writing(database):
                yield Node(service, database, rules)
    assert not here.relays[0].process.poll()


def said(took: list[float], what: str, record_property: Say) -> None:
    """The figures of one test, and that each is below a second."""
    record_property(
        "figures", f"{what}: {statistics.median(took):.3f} s in the middle of {len(took)}, {max(took):.3f} s at most"
    )
    assert len(took) == ROUNDS
    assert max(took) < SECONDS


def documents_of(wire: Wire, name: str) -> list[dict[str, Any]]:
    """All documents that one subscription was told in events."""
    events = [one for frame in wire.frames if frame["type"] == "events" for one in frame["events"]]
    return [one["document"] for one in events if "document" in one and one["collection"] == name]


async def quiet(node: Node, wire: Wire, marker: str, collection: str) -> None:
    """Whatever was said to this connection by now has come; what is marked is not among it."""
    node.insert("docs", marker)
    await wire.until(lambda frame: any(one["key"] == marker for one in frame.get("events", ())))
    assert not [one for one in documents_of(wire, collection) if one.get("mark") == marker]


# ------------------------------------------------------------------------------------------------------------- revoked


@pytest.mark.parametrize("by", ["sub", "jti", "key"])
async def test_who_is_revoked_is_sent_away_within_a_second_and_hears_nothing_after(
    node: Node, here: Place, by: str, record_property: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted from before the command connects to MongoDB, so more than from when that was acknowledged."""
    where = ("--uri", here.uri, "--database", here.database)
    took: list[float] = []
    async with node.of("bob") as other:
        await other.subscribe("docs", mode="events")
        for number in range(ROUNDS):
            named, token = f"u{number}", None
            if by == "key":
                await asyncio.to_thread(key.main, ["create", named, *where], standalone_mode=False)
                token = capsys.readouterr().out.split()[-1]
                found = node.database.realtime_keys.find_one({"name": named})
                assert found is not None
                named = id_of(found["_id"])
            claims = {"jti": named} if by == "jti" else {}
            async with node.of(named, token, **claims) as wire:
                await wire.subscribe("docs", mode="events")
                await wire.until(lambda frame: frame["type"] == "events")
                began = time.monotonic()
                await asyncio.to_thread(revoke.main, [f"--{by}", named, *where], standalone_mode=False)
                await wire.when(lambda wire=wire: wire.closed is not None)  # type: ignore[misc]  # reason: its default binds it now
                took.append(time.monotonic() - began)
                assert wire.closed is not None
                assert wire.closed[0] == 4504
        assert other.closed is None
        await quiet(node, other, "at the end", "orders")
    said(took, f"revoked by {by}", record_property)


# ---------------------------------------------------------------------------------------------------------- membership


async def test_who_is_put_out_of_a_team_is_told_so_within_a_second_and_nothing_of_after_it(
    node: Node, record_property: Say
) -> None:
    """Membership and documents go in one transaction: nothing of that position on is told."""
    took: list[float] = []
    async with node.of("ann") as wire:
        await wire.subscribe("docs", id="d", mode="events")
        view = await wire.subscribe("tasks")
        await wire.subscribe("tasks", id="e", mode="events")
        for number in range(ROUNDS):
            team, keys = f"team {number}", [f"{number} {one}" for one in range(3)]
            for one in keys:
                node.insert("tasks", one, team=team, n=0)
            node.insert("memberships", number, user="ann", team=team)
            await wire.when(lambda keys=keys: {json.dumps(one) for one in keys} <= view.documents.keys())  # type: ignore[misc]  # reason: as above
            node.update("tasks", keys[0], n=1)
            await wire.when(lambda team=team: any(one["team"] == team for one in documents_of(wire, "tasks")))  # type: ignore[misc]  # reason: as above
            mark = f"after {number}"
            await asyncio.to_thread(put_out, node, number, team, mark)
            acknowledged = time.monotonic()
            await wire.when(lambda: not view.documents)
            took.append(time.monotonic() - acknowledged)
            node.update("tasks", keys[1], n=2)
            await quiet(node, wire, mark, "tasks")
            assert f'"mark":"{mark}"' not in "".join(wire.raw)
            assert not view.documents
    said(took, "put out of a team", record_property)


def put_out(node: Node, number: int, team: str, mark: str) -> None:
    """A membership ends, and the documents of its team change, at one position."""
    with node.database.client.start_session() as session, session.start_transaction():
        node.database.memberships.delete_one({"_id": number}, session=session)
        node.database.tasks.update_many({"team": team}, {"$set": {"mark": mark}}, session=session)


# --------------------------------------------------------------------------------------------------------------- rules


async def test_what_comes_under_a_rule_or_leaves_it_is_told_within_a_second_and_then_no_more(
    node: Node, record_property: Say
) -> None:
    came: list[float] = []
    left: list[float] = []
    async with node.of("ann") as wire:
        await wire.subscribe("docs", id="d", mode="events")
        view = await wire.subscribe("orders")
        await wire.subscribe("orders", id="e", mode="events")
        for number in range(ROUNDS):
            name, mark = json.dumps(number), f"after {number}"
            node.insert("orders", number, owner="bob")
            for owner, took in (("ann", came), ("bob", left)):
                await asyncio.to_thread(node.update, "orders", number, owner=owner, mark=f"{owner} {mark}")
                acknowledged = time.monotonic()
                await wire.when(lambda owner=owner, name=name: (name in view.documents) is (owner == "ann"))  # type: ignore[misc]  # reason: as above
                took.append(time.monotonic() - acknowledged)
            node.update("orders", number, mark=mark)
            await quiet(node, wire, mark, "orders")
            assert f'"bob {mark}"' not in "".join(wire.raw)
            assert f'"ann {mark}"' in "".join(wire.raw)
    said(came, "came under a rule", lambda *_: None)
    said(left, f"came under a rule: {max(came):.3f} s at most; left it", record_property)


async def test_a_changed_file_of_rules_holds_within_a_second_of_sighup(node: Node, record_property: Say) -> None:
    took: list[float] = []
    node.insert("orders", "first", owner="ann", planted="SECRET")
    async with node.of("ann") as wire:
        await wire.subscribe("docs", id="d", mode="events")
        view = await wire.subscribe("orders")
        for number in range(ROUNDS):
            hidden, before = number % 2 == 0, len(wire.frames)
            node.rules.write_text(HIDDEN if hidden else RULES)
            began = time.monotonic()
            node.service.process.send_signal(signal.SIGHUP)
            await wire.until(again, after=before)
            await wire.when(lambda hidden=hidden: shown(view, "planted") is not hidden)  # type: ignore[misc]  # reason: as above
            took.append(time.monotonic() - began)
            mark = f"after {number}"
            node.update("orders", "first", planted=mark, n=number)
            await wire.when(lambda number=number: view.documents['"first"'].get("n") == number)  # type: ignore[misc]  # reason: as above
            assert (f'"{mark}"' in "".join(wire.raw)) is not hidden
    said(took, "other rules after SIGHUP", record_property)


def again(frame: Frame) -> bool:
    return frame["type"] == "live" and frame.get("id") == "s"


def shown(view: View, field: str) -> bool:
    return view.live and field in view.documents['"first"']
