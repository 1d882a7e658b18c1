"""What a group without order holds, and the difference from what was told."""

from __future__ import annotations

from typing import Any

import orjson

from realtime.core.bson import ejson
from realtime.core.live.result import Documents
from realtime.core.mql.projection import compile_projection
from tests.core.examples import shown


def held(*keys: int, projection: Any = None) -> Documents:
    """Documents whose `n` is 0, all of which were told."""
    made = Documents(compile_projection(projection))
    for key in keys:
        put(made, key, n=0)
    made.settle()
    return made


def put(made: Documents, key: int, **fields: Any) -> None:
    made.put(str(key), {"_id": key, **fields}, ejson.encode)


def told(made: Documents) -> dict[int, int]:
    return {document["_id"]: document["n"] for document in map(orjson.loads, made.told())}


def test_the_changes_are_the_difference_from_what_was_told_however_it_came_about() -> None:
    made = held(1, 2, 3)
    for number in range(1, 5):
        put(made, 1, n=number)
        put(made, 4, n=number)
    made.drop("2")
    assert made.pending
    assert [(change["op"], change["key"]) for change in shown(made.changes())] == [
        ("leave", 2),
        ("update", 1),
        ("enter", 4),
    ]
    assert not made.pending
    assert made.changes() == []


def test_what_is_as_it_was_told_is_no_change() -> None:
    made = held(1)
    put(made, 1, n=5)
    put(made, 1, n=0)
    put(made, 2, n=5)
    made.drop("2")
    made.drop("9")
    assert (made.pending, made.changes(), made.count) == (False, [], 1)


def test_what_was_told_can_be_told_again_while_changes_wait() -> None:
    made = held(1, 2)
    put(made, 1, n=7)
    made.drop("2")
    put(made, 3, n=7)
    assert told(made) == {1: 0, 2: 0}
    made.changes()
    assert told(made) == {1: 7, 3: 7}


def test_read_anew_it_tells_what_is_other_than_before() -> None:
    made = held(1, 2, 3)
    made.reload()
    assert (made.count, made.size, told(made)) == (0, 0, {1: 0, 2: 0, 3: 0})
    put(made, 1, n=0)
    put(made, 2, n=5)
    made.loaded(2)
    assert [(change["op"], change["key"]) for change in shown(made.changes())] == [("leave", 3), ("update", 2)]


def test_it_reads_what_is_shown_of_what_it_holds() -> None:
    made = held(1, projection={"n": 1})
    assert made.reads("1", frozenset({"n"}))
    assert not made.reads("1", frozenset({"other"}))
    assert not made.reads("2", frozenset({"n"}))
    assert not made.short
