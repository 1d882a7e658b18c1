"""Groups: keys, accumulators as they are written, and what is shown of contributions in order."""

from __future__ import annotations

from typing import Any

import pytest
from bson.int64 import Int64

from realtime.core.bson.stored import UNDEFINED_VALUE
from realtime.core.bson.values import MISSING
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.language import ACCUMULATORS
from realtime.core.mql.pipelines.pipeline import Accumulator
from realtime.errors import InvalidDocumentError, InvalidRequestError, UnsupportedValueError
from tests.evaluated import evaluated

Row = dict[str, Any]
D: list[Row] = [
    {"_id": 0, "a": 1, "b": [3, 1], "c": "x", "d": {"e": [1, {"f": 2}]}},
    {"_id": 1, "a": 1.0, "b": 2, "c": None, "d": 5},
    {"_id": 2, "a": None, "b": [], "c": [1]},
    {"_id": 3, "b": [[0, 9], 2], "c": "x"},
    {"_id": 4, "a": 2, "b": {"x": 1}, "d": {"e": []}},
    {"_id": 5, "a": 2, "b": [7, [8]]},
]


def keys(source: Any) -> list[Any]:
    return [row["_id"] for row in evaluated(compile_pipeline([{"$group": {"_id": source}}]), D)]


def test_keys_are_what_mongodb_groups_by() -> None:
    assert repr(keys("$a")) == "[1, None, 2]"
    assert keys({"x": "$a"}) == [{"x": 1}, {"x": None}, {"x": 2}]
    assert keys({"x": "$a", "y": "$q"}) == [{"x": 1}, {"x": None}, {}, {"x": 2}]
    assert keys({"x": {"y": "$q"}}) == [{"x": {}}]
    assert keys({}) == [{}]
    assert keys(["$q"]) == [[None]]
    assert keys({"$type": "$c"}) == ["string", "null", "array", "missing"]
    with pytest.raises(UnsupportedValueError):
        evaluated(compile_pipeline([{"$group": {"_id": {"a": "$a", "b": "$b"}}}]), [{"_id": 1, "a": UNDEFINED_VALUE}])


def row(**accumulators: Any) -> Row:
    (only,) = evaluated(compile_pipeline([{"$group": {"_id": None, **accumulators}}]), D)
    return only


def top(operator: str, by: Row, output: Any, dialect: Dialect = NEWEST, **more: Any) -> Any:
    source = [{"$group": {"_id": None, "r": {operator: {"sortBy": by, "output": output, **more}}}}]
    (only,) = evaluated(compile_pipeline(source, dialect=dialect), D)
    return only["r"]


def test_accumulators_take_what_mongodb_takes() -> None:
    made = row(
        s={"$sum": "$a"}, v={"$avg": "$a"}, n={"$count": {}}, i={"$min": "$a"}, x={"$max": "$b"},
        t={"$addToSet": {"q": "$q", "z": 1}}, p={"$stdDevPop": "$a"}, w={"$stdDevSamp": "$q"},
        l={"$minN": {"n": {"$add": [1, 1]}, "input": "$a"}}, g={"$maxN": {"n": Int64(9), "input": "$a"}},
    )  # fmt: skip
    assert list(made) == ["_id", "s", "v", "n", "i", "x", "t", "p", "w", "l", "g"]
    assert made == {
        "_id": None, "s": 6.0, "v": 1.5, "n": 6, "i": 1, "x": [[0, 9], 2], "t": [{"z": 1}], "p": 0.5, "w": None,
        "l": [1, 1.0], "g": [2, 2, 1.0, 1],
    }  # fmt: skip


NEW, OLD = Dialect(top_enters_arrays=True), Dialect(top_enters_arrays=False)


def test_the_top_goes_by_the_elements_of_arrays_or_by_the_array_as_the_server_does() -> None:
    assert top("$topN", {"b": 1}, "$_id", NEW, n=9) == [2, 0, 1, 3, 5, 4]
    assert top("$topN", {"b": 1}, "$_id", OLD, n=9) == [2, 1, 4, 0, 5, 3]
    assert top("$bottomN", {"b": 1}, "$_id", NEW, n=3) == [3, 5, 4]
    assert top("$bottom", {"b": 1}, "$_id", OLD) == 3
    assert top("$top", {"b": 1}, "$b") == []
    assert top("$top", {"a": 1}, "$q") is None
    for dialect in (NEW, OLD):
        assert top("$topN", {"d.e.f": 1}, "$_id", dialect, n=9) == [4, 1, 2, 3, 5, 0]
        assert top("$topN", {"b.0": 1}, "$_id", dialect, n=9) == [0, 2, 3, 5, 1, 4]
        with pytest.raises(InvalidRequestError, match="cannot sort"):
            top("$topN", {"c": 1, "b": 1}, "$_id", dialect, n=9)
    assert compile_pipeline([{"$group": {"_id": 1}}]).asks == frozenset()


