"""Membership that lives in the database, on a real service: after it ends nothing is told, wherever one asks.

Sabotage: `make sabotage`, rows "sets".
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo.synchronous.database import Database

from realtime.app import create_app
from realtime.errors import ConfigurationError
from realtime.settings import load
from tests.replica_set import ReplicaSet
from tests.rules.ruled import Person, Rules
from tests.rules.scene import ROOT, RULED, bearer, written
from tests.rules.test_advisories import FREE, connected, fenced, keys_told, known, ruling, told
from tests.serving import Service
from tests.wire import View

pytestmark = pytest.mark.timeout(120)
TEAMS = {"$in": {"$from": {"collection": "members", "where": {"user": "$user.sub"}, "values": "team"}}}
RULES: Rules = {
    "orders": {
        "root": FREE,
        "member": {
            "read": {"team": TEAMS},
            "insert": {"team": TEAMS},
            "update": {"team": TEAMS},
            "delete": {"team": TEAMS},
            "fields": {"hide": ["margin"]},
        },
    },
    "members": {"root": FREE},
}
ANN, BOB = Person("ann", ("member",)), Person("bob", ("member",))
RATE, BEFORE, AFTER = 1000, 1500, 1500
"""Events a second, and how many there are before the membership ends and after it."""
A_BATCH = 50


@pytest.fixture
async def service(replica_set: ReplicaSet, tmp_path: Path) -> AsyncIterator[Service]:
    async with ruling(replica_set, tmp_path, RULES) as running:
        yield running


def joined(database: Database[dict[str, Any]], team: str, user: str = "ann") -> None:
    database.members.insert_one({"user": user, "team": team})


def left(database: Database[dict[str, Any]], team: str, user: str = "ann") -> None:
    assert database.members.delete_one({"user": user, "team": team}).deleted_count == 1


def of_team(key: str, team: str = "red", **fields: Any) -> dict[str, Any]:
    return {"_id": key, "team": team, "margin": "zq00000001z", **fields}


def _write(database: Database[dict[str, Any]]) -> None:
    """At a rate, and in the middle of it a transaction that ends the membership among documents."""
    begun, done = time.monotonic(), 0

    def some(count: int, tag: str) -> None:
        nonlocal done
        for first in range(0, count, A_BATCH):
            documents = [of_team(f"{tag}{first + n}", n=first + n) for n in range(A_BATCH)]
            database.orders.insert_many(documents)
            done += A_BATCH
            time.sleep(max(0.0, begun + done / RATE - time.monotonic()))

    some(BEFORE, "before")
    with database.client.start_session() as session, session.start_transaction():
        database.orders.insert_one(of_team("after, in it, first"), session=session)
        database.orders.update_one({"_id": "before1"}, {"$set": {"said": "after"}}, session=session)
        database.members.delete_one({"user": "ann"}, session=session)
        database.orders.insert_one(of_team("after, in it, last"), session=session)
        database.orders.delete_one({"_id": "before2"}, session=session)
    some(AFTER, "after")


@pytest.mark.parametrize("images", [False, True])
async def test_nothing_is_told_after_the_position_at_which_a_membership_ended(service: Service, images: bool) -> None:
    database = service.database
    database.create_collection("orders", changeStreamPreAndPostImages={"enabled": images})
    joined(database, "red")
    async with connected(service, ANN) as wire:
        view = await wire.subscribe("orders")
        await wire.subscribe("orders", id="e", mode="events")
        await wire.subscribe("orders", id="w", sort=[["n", -1]], limit=10)
        began = time.monotonic()
        await asyncio.to_thread(_write, database)
        rate = (BEFORE + AFTER) / (time.monotonic() - began)
        await fenced(service, wire)
        assert rate > RATE / 10
        every = b"".join(text.encode() for text in wire.raw)
        events = [one for frame in wire.of("events") for one in frame["events"]]
        assert {one["op"] for one in events} == {"insert"}
        assert {one["key"] for one in events} == {f"before{n}" for n in range(BEFORE)}
        assert b"after" not in every
        assert b"zq00000001z" not in every
        assert view.documents == {}
        assert view.moments > 3
        # And who comes to be one again is told again.
        await asyncio.to_thread(joined, database, "red")
        await fenced(service, wire)
        assert len(view.documents) == database.orders.count_documents({})


async def test_every_way_to_read_goes_by_what_somebody_is_a_member_of_now(service: Service) -> None:
    database = service.database
    database.orders.insert_many([of_team("r1"), of_team("r2"), of_team("b1", "blue")])
    joined(database, "red")
    joined(database, "blue", "bob")
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:

        async def seen(person: Person) -> list[str]:
            answer = await http.get("/v1/collections/orders/documents?count=true", headers=bearer(person))
            page = answer.json()
            lines = await http.get(
                "/v1/collections/orders/documents", headers={**bearer(person), "Accept": "application/x-ndjson"}
            )
            by_line = [json.loads(line) for line in lines.text.splitlines()][:-1]
            keys = sorted(one["_id"] for one in page["documents"])
            assert keys == sorted(one["_id"] for one in by_line)
            assert page["count"] == len(keys)
            stages = json.dumps([{"$sort": {"_id": 1}}, {"$project": {"margin": 1}}])
            rows = await http.get(
                "/v1/collections/orders/aggregate", params={"pipeline": stages}, headers=bearer(person)
            )
            assert rows.json()["documents"] == [{"_id": key} for key in keys]
            one_by_one = []
            for key in ("r1", "r2", "b1"):
                got = await http.get(f"/v1/collections/orders/documents/{key}", headers=bearer(person))
                assert (got.status_code == 200) is ("ETag" in got.headers)
                one_by_one += [key] if got.status_code == 200 else []
            assert sorted(one_by_one) == keys
            assert "zq00000001z" not in answer.text + lines.text
            return keys

        assert await seen(ANN) == ["r1", "r2"]
        assert await seen(BOB) == ["b1"]
        await asyncio.to_thread(left, database, "red")
        await asyncio.to_thread(joined, database, "blue")
        assert await seen(ANN) == ["b1"]
        await asyncio.to_thread(left, database, "blue")
        assert await seen(ANN) == []
        listed = (await http.get("/v1/collections", headers=bearer(ANN))).json()["collections"]
        assert listed == [{"name": "orders"}]
        stream = await http.get("/v1/collections/members/documents", headers=bearer(ANN))
        assert stream.status_code == 403


async def test_a_list_under_way_ends_with_the_membership(service: Service) -> None:
    database = service.database
    joined(database, "red")
    database.orders.insert_many([of_team(f"r{n}", pad="x" * 2000) for n in range(6000)])
    got: list[str] = []
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30) as http,
        http.stream(
            "GET", "/v1/collections/orders/documents", headers={**bearer(ANN), "Accept": "application/x-ndjson"}
        ) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            got.append(line)
            if len(got) == 10:
                await asyncio.to_thread(left, database, "red")
    assert 10 <= len(got) < 6000


async def test_a_write_asks_the_set_of_its_own_moment(service: Service) -> None:
    database = service.database
    joined(database, "red")
    async with connected(service, ANN) as wire:
        answer = await wire.ask(type="insert", collection="orders", document=of_team("mine") | {"margin": None})
        assert answer["code"] == "forbidden"  # of a field that is hidden from her
        mine = {"_id": "mine", "team": "red"}
        assert (await wire.ask(type="insert", collection="orders", document=mine))["type"] == "result"
        change = {"type": "update", "collection": "orders", "key": "mine", "update": {"$set": {"n": 1}}}
        assert (await wire.ask(**change))["type"] == "result"
        moved = {**change, "update": {"$set": {"team": "blue"}}}
        assert (await wire.ask(**moved))["code"] == "forbidden"
        await asyncio.to_thread(left, database, "red")
        # At once, whether or not the service has heard of it.
        assert (await wire.ask(**change))["code"] == "not_found"
        assert (await wire.ask(type="delete", collection="orders", key="mine"))["code"] == "not_found"
        assert (await wire.ask(type="insert", collection="orders", document={**mine, "_id": "x"}))[
            "code"
        ] == "forbidden"
    assert [one["_id"] for one in database.orders.find()] == ["mine"]


async def test_a_name_in_other_letters_is_not_the_same_one(service: Service) -> None:
    """Whatever the collection takes for equal: by its own collation ann would be whatever ANN is."""
    database = service.database
    database.create_collection("members", collation={"locale": "en", "strength": 2})
    joined(database, "red", "ANN")
    database.orders.insert_one(of_team("r1"))
    async with connected(service, ANN) as wire, httpx.AsyncClient(base_url=service.url, timeout=30) as http:
        # What is live goes by no collation at all.
        answer = await wire.ask(type="subscribe", id="s", collection="orders")
        assert (answer["type"], answer["code"]) == ("error", "unavailable")
        page = await http.get("/v1/collections/orders/documents", headers=bearer(ANN))
        assert page.json()["documents"] == []
        one = await http.get("/v1/collections/orders/documents/r1", headers=bearer(ANN))
        assert one.status_code == 404
        refused = await wire.ask(type="insert", collection="orders", document={"_id": "x", "team": "red"})
        assert refused["code"] == "forbidden"


def _aborted(database: Database[dict[str, Any]]) -> int:
    """Transactions that MongoDB has aborted."""
    return int(database.client.admin.command("serverStatus")["transactions"]["totalAborted"])


async def test_a_write_that_collides_with_the_end_of_a_membership_asks_again(service: Service) -> None:
    """Its first try meets a transaction that holds the document and ends the membership; the second one is refused."""
    database = service.database
    joined(database, "red")
    database.orders.insert_one({"_id": "r1", "team": "red", "n": 0})
    async with connected(service, ANN) as wire:
        with database.client.start_session() as session:
            session.start_transaction()
            database.orders.update_one({"_id": "r1"}, {"$set": {"n": 1}}, session=session)
            database.members.delete_one({"user": "ann"}, session=session)
            tried = _aborted(database)
            asked = asyncio.create_task(
                wire.ask(type="update", collection="orders", key="r1", update={"$set": {"n": 2}})
            )
            async with asyncio.timeout(30):
                while await asyncio.to_thread(_aborted, database) == tried:
                    await asyncio.sleep(0)
            assert not asked.done()
            await asyncio.to_thread(session.commit_transaction)
        assert (await asked)["code"] == "not_found"
    found = database.orders.find_one({"_id": "r1"})
    assert found is not None
    assert found["n"] == 1


async def test_over_the_bound_nobody_is_let_in_by_it(
    replica_set: ReplicaSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ruling(replica_set, tmp_path, RULES, membership_values=3) as service:
        database = service.database
        database.orders.insert_many([of_team("r1"), of_team("t1", "t1")])
        for team in ("red", "t1", "t2"):
            joined(database, team)
        async with connected(service, ANN) as wire, httpx.AsyncClient(base_url=service.url, timeout=30) as http:
            view = await wire.subscribe("orders")
            assert len(view.documents) == 2
            await asyncio.to_thread(joined, database, "t3")
            await fenced(service, wire)
            assert view.documents == {}
            assert "more than 3 values" in caplog.text
            answer = await http.get("/v1/collections/orders/documents", headers=bearer(ANN))
            assert answer.json()["documents"] == []
            refused = await wire.ask(type="update", collection="orders", key="r1", update={"$set": {"n": 1}})
            assert refused["code"] == "not_found"
            await asyncio.to_thread(left, database, "t3")
            await fenced(service, wire)
            assert len(view.documents) == 2


async def test_events_go_on_from_where_they_were_unless_the_membership_changed(service: Service) -> None:
    database = service.database
    joined(database, "red")
    async with connected(service, ANN) as wire:
        await wire.subscribe("orders", id="e", mode="events")
        database.orders.insert_one(of_team("r1"))
        await fenced(service, wire)
        before = max(frame["position"] for frame in wire.frames if "position" in frame)
        database.orders.insert_one(of_team("r2"))
        joined(database, "blue", "bob")
        await fenced(service, wire)
    async with connected(service, ANN) as wire:
        answer = await wire.ask(type="subscribe", id="e", collection="orders", mode="events", position=before)
        assert answer["type"] == "subscribed"
        await fenced(service, wire)
        assert keys_told(told(wire)) == {"r2"}
    await asyncio.to_thread(left, database, "red")
    async with connected(service, BOB) as wire:
        await fenced(service, wire)
    async with connected(service, ANN) as wire:
        answer = await wire.ask(type="subscribe", id="e", collection="orders", mode="events", position=before)
        assert (answer["type"], answer["code"]) == ("error", "history_lost")
        assert "oldest" in answer["details"]
        assert told(wire) == []


ACTIVE = {"$in": {"$from": {"collection": "members", "where": {"user": "$user.sub", "on": True}, "values": "team"}}}
UNDER: list[tuple[Any, dict[str, Any]]] = [
    ({"team": TEAMS}, {"user": "ann"}),
    ({"team": ACTIVE}, {"user": "ann", "on": True}),
    ({"$or": [{"team": ACTIVE}, {"_id": "g0"}]}, {"user": "ann", "on": True}),
]
"""Rules by turns, and what finds the memberships by which each lets Ann read."""
TURNS = 12


def _shows(views: Sequence[View], keys: set[str]) -> bool:
    return all({one["_id"] for one in view.documents.values()} == keys for view in views)


async def test_rules_are_exchanged_while_memberships_change(service: Service, tmp_path: Path) -> None:
    """At rest the views are what the rule and its set find then; of what those do not let be seen nothing comes."""
    database = service.database
    names = ["red", "blue", "green"]
    database.orders.insert_many([of_team(f"{team[0]}{n}", team, n=0) for team in names for n in range(4)])
    database.members.insert_many([{"user": "ann", "team": team, "on": team != "blue"} for team in names[:2]])
    shown = hidden = 0
    async with connected(service, ANN) as wire:
        plain = await wire.subscribe("orders")
        window = await wire.subscribe("orders", id="w", sort=[["n", -1]], limit=50)
        await wire.subscribe("orders", id="e", mode="events")
        for turn in range(TURNS):
            rule, where = UNDER[turn % len(UNDER)]
            grant = {**RULES["orders"]["member"], "read": rule}
            written(tmp_path / "rules.yaml", {**RULES, "orders": {**RULES["orders"], "member": grant}})
            team = names[turn % 3]

            def joins_or_leaves(team: str = team, turn: int = turn) -> None:
                if turn % 2:
                    database.members.update_one({"user": "ann", "team": team}, {"$set": {"on": turn % 4 == 1}}, True)
                else:
                    database.members.delete_one({"user": "ann", "team": team})

            # At one time: which comes first is chance, and comes to the same.
            await asyncio.gather(service.realtime.reload_rules(), asyncio.to_thread(joins_or_leaves))
            await fenced(service, wire)
            await wire.when(lambda: plain.live and window.live)
            place = len(wire.raw)
            database.orders.update_many({}, {"$set": {"n": turn + 1}})
            await fenced(service, wire)
            mine = {one["team"] for one in database.members.find(where)}
            also = {"g0"} if "$or" in rule else set()
            wanted = {one["_id"] for one in database.orders.find() if one["team"] in mine} | also
            await wire.when(functools.partial(_shows, (plain, window), wanted))
            assert all(one["n"] == turn + 1 for one in plain.documents.values())
            others = {f"{team[0]}{n}" for team in names for n in range(4)} - wanted
            after = "".join(wire.raw[place:])
            assert not any(f'"{key}"' in after for key in others), f"turn {turn}"
            shown, hidden = shown + len(wanted), hidden + len(others)
        assert "zq00000001z" not in "".join(wire.raw)
        assert len(wire.of("subscribed")) >= 3 * TURNS / 2, "each turn has another query"
    assert shown >= 40
    assert hidden >= 40


def test_rules_that_take_from_a_collection_that_is_not_followed_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "rules.yaml", {"orders": RULES["orders"]})
    with pytest.raises(ConfigurationError, match=r"is not served here, and so not followed"):
        create_app(load(**{**RULED, "rules": str(file), "collections": ("orders",)}))


async def test_root_knows_the_service(service: Service) -> None:
    """The collection that rules go by is no less a collection: who has a grant of it reads it."""
    await known(service)
    joined(service.database, "red")
    async with connected(service, ROOT) as wire:
        view = await wire.subscribe("members")
        assert len(view.documents) == 1
