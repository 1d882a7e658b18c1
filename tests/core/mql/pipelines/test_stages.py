"""Stages that take each document for itself: what MongoDB 6.0.5 and 6.0.27 (classic engine) made of these, by hand.

tests/mongo/test_pipelines_differential.py holds the same code against a real one at random.
"""

from __future__ import annotations

from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.bson.stored import Repeated
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.errors import InvalidDocumentError, TooLargeError, UnsupportedValueError
from tests.evaluated import evaluated

Row = dict[str, Any]
D: Row = {"_id": 0, "a": 1, "b": 5, "c": 1, "d": {"x": 1, "y": 2, "z": 3}}
A: Row = {"_id": 0, "a": [1, {"b": 2, "c": 3}, [{"b": 4}], []], "e": []}
GROUPED = {"$group": {"_id": None, "r": {"$topN": {"n": 50, "sortBy": {"_id": 1}, "output": "$$ROOT"}}}}

CASES: list[tuple[list[Any], Row, Row]] = [
    ([{"$set": {"a": "$b", "b": "$a"}}], D, {"_id": 0, "a": 5, "b": 1, "c": 1, "d": D["d"]}),
    ([{"$addFields": {"n.m": "$missing"}}], D, {**D, "n": {}}),
    ([{"$set": {}}], D, D),
    ([{"$set": {"a": "$missing"}}], D, {"_id": 0, "b": 5, "c": 1, "d": D["d"]}),
    ([{"$set": {"a": True, "b": 0, "c": None}}], D, {**D, "a": True, "b": 0, "c": None}),
    ([{"$set": {"b": {"e": {"f": 1}}, "b.g": 2}}], D, {**D, "b": {"e": {"f": 1}, "g": 2}}),
    ([{"$set": {"a.b": 9}}], A, {"_id": 0, "a": [{"b": 9}, {"b": 9, "c": 3}, [{"b": 9}], []], "e": []}),
    ([{"$set": {"e.b": 9}}], A, A),
    ([{"$project": {"a": 1}}], D, {"_id": 0, "a": 1}),
    ([{"$project": {"z": "$a", "c": 1, "d.y": True}}], D, {"_id": 0, "c": 1, "d": {"y": 2}, "z": 1}),
    ([{"$project": {"_id": 1}}], D, {"_id": 0}),
    ([{"$project": {"_id": 1, "d": 0, "c": Decimal128("0")}}], D, {"_id": 0, "a": 1, "b": 5}),
    ([{"$project": {"b.e": "$a", "c": 1}}], D, {"_id": 0, "b": {"e": 1}, "c": 1}),
    ([{"$project": {"b.e": 1, "c": 1}}], D, {"_id": 0, "c": 1}),
    ([{"$project": {"a.b": 1, "a.q": "$e"}}], A, {"_id": 0, "a": [{"q": []}, {"b": 2, "q": []}, [{"b": 4,
     "q": []}], []]}),
    ([{"$project": {"a": {"b": 1}}}], A, {"_id": 0, "a": [{"b": 2}, [{"b": 4}], []]}),
    ([{"$project": {"a.b": 0, "d": {"x": 0}}}], A, {"_id": 0, "a": [1, {"c": 3}, [{}], []], "e": []}),
    ([{"$project": {"b": "$missing", "c": 1}}], D, {"_id": 0, "c": 1}),
    ([{"$unset": ["a", "d.x"]}], D, {"_id": 0, "b": 5, "c": 1, "d": {"y": 2, "z": 3}}),
    ([{"$unset": "d"}], D, {"_id": 0, "a": 1, "b": 5, "c": 1}),
    ([{"$replaceWith": {"_id": "$_id", "k": "$d.y", "n": "$missing"}}], D, {"_id": 0, "k": 2}),
    ([{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$d", {"_id": "$_id"}]}}}], D, {"x": 1, "y": 2, "z": 3,
     "_id": 0}),
    ([{"$replaceRoot": {"newRoot": {"$mergeObjects": [{"k": 1}, "$$ROOT"]}}}], D, {"k": 1, **D}),
    ([{"$replaceRoot": {"newRoot": "$$ROOT"}}], D, D),
]  # fmt: skip


def exactly(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


@pytest.mark.parametrize(("stages", "document", "expected"), CASES, ids=[repr(case[0])[:70] for case in CASES])
def test_a_stage_makes_of_a_document_what_mongodb_makes(stages: list[Any], document: Row, expected: Row) -> None:
    before = repr(document)
    (row,) = evaluated(compile_pipeline(stages), [document])
    assert exactly(row, expected)
    assert repr(document) == before


KEPT: list[tuple[list[Any], Row, Row]] = [
    ([{"$unset": "a"}, {"$set": {"a": 9}}], D, {**D, "a": 9}),
    ([{"$set": {"a": "$missing"}}, {"$set": {"q": "$$ROOT.b", "a": 9}}], D, {**D, "a": 9, "q": 5}),
    ([{"$unset": "d.x"}, {"$set": {"q": "$d"}}, {"$set": {"d.x": 9}}], D,
     {**D, "d": {"x": 9, "y": 2, "z": 3}, "q": {"y": 2, "z": 3}}),
    ([{"$project": {"c": 1, "a": {"$cond": [0, 1, "$$REMOVE"]}}}, {"$set": {"q": 1}}, {"$set": {"a": 3}}], D,
     {"_id": 0, "c": 1, "a": 3, "q": 1}),
    ([{"$project": {"c": 1, "b": 1}}, {"$set": {"a": 9}}], D, {"_id": 0, "b": 5, "c": 1, "a": 9}),
    ([{"$project": {"b.e": 1, "c": 1, "m": "$c"}}, {"$set": {"b.z": 1}}], D, {"_id": 0, "b": {"z": 1}, "c": 1, "m": 1}),
    ([{"$project": {"b.e": 1, "c": 1}}, {"$set": {"b.z": 1}}], D, {"_id": 0, "c": 1, "b": {"z": 1}}),
    ([{"$project": {"n.e": 1, "m": "$c"}}, {"$set": {"n.z": 1}}], D, {"_id": 0, "n": {"z": 1}, "m": 1}),
    ([{"$project": {"a.b.c": 1, "m": "$e"}}, {"$set": {"a.b.c": 1}}], {"_id": 0, "a": [{"k": 1}, 5], "e": 1},
     {"_id": 0, "a": [{"b": {"c": 1}}, {"b": {"c": 1}}], "m": 1}),
    ([{"$project": {"a.b": 1, "m": "$e"}}, {"$set": {"q": "$a", "a.c": 1}}], {"_id": 0, "a": [{"b": 1}, 5], "e": 1},
     {"_id": 0, "a": [{"b": 1, "c": 1}, {"c": 1}], "m": 1, "q": [{"b": 1}]}),
    ([{"$project": {"a.b": 1}}, {"$set": {"q": "$a.b"}}], {"_id": 0, "a": [{"b": 1}, 5]},
     {"_id": 0, "a": [{"b": 1}], "q": [1]}),
    ([{"$project": {"a.b": 1}}, {"$set": {"q": {"$size": "$a"}}}], {"_id": 0, "a": [{"b": 1}, {}]},
     {"_id": 0, "a": [{"b": 1}, {}], "q": 2}),
    ([{"$replaceWith": {"a": "$missing", "_id": "$_id", "b": 1}}, {"$set": {"a": 5}}], D, {"a": 5, "_id": 0, "b": 1}),
    ([{"$unset": "a"}, {"$match": {"b": 5}}, {"$set": {"a": {"$size": {"$objectToArray": "$$ROOT"}}}}], D,
     {**D, "a": 4}),
    ([{"$unset": "d.x"}, {"$project": {"d": 1}}, {"$set": {"d.x": 9}}], D, {"_id": 0, "d": {"x": 9, "y": 2, "z": 3}}),
    ([{"$unset": "a"}, {"$project": {"a": 1, "b": 1}}, {"$set": {"a": 9}}], D, {"_id": 0, "b": 5, "a": 9}),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "document", "expected"), KEPT, ids=[repr(case[0])[:70] for case in KEPT])
def test_a_field_that_comes_back_stands_where_it_was(stages: list[Any], document: Row, expected: Row) -> None:
    (row,) = evaluated(compile_pipeline(stages), [document])
    assert exactly(row, expected)


def unwound(stage: Any, *documents: Row) -> list[Row]:
    (row,) = evaluated(compile_pipeline([{"$unwind": stage}, GROUPED]), documents) or [{"r": []}]
    found: list[Row] = row["r"]
    return found


def test_an_array_becomes_rows() -> None:
    documents: list[Row] = [
        {"_id": 0, "a": [1, 2]},
        {"_id": 1, "a": []},
        {"_id": 2, "a": None},
        {"_id": 3, "a": 5},
        {"_id": 4},
    ]
    assert unwound("$a", *documents) == [{"_id": 0, "a": 1}, {"_id": 0, "a": 2}, {"_id": 3, "a": 5}]
    kept = unwound({"path": "$a", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "i"}, *documents)
    assert exactly(
        kept,
        [
            {"_id": 0, "a": 1, "i": Int64(0)},
            {"_id": 0, "a": 2, "i": Int64(1)},
            {"_id": 1, "i": None},
            {"_id": 2, "a": None, "i": None},
            {"_id": 3, "a": 5, "i": None},
            {"_id": 4, "i": None},
        ],
    )
    assert type(kept[0]["i"]) is Int64
    deep = {"_id": 5, "a": {"b": [1, [2]]}, "z": 1}
    assert unwound({"path": "$a.b", "includeArrayIndex": "z.k"}, deep) == [
        {"_id": 5, "a": {"b": 1}, "z": {"k": 0}},
        {"_id": 5, "a": {"b": [2]}, "z": {"k": 1}},
    ]
    assert unwound("$z.a", {"_id": 7, "z": [{"a": [1, 2]}]}) == []


def test_an_empty_array_that_comes_back_stands_where_it_was() -> None:
    stages = [{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": True}}, {"$set": {"a": 3}}, GROUPED]
    assert exactly(
        evaluated(compile_pipeline(stages), [{"_id": 0, "a": [], "b": 1}])[0]["r"], [{"_id": 0, "a": 3, "b": 1}]
    )


FAILING: list[tuple[list[Any], Row, type[Exception], str]] = [
    ([{"$set": {"a": {"$toInt": "$d"}}}], D, InvalidDocumentError, "$convert"),
    ([{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$a", {"_id": "$_id"}]}}}], D, InvalidDocumentError,
     "$mergeObjects"),
    ([{"$replaceWith": "$a"}, {"$count": "n"}], D, InvalidDocumentError, "$replaceWith"),
    ([{"$set": {"d.x": 1}}], {"_id": 0, "d": Repeated([("x", 1), ("x", 2)])}, UnsupportedValueError, "$set"),
    ([{"$project": {"d.x": 1}}], {"_id": 0, "d": Repeated([("x", 1), ("x", 2)])}, UnsupportedValueError, "$project"),
    ([{"$project": {"a.b": 1}}, {"$set": {"q": {"$size": "$a"}}}], {"_id": 0, "a": [{"b": 1}, 5]},
     UnsupportedValueError, "$project"),
    ([{"$project": {"d.x": 0}}], {"_id": 0, "d": Repeated([("x", 1), ("x", 2)])}, UnsupportedValueError, "$project"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stages", "document", "error", "operator"), FAILING, ids=[repr(one[0])[:60] for one in FAILING]
)
def test_what_has_no_value_names_operator_and_key(
    stages: list[Any], document: Row, error: type[Exception], operator: str
) -> None:
    with pytest.raises(error) as raised:
        evaluated(compile_pipeline(stages), [document])
    details = raised.value.details or {}  # type: ignore[attr-defined]
    assert details["operator"] == operator
    assert details["key"] == 0


def test_a_row_that_fails_has_no_documents_key() -> None:
    stages = [{"$group": {"_id": "$a", "m": {"$max": "$d"}}}, {"$set": {"n": {"$toInt": "$m"}}}]
    with pytest.raises(InvalidDocumentError) as raised:
        evaluated(compile_pipeline(stages), [D])
    assert raised.value.details == {"operator": "$convert"}


DOUBLE = {"$set": {"a": ["$a", "$a", "$a", "$a"]}}
LARGE: list[tuple[list[Any], Row, Bounds]] = [
    ([DOUBLE] * 20, {"_id": 0, "a": "x" * 1000}, Bounds()),
    ([{"$set": {"a": ["$a"]}}] * 200, {"_id": 0, "a": 1}, Bounds(stages=1000)),
    ([{"$set": {"a": "$$ROOT", "b": "$$ROOT"}}], {"_id": 0, "a": b"x" * 100}, Bounds(bytes=200)),
    ([{"$unwind": "$a"}, {"$unwind": "$b"}, {"$count": "n"}], {"_id": 0, "a": [1] * 200, "b": [1] * 200}, Bounds()),
    ([{"$unwind": "$a"}, {"$set": {"b": {"$add": ["$a", 1]}}}, {"$count": "n"}], {"_id": 0, "a": [1] * 200},
     Bounds(steps=500)),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "document", "bounds"), LARGE, ids=["bytes", "levels", "binary", "rows", "steps"])
def test_what_becomes_of_one_document_is_bounded(stages: list[Any], document: Row, bounds: Bounds) -> None:
    with pytest.raises(TooLargeError):
        evaluated(compile_pipeline(stages, bounds), [document])


def test_runs_say_what_they_do() -> None:
    pipeline = compile_pipeline([{"$set": {"a": 1}}, {"$unwind": "$b"}, {"$match": {"a": 2}}, {"$count": "n"}])
    assert (pipeline.before.empty, pipeline.before.unwinds, pipeline.before.selects) == (False, True, True)
    assert (pipeline.shown.empty, pipeline.shown.unwinds, pipeline.shown.selects) == (True, False, False)
    assert pipeline.before.run({"_id": 0, "b": [1, 2]}) == []
    assert pipeline.shown.run(D) == [D]
