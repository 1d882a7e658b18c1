"""Writes at random under rules: what went through is what one grant let, of the rows as of the fields, and no more.

The judge reads the document before and after each write as MongoDB has it. Sabotage: `make sabotage`, rows "rules".
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chance import fresh_seed
from tests.exact.conftest import Say, say
from tests.replica_set import ReplicaSet
from tests.rules.judge import marks_in
from tests.rules.ruled import Person, Rules, matches, placed, sight
from tests.rules.scene import Maker, bearer
from tests.rules.test_advisories import known, ruling
from tests.rules.twins import UPDATES
from tests.serving import Service
from tests.truth import Document
from tests.wire import Wire, wired

__all__ = ["say"]

WRITES = int(os.environ.get("REALTIME_TEST_RULES_WRITES", "400"))
CUSTOMER: dict[str, Any] = {
    "read": {"owner": "$user.sub"},
    "insert": {"owner": "$user.sub", "status": "new"},
    "update": {"owner": "$user.sub", "status": {"$in": ["new", "open"]}},
    "delete": {"owner": "$user.sub", "status": "new"},
    "fields": {"hide": ["margin", "notes.internal", "lines.cost"]},
}
STAFF: dict[str, Any] = {
    "read": {"region": {"$in": "$user.claims.regions"}},
    "update": {"region": {"$in": "$user.claims.regions"}},
    "fields": {"hide": ["pay"], "write": ["status", "qty", "margin", "region"]},
}
MEMBER: dict[str, Any] = {
    "read": {"team": {"$in": "$user.claims.teams"}},
    "update": {"team": {"$in": "$user.claims.teams"}},
}
RULES: Rules = {
    "orders": {"customer": CUSTOMER, "staff": STAFF, "member": MEMBER},
    "logs": {"*": {"read": True, "insert": True, "keys": "server"}},
    "ro": {"*": {"read": True}},
}
PEOPLE = (
    Person("ann", ("customer",)),
    Person("bob", ("customer", "staff"), {"regions": ["n", "s"]}),
    Person("eve", ("member",), {"teams": ["t1", "t2"]}),
)
HIDDEN = {"customer": {"margin", "notes.internal", "lines.cost"}, "staff": {"pay"}, "member": set()}
WRITABLE = {"staff": {"status", "qty", "margin", "region"}}
MORE: tuple[dict[str, Any], ...] = (
    {"$set": {"region": "n"}},
    {"$set": {"region": "w"}},
    {"$set": {"team": "t1"}},
    {"$set": {"team": "t3"}},
    {"$set": {"status": "open", "qty": 2}},
    {"$set": {"status": "new"}},
    {"$set": {"margin": 1, "region": "s"}},
    {"$set": {"pay": 1}},
    {"$set": {"title": "x", "status": "open"}},
    {"$set": {"notes.open": "x"}},
    {"$set": {"lines.1.sku": "x"}},
    {"$unset": {"team": ""}},
    {"$set": {"qty": 5, "title": "y"}},
    {"$inc": {"qty": 2}},
    {"$min": {"qty": 1}},
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its names; places in lists are kept beside it, so that what moves is a change."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from leaves(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, one in enumerate(value):
            yield from ((inner, (place, what)) for inner, what in leaves(one, path))
    else:
        yield path, json.dumps(value, default=str)


def changed(before: Document | None, after: Document | None) -> set[str]:
    """Paths at which two documents differ."""
    one, other = Counter(leaves(before or {})), Counter(leaves(after or {}))
    return {path for path, _ in (one - other) + (other - one)} - {""}


def below(path: str, named: set[str]) -> bool:
    return any(f"{path}.".startswith(f"{one}.") for one in named)


def allowed(person: Person, kind: str, before: Document | None, after: Document | None) -> str:
    """Why a write must not have gone through; empty where one grant lets all of it."""
    if before is not None and not sight(RULES, person, "orders").sees(before):
        return "not seen"
    reasons = []
    for role in person.roles:
        rule = RULES["orders"][role].get(kind, False)
        rows = placed(rule, person)
        wrong = [one for one in (before, after) if one is not None and not matches(one, rows)]
        paths = changed(before, after) - {"_id"} if kind != "delete" else set()
        written = {path for path in paths if below(path, HIDDEN[role])}
        if role in WRITABLE:
            written = {path for path in paths if not below(path, WRITABLE[role])}
        if not wrong and not written:
            return ""
        reasons.append(f"{role}: {wrong and 'rows'} {written}")
    return "; ".join(reasons)


def asked(dice: random.Random, maker: Maker, key: str, person: Person) -> dict[str, Any]:
    kind = dice.choice(["update"] * 6 + ["replace", "replace", "insert", "insert", "delete", "delete"])
    frame: dict[str, Any] = {"type": kind, "collection": "orders", "key": key}
    document = {**maker.rows(person.sub), "title": maker.mark(), "pay": maker.mark(), "notes": {"open": maker.mark()}}
    if dice.random() < 0.5:
        document |= {"owner": person.sub, "status": "new"}
    if dice.random() < 0.1:
        document["margin"] = maker.mark()
    if kind in {"insert", "replace"}:
        frame["document"] = document
    if kind == "insert":
        frame["document"] = {**document, "_id": maker.key() if dice.random() < 0.5 else frame.pop("key")}
        frame.pop("key", None)
    if kind == "update":
        frame["update"] = dice.choice(UPDATES + MORE + MORE)
    if kind in {"update", "replace"} and dice.random() < 0.3:
        frame["upsert"] = True
    if kind != "insert" and dice.random() < 0.3:
        frame["where"] = {"qty": {"$gte": 2}}
    return frame


async def over_http(service: Service, person: Person, frame: dict[str, Any]) -> dict[str, Any]:
    """The same write as a request, its answer as a frame would be."""
    path, upsert = service.documents, {"upsert": "true"} if frame.get("upsert") else {}
    method, body = {
        "insert": ("POST", frame.get("document")),
        "replace": ("PUT", frame.get("document")),
        "update": ("PATCH", frame.get("update")),
        "delete": ("DELETE", None),
    }[frame["type"]]
    if method != "POST":
        path = f"{path}/{frame['key']}"
    answer = await service.http.request(method, path, json=body, params=upsert, headers=bearer(person))
    return {**answer.json(), "raw": answer.text, "type": "result" if answer.is_success else "error"}


@pytest.mark.timeout(1200 if WRITES > 1000 else 180)
async def test_what_was_written_is_what_one_grant_lets(replica_set: ReplicaSet, tmp_path: Path, say: Say) -> None:
    seed = fresh_seed()
    dice, maker = random.Random(seed), Maker(seed)
    figures: Counter[str] = Counter()
    async with ruling(replica_set, tmp_path, RULES) as service:
        orders = service.database.orders
        wires = [await connected_wire(service, person) for person in PEOPLE]
        keys = [f"w{number}" for number in range(40)]
        for number, key in enumerate(keys[:30]):
            document = maker.document(key, PEOPLE[number % 3].sub)
            await asyncio.to_thread(orders.insert_one, {**document})
        for _ in range(WRITES):
            person = dice.choice(PEOPLE)
            frame = asked(dice, maker, dice.choice(keys), person)
            if frame["type"] == "delete" and dice.random() < 0.5:
                hers = await asyncio.to_thread(orders.find_one, {"owner": person.sub, "status": "new"})
                frame["key"] = frame["key"] if hers is None else hers["_id"]
            key = frame["key"] if "key" in frame else frame["document"]["_id"]
            before = await asyncio.to_thread(orders.find_one, {"_id": key})
            sent = json.dumps(frame)
            if dice.random() < 0.5 and "where" not in frame:
                answer = await over_http(service, person, frame)
            else:
                answer = await wires[PEOPLE.index(person)].ask(**frame)
            after = await asyncio.to_thread(orders.find_one, {"_id": key})
            judge(person, frame, before, after, answer, figures, (seed, sent))
            await restored(service, maker, key, dice)
        for wire in wires:
            await wire.__aexit__(None, None, None)
        raw = {person.sub: "".join(wire.raw) for person, wire in zip(PEOPLE, wires, strict=True)}
    say(f"{dict(figures)}, seed {seed}")
    assert raw
    for kind in ("insert", "update", "replace", "delete"):
        assert figures[f"{kind} result"] >= WRITES / 200, figures
        assert figures[f"{kind} error"] >= WRITES / 100, figures


async def connected_wire(service: Service, person: Person) -> Wire:
    from websockets.asyncio.client import connect

    await known(service)
    address = service.url.replace("http://", "ws://", 1) + "/v1/ws"
    wire = Wire(await connect(address, max_size=None, compression=None, additional_headers=bearer(person)))
    await wire.__aenter__()
    await wire.until(lambda frame: frame["type"] == "welcome")
    return wire


def judge(
    person: Person,
    frame: dict[str, Any],
    before: Document | None,
    after: Document | None,
    answer: dict[str, Any],
    figures: Counter[str],
    said: tuple[int, str],
) -> None:
    figures[f"{frame['type']} {answer['type']}"] += 1
    seen = sight(RULES, person, "orders")
    mine = marks_in([seen.shown(before), seen.shown(after), frame])
    assert marks_in(answer) <= mine, (said, answer)
    assert answer.get("code") != "internal", (said, answer)
    if answer["type"] == "error":
        assert before == after, (said, answer, before, after)
        return
    kind = "delete" if frame["type"] == "delete" else "insert" if before is None else "update"
    reason = allowed(person, kind, before, after)
    assert not reason, (said, person, reason, answer, before, after)
    if before == after and kind == "update":
        figures["nothing changed"] += 1


async def restored(service: Service, maker: Maker, key: str, dice: random.Random) -> None:
    """There is always about as much to write to as to make."""
    if dice.random() < 0.5:
        document = maker.document(key, dice.choice([*(person.sub for person in PEOPLE), "zed"]))
        document["status"] = dice.choice(["new", "new", "open", "closed"])
        await asyncio.to_thread(service.database.orders.replace_one, {"_id": key}, document, upsert=True)
    elif dice.random() < 0.4:
        await asyncio.to_thread(service.database.orders.delete_one, {"_id": key})


async def test_the_service_makes_the_keys_where_the_rule_says_so(replica_set: ReplicaSet, tmp_path: Path) -> None:
    ann = PEOPLE[0]
    async with ruling(replica_set, tmp_path, RULES) as service:
        logs = service.documents.replace("orders", "logs")
        async with wired(service.url, additional_headers=bearer(ann)) as wire:
            made = await wire.ask(type="insert", collection="logs", document={"a": 1})
            mine = await wire.ask(type="insert", collection="logs", document={"_id": "mine", "a": 1})
            upserted = await wire.ask(type="replace", collection="logs", key="mine", document={"a": 1}, upsert=True)
            updated = await wire.ask(type="update", collection="logs", key=made["key"], update={"$set": {"a": 2}})
            readonly = await wire.ask(type="insert", collection="ro", document={"a": 1})
            nowhere = await wire.ask(type="insert", collection="nowhere", document={"a": 1})
        several = await service.http.post(logs, json=[{"a": 1}, {"_id": "mine"}], headers=bearer(ann))
        stored = await asyncio.to_thread(lambda: list(service.database.logs.find()))
    assert made["type"] == "result"
    assert [mine["code"], upserted["code"], updated["code"]] == ["forbidden"] * 3
    assert [readonly["code"], nowhere["code"], several.json()["code"]] == ["forbidden"] * 3
    assert [one["a"] for one in stored] == [1]
