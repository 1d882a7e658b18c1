"""The judge of rules accepts an honest log and refuses each doctored one by its own name; it sees as MongoDB does."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.synchronous.database import Database

from tests.exact.ledger import to_json
from tests.replica_set import ReplicaSet
from tests.rules import judge, ruled
from tests.rules.judge import Frame, Verdict
from tests.rules.ruled import Person, Sight, matches, placed, sight
from tests.rules.scene import NARROW, PEOPLE, WIDE, Maker
from tests.rules.scene import ruled as rules_for
from tests.truth import Document, Truth, View, Write, name_of

STANDARD = {"__future__", "json", "re", "collections", "dataclasses", "typing"}
MINE, THEIRS = "kzq00000001z", "kzq00000002z"


def at(time: int) -> str:
    return f"ABCDEF01-{time:016X}"


def document(key: str, n: int, owner: str) -> Document:
    return {"_id": key, "owner": owner, "n": n, "pay": f"zq{n:08x}z"}


WRITES = [
    Write(10, "a", "insert", MINE, document(MINE, 0x10, "ann")),
    Write(11, "a", "insert", THEIRS, document(THEIRS, 0x11, "zed")),
    Write(20, "a", "update", MINE, document(MINE, 0x20, "ann")),
    Write(21, "a", "update", THEIRS, document(THEIRS, 0x21, "zed")),
    Write(22, "a", "update", MINE, document(MINE, 0x20, "ann") | {"pay": "zq00000022z"}),
    Write(30, "a", "delete", MINE),
]
RULES = {"a": {"customer": {"read": {"owner": "$user.sub"}, "fields": {"hide": ["pay"]}}}}
ANN = Person("ann", ("customer",))
TRUTH = Truth(WRITES)


def seen(_: str = "a", __: int = 0) -> Sight:
    return sight(RULES, ANN, "a")


def expected(time: int) -> list[Document]:
    shown = [seen().shown(one) for one in TRUTH.at("a", time).values()]
    return [one for one in shown if one is not None]


def cut(n: int) -> Document:
    return {"_id": MINE, "owner": "ann", "n": n}


QUERY: list[Frame] = [
    {"type": "subscribed", "id": "s", "channel": 1, "recovered": False, "query": "q"},
    {"type": "snapshot", "id": "s", "documents": [cut(0x10)], "first": True, "last": True, "position": at(12)},
    {"type": "live", "id": "s", "position": at(12)},
    {
        "type": "changes",
        "channel": 1,
        "position": at(20),
        "changes": [{"op": "update", "key": MINE, "document": cut(0x20)}],
    },
    {"type": "heartbeat", "position": at(25)},
    {"type": "changes", "channel": 1, "position": at(30), "changes": [{"op": "leave", "key": MINE}]},
]
EVENTS: list[Frame] = [
    {"type": "subscribed", "id": "s", "channel": 1, "recovered": False, "query": "q"},
    {"type": "live", "id": "s", "position": at(12)},
    {
        "type": "events",
        "channel": 1,
        "position": at(20),
        "events": [
            {
                "op": "update",
                "collection": "a",
                "key": MINE,
                "document": cut(0x20),
                "before": cut(0x10),
                "updated": ["n"],
                "removed": [],
                "position": at(20),
            }
        ],
    },
    {
        "type": "events",
        "channel": 1,
        "position": at(30),
        "events": [{"op": "delete", "collection": "a", "key": MINE, "before": cut(0x20), "position": at(30)}],
    },
    {"type": "heartbeat", "position": at(40)},
]


def judged(frames: list[Frame]) -> Verdict:
    verdict = Verdict()
    follower: Any = judge.Query(verdict, [expected, expected])
    if not any(frame["type"] == "snapshot" for frame in frames):
        follower = judge.Events(verdict, TRUTH, [seen, seen], ["a"])
    for frame in frames:
        follower.take(frame)
    if isinstance(follower, judge.Events):
        follower.end({"a": True})
    allowed = {b"zq00000001z"}
    judge.secrets([json.dumps(frame).encode() for frame in frames], allowed, verdict)
    return verdict


def edited(frames: list[Frame], edit: Callable[[list[Frame]], None]) -> list[Frame]:
    changed = copy.deepcopy(frames)
    edit(changed)
    return changed


def test_what_was_told_rightly_is_accepted() -> None:
    for frames in (QUERY, EVENTS):
        verdict = judged(frames)
        assert verdict.violations == []
        assert verdict.figures["shown"] >= 2
        assert verdict.figures["marks"] > 0


def told_of_theirs(frames: list[Frame]) -> None:
    frames[3]["changes"].append({"op": "enter", "key": THEIRS, "document": document(THEIRS, 0x21, "zed")})


@pytest.mark.parametrize(
    ("name", "frames", "edit"),
    [
        ("view_differs", QUERY, lambda log: log[1]["documents"].append(document(THEIRS, 0x11, "zed"))),
        ("view_differs", QUERY, lambda log: log[1]["documents"][0].update(pay="zq00000010z")),
        ("view_differs", QUERY, told_of_theirs),
        ("view_differs", QUERY, lambda log: log.pop(3)),
        ("secret", QUERY, told_of_theirs),
        ("secret", QUERY, lambda log: log[4].update(reason="of zq00000011z")),
        ("told_of_hidden", QUERY, lambda log: log[3]["changes"][0].update(document=cut(0x10))),
        ("leave_of_unseen", QUERY, lambda log: log[5]["changes"].append({"op": "leave", "key": THEIRS})),
        (
            "channel_of_before",
            QUERY,
            lambda log: log.insert(
                4, {"type": "subscribed", "id": "s", "channel": 2, "recovered": False, "query": "r"}
            ),
        ),
        ("position_back", QUERY, lambda log: log[3].update(position=at(11))),
        ("document_differs", EVENTS, lambda log: log[2]["events"][0]["document"].update(pay="zq00000020z")),
        ("before_of_unseen", EVENTS, lambda log: log[3]["events"][0]["before"].update(pay="zq00000020z")),
        ("path_of_hidden", EVENTS, lambda log: log[2]["events"][0]["updated"].append("pay")),
        ("lost", EVENTS, lambda log: log.pop(2)),
        ("repeated", EVENTS, lambda log: log[2]["events"].append(log[2]["events"][0])),
        (
            "told_of_hidden",
            EVENTS,
            lambda log: log[2]["events"].append(
                {"op": "update", "collection": "a", "key": MINE, "document": cut(0x20), "position": at(22)}
            ),
        ),
        ("position_back", EVENTS, lambda log: log[3]["events"].append(log[2]["events"][0])),
        (
            "event_of_unseen",
            EVENTS,
            lambda log: log[2]["events"].append({"op": "update", "collection": "a", "key": THEIRS, "position": at(21)}),
        ),
    ],
)
def test_what_was_told_wrongly_is_named(name: str, frames: list[Frame], edit: Callable[[list[Frame]], None]) -> None:
    assert name in judged(edited(frames, edit)).names


def test_the_judge_knows_nothing_of_the_service() -> None:
    for module in (judge, ruled):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text())
        named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert named
        assert {one for one in named if one.split(".")[0] not in STANDARD} <= {"tests.rules.ruled", "tests.truth"}


def test_its_filters_are_mongodbs(replica_set: ReplicaSet) -> None:
    """Every rule and person of the matrix over documents as the matrix has them."""
    compared = 0
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(replica_set.uri) as client:
        database: Database[dict[str, Any]] = client["t_rules_judge"]
        maker = Maker(5)
        documents = [maker.document(maker.key(), owner) for owner in ("ann", "bob", "eve") for _ in range(30)]
        view: View = {name_of(one["_id"]): one for one in documents}
        try:
            database.c.insert_many([{**one} for one in documents])
            for person, rules in ((one, r) for pair in PEOPLE.values() for one in pair for r in (NARROW, WIDE)):
                grants = rules_for(rules, "c")["c"]
                for grant in (grants[role] for role in person.roles):
                    rows = placed(grant["read"], person)
                    mine = {name for name, one in view.items() if matches(one, rows)}
                    fields = grant["fields"]
                    shown = dict.fromkeys(fields.get("hide", ()), 0) or dict.fromkeys(fields.get("show", ()), 1)
                    found = [to_json(one) for one in database.c.find(rows, shown)]
                    assert mine == {name_of(one["_id"]) for one in found}
                    only = Person(
                        person.sub, (next(role for role in person.roles if grants[role] is grant),), person.claims
                    )
                    cut_here = sight({"c": grants}, only, "c")
                    assert {name_of(one["_id"]): one for one in found} == {
                        name: cut_here.shown(view[name]) for name in mine
                    }
                    compared += len(mine)
        finally:
            client.drop_database("t_rules_judge")
    assert compared > 200
