"""Live rows: what a grouping is, and rows that come, change and go with the documents they are made of."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import orjson
import pytest
from bson.decimal128 import Decimal128

from realtime.core.bson import ejson
from realtime.core.bson.keys import identity
from realtime.core.bson.values import MISSING
from realtime.core.live.aggregate import MAX_PATHS, Aggregate, compile_grouping, projected, value_at
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.errors import InvalidRequestError
from tests.chance import fresh_seed, share
from tests.core.examples import EPOCH, delete, insert, live_group, query, replace, settled, shown, update
from tests.core.live.folding import Folded

SEED = fresh_seed()
SALES = {"by": ["status"], "count": True, "sum": ["total"]}
ALL = {**SALES, "avg": ["total"], "min": ["total"], "max": ["total", "name"]}


def order(key: Any, status: Any = "open", **fields: Any) -> dict[str, Any]:
    return {"_id": key, "status": status, **fields}


def rows(*documents: dict[str, Any], group: dict[str, Any] = SALES) -> list[Any]:
    made = live_group(*documents, query=query(group=group))
    return [orjson.loads(row) for row in made.result.told()]


# --------------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ([], "group"),
        ({"by": [], "first": ["a"]}, "group.first"),
        ({"count": True}, "group.by"),
        ({"by": "a"}, "group.by"),
        ({"by": [], "count": 1}, "group.count"),
        ({"by": [], "sum": "a"}, "group.sum"),
        ({"by": ["a", 5]}, "group.by.1"),
        ({"by": [""]}, "group.by.0"),
        ({"by": ["a..b"]}, "group.by.0"),
        ({"by": ["$a"]}, "group.by.0"),
        ({"by": ["a\0"]}, "group.by.0"),
        ({"by": ["a", "a"]}, "group.by.1"),
        ({"by": [], "max": [f"a{number}" for number in range(MAX_PATHS + 1)]}, "group.max"),
    ],
)
def test_what_is_no_grouping_is_refused_by_field(source: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        compile_grouping(source)
    assert refused.value.details == {"field": field}


def test_a_grouping_says_what_it_reads() -> None:
    made = compile_grouping({"by": ["a.b", "a"], "avg": ["c", "a.b.d"], "min": ["_id.x"], "sum": ["c"]})
    assert made.paths == ("a.b", "a", "c", "a.b.d", "_id.x")
    assert projected(made.paths) == {"_id": 1, "a": 1, "c": 1}
    for path, read in {"a": True, "a.z": True, "c.5": True, "d": False, "_id": True}.items():
        assert made.reads(frozenset({path})) is read, path
    assert projected(compile_grouping({"by": []}).paths) == {"_id": 1}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, MISSING),
        ({"a": 5}, MISSING),
        ({"a": None}, MISSING),
        ({"a": {"b": None}}, None),
        ({"a": {"b": [1]}}, [1]),
        ({"a": [{"b": 1}, {}, 5, {"b": [2]}, [{"b": 3}]]}, [1, [2]]),
        ({"a": []}, []),
        ({"a": {"$ref": "c", "$id": 5}}, MISSING),
        ({"a": [{"$ref": "c", "$id": 5, "b": 7}]}, [7]),
    ],
)
def test_a_path_means_what_it_means_in_an_expression(document: dict[str, Any], expected: Any) -> None:
    found = value_at(document, "a.b")
    assert found is MISSING if expected is MISSING else found == expected


# --------------------------------------------------------------------------------------------------------------- rows


def test_rows_are_made_of_the_documents_that_match() -> None:
    documents = [order(1, total=5), order(2, total=2), order(3, "paid", total=1.5), order(4, "paid", total="x")]
    assert rows(*documents, group=ALL) == [
        {
            "_id": {"status": "open"},
            "count": 2,
            "sum": {"total": 7},
            "avg": {"total": 3.5},
            "min": {"total": 2},
            "max": {"total": 5, "name": None},
        },
        {
            "_id": {"status": "paid"},
            "count": 2,
            "sum": {"total": 1.5},
            "avg": {"total": 1.5},
            "min": {"total": 1.5},
            "max": {"total": "x", "name": None},
        },
    ]


def test_only_what_was_asked_for_is_in_a_row() -> None:
    assert rows(order(1), group={"by": ["status"]}) == [{"_id": {"status": "open"}}]
    assert rows(order(1), group={"by": [], "count": True}) == [{"_id": {}, "count": 1}]
    assert rows(group={"by": [], "count": True}) == []


def test_equal_values_make_one_row_and_the_first_names_it() -> None:
    documents = [order(1, 1), order(2, 1.0), order(3, Decimal128("1.00")), order(4, "1"), order(5, True)]
    assert [(row["_id"]["status"], row["count"]) for row in rows(*documents)] == [(1, 3), ("1", 1), (True, 1)]


def test_missing_is_null_where_there_is_one_path_and_another_row_where_there_are_several() -> None:
    documents: list[dict[str, Any]] = [{"_id": 1, "b": 1}, {"_id": 2, "a": None, "b": 1}]
    assert [row["_id"] for row in rows(*documents, group={"by": ["a"]})] == [{"a": None}]
    assert [row["_id"] for row in rows(*documents, group={"by": ["a", "b"]})] == [{"b": 1}, {"a": None, "b": 1}]


def test_a_row_enters_is_updated_and_leaves() -> None:
    made = live_group(query=query(group=SALES))
    steps = [
        (insert(11, order(1, total=5)), "enter", {"_id": {"status": "open"}, "count": 1, "sum": {"total": 5}}),
        (insert(12, order(2, total=1)), "update", {"_id": {"status": "open"}, "count": 2, "sum": {"total": 6}}),
        (replace(13, order(2, total=3)), "update", {"_id": {"status": "open"}, "count": 2, "sum": {"total": 8}}),
        (delete(14, 2), "update", {"_id": {"status": "open"}, "count": 1, "sum": {"total": 5}}),
    ]
    for event, op, row in steps:
        assert shown(made.apply(settled(event), {})) == [{"op": op, "key": row["_id"], "document": row}]
    assert shown(made.apply(settled(delete(15, 1)), {})) == [{"op": "leave", "key": {"status": "open"}}]
    assert (made.result.size, made.result.count, dict(made.documents)) == (0, 0, {})


def test_what_waits_to_be_told_is_pending() -> None:
    made = live_group(order(1, total=5), query=query(group=SALES, throttle=100))
    assert not made.pending
    made.apply(settled(insert(11, order(2, "paid", total=1))), {})
    assert (made.pending, made.reached(11), len(list(made.result.told()))) == (True, 10, 1)
    assert [change["op"] for change in shown(made.changes())] == ["enter"]
    assert (made.pending, made.reached(11), len(list(made.result.told()))) == (False, 11, 2)


def test_a_row_that_came_and_went_before_it_was_told_is_not_told() -> None:
    made = live_group(order(1, total=5), query=query(group=SALES, throttle=100))
    made.apply(settled(insert(11, order(2, "paid", total=1))), {})
    made.apply(settled(delete(12, 2)), {})
    assert made.changes() == []
    made.apply(settled(insert(13, order(3, "paid", total=1))), {})
    assert [change["op"] for change in shown(made.changes())] == ["enter"]


def test_a_document_that_changes_its_row_is_told_of_both() -> None:
    made = live_group(order(1, total=5), order(2, total=1), query=query(group=SALES))
    image = order(1, "paid", total=5)
    changes = shown(made.apply(settled(update(11, 1, "status")), {"1": image}))
    assert [(change["op"], change["key"]) for change in changes] == [
        ("update", {"status": "open"}),
        ("enter", {"status": "paid"}),
    ]
    changes = shown(made.apply(settled(replace(12, order(2, "paid"))), {}))
    assert [(change["op"], change["key"]) for change in changes] == [
        ("leave", {"status": "open"}),
        ("update", {"status": "paid"}),
    ]


def test_what_changes_no_row_is_not_told() -> None:
    made = live_group(order(1, total=5), query=query(group=SALES))
    assert made.apply(settled(replace(11, order(1, total=5, other=1))), {}) == []
    assert made.apply(settled(replace(12, order(1, total=5.0))), {}) != []
    assert made.apply(settled(insert(13, order(2, "paid")), delete(13, 2)), {}) == []


def test_a_document_alone_in_its_row_keeps_the_rows_name() -> None:
    made = live_group(order(1, 1, total=5), query=query(group=SALES))
    changes = shown(made.apply(settled(replace(11, order(1, 1, total=6))), {}))
    assert changes == [
        {"op": "update", "key": {"status": 1}, "document": {"_id": {"status": 1}, "count": 1, "sum": {"total": 6}}}
    ]


def test_least_and_greatest_follow_what_leaves() -> None:
    made = live_group(*(order(n, total=n) for n in range(5)), query=query(group=ALL))
    for time, (gone, least, greatest) in enumerate([(0, 1, 4), (4, 1, 3), (2, 1, 3), (3, 1, 1)], 11):
        (change,) = shown(made.apply(settled(delete(time, gone)), {}))
        assert (change["document"]["min"]["total"], change["document"]["max"]["total"]) == (least, greatest)


def test_a_group_reads_only_what_its_rows_are_made_of() -> None:
    made = live_group(order(1, total=5), query=query({"a": 1}, group=SALES))
    made.apply(settled(insert(11, order(1, a=1))), {})

    def needed(key: int, path: str) -> bool:
        (touch,) = settled(update(12, key, path)).touches["items"].values()
        return made.needs(touch)

    assert [needed(1, path) for path in ("a", "total", "status", "other")] == [True, True, True, False]
    assert [needed(2, path) for path in ("a", "total")] == [True, False]


def test_it_is_bounded_by_documents_by_rows_and_by_bytes() -> None:
    def too_large(count: int, **bounds: int) -> bool:
        chosen = GroupBounds(**{"documents": 100, "bytes": 1 << 20, "frame_bytes": 1000, "grouped": 100, **bounds})
        made = QueryGroup(query(group={"by": ["status"], "max": ["name"]}), 1, EPOCH, chosen)
        for number in range(count):
            made.put(order(number, number, name="x" * 100))
        return made.too_large

    assert not too_large(10)
    assert not too_large(10, documents=10, grouped=10)
    assert too_large(11, grouped=10)
    assert too_large(11, documents=10)
    assert too_large(10, bytes=2000)
    wanted = live_group(query=query(group=SALES)).wanted
    assert (wanted.limit, wanted.fields, wanted.cut) == (100_000, {"_id": 1, "status": 1, "total": 1}, False)


def test_read_anew_its_rows_differ_by_what_happened_meanwhile() -> None:
    made = live_group(order(1, total=5), order(2, "paid"), query=query(group=SALES))
    made.reload()
    made.put(order(1, total=6))
    made.loaded(20)
    made.caught_up({}, 20)
    assert [(change["op"], change["key"]["status"]) for change in shown(made.changes())] == [
        ("leave", "paid"),
        ("update", "open"),
    ]


def test_folded_rows_are_those_made_from_scratch() -> None:
    """Thousands of random steps, of which some are told together."""
    chance, steps = random.Random(SEED), share(1200)
    source = {"by": ["a", "b"], "count": True, "sum": ["n"], "avg": ["n"], "min": ["n"], "max": ["n", "a"]}
    made = Aggregate(compile_grouping(source))
    documents: dict[str, dict[str, Any]] = {}
    client, seen = Folded([], ordered=False), Counter[str]()
    for _ in range(steps):
        key = chance.randrange(30)
        name = identity(key)
        if chance.random() < 0.35:
            documents.pop(name, None)
            made.drop(name)
        else:
            documents[name] = {"_id": key, "a": chance.choice("xy"), "b": chance.randrange(3)}
            if chance.random() < 0.8:
                documents[name]["n"] = chance.choice([1, 2, 2.5, 0.1, "s", None, [1], Decimal128("1.10")])
            made.put(name, documents[name], ejson.encode)
        if chance.random() < 0.4:
            client.take(made.changes())
            fresh = Aggregate(compile_grouping(source))
            for one, document in documents.items():
                fresh.put(one, document, ejson.encode)
            fresh.settle()
            right = {row["_id"]["a"] + str(row["_id"]["b"]): row for row in map(orjson.loads, fresh.told())}
            assert {row["_id"]["a"] + str(row["_id"]["b"]): row for row in client.documents} == right, f"seed {SEED}"
            assert made.size == fresh.size
            seen["compared"] += 1
            seen["rows"] += len(right)
    assert seen["compared"] > steps / 3
    assert seen["rows"] > steps * 4 / 3
