"""Live queries of several people on one collection: each is told what they see, exactly, and not a byte beside."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.core.live.events import format_position, to_time
from tests.access.issuer import SECRET, signer
from tests.chance import fresh_seed
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, key_text, wired

SIGNER = signer("HS256")
RULES = """
items:
  mine: {read: {owner: $user.sub}, fields: {hide: [secret, in.secret]}}
  open: {read: {open: true, n: {$lt: 6}}, fields: {show: [n, in.a]}}
  admin: {read: true}
"""
PEOPLE = {"ann": ["mine"], "bob": ["mine", "open"], "cat": ["open"], "dan": ["admin"]}
VIEWS: dict[str, dict[str, Any]] = {
    "all": {},
    "some": {"filter": {"n": {"$gte": 3}}},
    "window": {"sort": [["n", -1]], "limit": 5},
    "slow": {"throttle": 50},
}


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100, "rules": rules}
    async with serving(replica_set, **asks) as running:
        yield running


def item(chance: random.Random, key: int) -> dict[str, Any]:
    inside = [{"secret": f"planted {chance.randrange(9)}", "a": 1}, [{"secret": "planted", "a": 2}, "plain"]]
    return {
        "_id": key,
        "owner": chance.choice(["ann", "bob", "else"]),
        "open": chance.random() < 0.5,
        "n": chance.randrange(10),
        "secret": f"planted {chance.randrange(99)}",
        "in": chance.choice(inside),
    }


def write(service: Service, chance: random.Random) -> None:
    key, items = chance.randrange(25), service.database.items
    fresh = item(chance, key)
    if chance.random() < 0.2:
        items.delete_one({"_id": key})
    elif chance.random() < 0.5:
        items.replace_one({"_id": key}, fresh, upsert=True)
    else:
        name = chance.choice(["owner", "open", "n", "secret", "in"])
        items.update_one({"_id": key}, {"$set": {name: fresh[name]}})


def seen(who: str, document: dict[str, Any]) -> dict[str, Any] | None:
    """By hand what the rules say."""
    roles = PEOPLE[who]
    if "admin" in roles:
        return document
    mine = "mine" in roles and document["owner"] == who
    few = "open" in roles and document["open"] and document["n"] < 6
    if not mine and not few:
        return None
    if not mine:
        return {"_id": document["_id"], "n": document["n"], "in": only_a(document["in"])}
    return {name: without_secret(value) for name, value in document.items() if name != "secret"}


def only_a(value: Any) -> Any:
    if isinstance(value, list):
        return [only_a(one) for one in value if isinstance(one, dict)]
    return {name: inner for name, inner in value.items() if name == "a"}


def without_secret(value: Any) -> Any:
    if isinstance(value, list):
        return [without_secret(one) for one in value]
    return {name: inner for name, inner in value.items() if name != "secret"} if isinstance(value, dict) else value


def expected(who: str, view: str, stored: list[dict[str, Any]]) -> dict[str, Any]:
    found = [one for one in stored if seen(who, one) is not None and (view != "some" or one["n"] >= 3)]
    if view == "window":
        found = sorted(found, key=lambda one: (-one["n"], one["_id"]))[:5]
    return {key_text(one["_id"]): seen(who, one) for one in found}


async def test_each_view_is_exactly_what_its_principal_sees_through_whatever_is_written(service: Service) -> None:
    seed = fresh_seed()
    chance, items = random.Random(seed), service.database.items
    items.insert_many([item(chance, key) for key in range(15)])
    wires: dict[str, Wire] = {}
    async with AsyncExitStack() as stack:
        for who, roles in PEOPLE.items():
            headers = {"Authorization": f"Bearer {SIGNER.token(sub=who, roles=roles)}"}
            wires[who] = await stack.enter_async_context(wired(service.url, additional_headers=headers))
            for name, fields in VIEWS.items():
                await wires[who].subscribe("items", id=name, **fields)
        for turn in range(6):
            for _ in range(50):
                write(service, chance)
            time = to_time(service.database.command("ping")["operationTime"])
            stored = list(items.find())
            for who, wire in wires.items():
                await wire.ask(type="ping", position=format_position(service.realtime.live().epoch, time))
                for name in VIEWS:
                    assert wire.views[name].documents == expected(who, name, stored), (
                        f"seed {seed}: {turn} {who} {name}"
                    )
    for who, wire in wires.items():
        told = "".join(wire.raw)
        assert ("planted" in told) is (who == "dan")
        moments = [wire.views[name].moments for name in VIEWS]
        assert min(moments) >= 5, moments
    assert items.count_documents({"n": {"$gte": 0}}) > 5


async def test_people_who_see_the_same_hear_the_same_channel(service: Service) -> None:
    channels = {}
    async with AsyncExitStack() as stack:
        for who, roles in {"eve": ["open"], "fay": ["open"], "gus": ["mine"], "hal": ["mine"]}.items():
            headers = {"Authorization": f"Bearer {SIGNER.token(sub=who, roles=roles)}"}
            wire = await stack.enter_async_context(wired(service.url, additional_headers=headers))
            channels[who] = (await wire.subscribe("items")).channel
    assert channels["eve"] == channels["fay"]
    assert len(set(channels.values())) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": {"secret": "planted 1"}},
        {"filter": {"in.0.secret": {"$regex": "planted"}}},
        {"filter": {"in.": "planted"}},
        {"sort": [["secret", 1]]},
        {"group": {"by": ["in"]}},
        {"collection": "others"},
    ],
)
async def test_nobody_asks_by_what_is_hidden(service: Service, asked: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {SIGNER.token(sub='ann', roles=['mine', 'open'])}"}
    async with wired(service.url, additional_headers=headers) as wire:
        answer = await wire.ask(type="subscribe", **{"collection": "items", **asked})
        assert (answer["type"], answer["code"]) == ("error", "forbidden")