def test_of_one_place_those_that_came_first_stay() -> None:
    placed: list[tuple[Any, Any]] = [((1,), "a"), ((1,), "b"), ((2,), "c"), ((2,), "d"), ((2,), "e"), ((3,), "f")]

    def chosen(operator: str, count: int | None = None) -> Any:
        return Accumulator("r", operator, lambda _: MISSING, count).chosen(placed)

    assert (chosen("$top"), chosen("$bottom")) == ("a", "f")
    assert chosen("$topN", 4) == ["a", "b", "c", "d"]
    assert chosen("$bottomN", 3) == ["c", "d", "f"]
    assert chosen("$bottomN", 5) == ["a", "c", "d", "e", "f"]
    assert chosen("$bottomN", 9) == ["a", "b", "c", "d", "e", "f"]
    assert Accumulator("r", "$bottom", lambda _: MISSING).chosen(placed[2:5]) == "c"


def buckets(**options: Any) -> list[Row]:
    documents = [{"_id": index, "a": a} for index, a in enumerate([1, 5, 10, 7.5, "s"])] + [{"_id": 9}]
    return evaluated(compile_pipeline([{"$bucket": {"groupBy": "$a", **options}}]), documents)


def test_buckets_are_ranges() -> None:
    assert buckets(boundaries=[0, 5, 10], default="other") == [
        {"_id": 0, "count": 1}, {"_id": 5, "count": 2}, {"_id": "other", "count": 3},
    ]  # fmt: skip
    assert buckets(boundaries=[0, 5], default=None, output={}) == [{"_id": None}, {"_id": 0}]
    assert buckets(boundaries=[0, {"$add": [1, 2]}, 20], default=20, output={"m": {"$max": "$a"}}) == [
        {"_id": 0, "m": 1}, {"_id": 3, "m": 10}, {"_id": 20, "m": "s"},
    ]  # fmt: skip
    with pytest.raises(InvalidDocumentError) as raised:
        buckets(boundaries=[0, 5])
    assert raised.value.details == {"operator": "$bucket", "key": 1}


def test_a_count_is_one_row_without_a_key() -> None:
    counted = compile_pipeline([{"$match": {"a": {"$gt": 0}}}, {"$count": "n"}, {"$project": {"_id": 0, "n": 1}}])
    assert counted.group is not None
    assert counted.group.key({"_id": 1}) is None
    assert evaluated(counted, D) == [{"n": 4}]
    assert evaluated(counted, []) == []


def test_by_count_the_most_frequent_come_first() -> None:
    found = evaluated(compile_pipeline([{"$sortByCount": "$a"}]), D)
    assert [(row["_id"], row["count"]) for row in found] == [(None, 2), (1, 2), (2, 2)]
    found = evaluated(
        compile_pipeline([{"$sortByCount": {"$type": "$c"}}, {"$match": {"count": 2}}, {"$set": {"k": 1}}]), D
    )
    assert found == [{"_id": "missing", "count": 2, "k": 1}, {"_id": "string", "count": 2, "k": 1}]


def test_what_fails_behind_another_key_names_none() -> None:
    stages = [{"$replaceWith": {"_id": 7, "c": "$c"}}, {"$group": {"_id": {"$toInt": "$c"}}}]
    with pytest.raises(InvalidDocumentError) as raised:
        evaluated(compile_pipeline(stages), D)
    assert raised.value.details == {"operator": "$convert"}


def test_every_accumulator_is_tried_here() -> None:
    for name in ACCUMULATORS:
        operand: Any = {"sortBy": {"a": 1}, "output": 1} if name in {"$top", "$bottom"} else "$a"
        operand = {"n": 1, "input": "$a"} if name in {"$minN", "$maxN"} else {} if name == "$count" else operand
        operand = {"n": 1, "sortBy": {"a": 1}, "output": 1} if name in {"$topN", "$bottomN"} else operand
        pipeline = compile_pipeline([{"$group": {"_id": "$a", "r": {name: operand}}}])
        assert pipeline.group is not None
        assert [one.operator for one in pipeline.group.accumulators] == [name]
