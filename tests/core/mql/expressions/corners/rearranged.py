"""Corners of what MongoDB's optimizer rearranges, takes for a constant, and does not look into.

A union keeps the first of equal elements, and its constants go behind the rest: the type of what is kept tells whether
something was taken for a constant, or looked at.
"""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128

from realtime.core.bson.values import MISSING
from tests.core.mql.expressions.corners import Case, Failure

TWO = Decimal128("2")
A: dict[str, Any] = {"a": [TWO]}
UNION = {"$setUnion": [[2], "$a"]}
FAILS = {"$divide": [1, "$z"]}
FAILS_FIRST = {"$and": [FAILS, False]}


def _beside(constant: Any) -> dict[str, Any]:
    return {"$setUnion": [constant, "$a"]}


def _yes(condition: Any) -> list[Any]:
    return [{"$cond": [condition, 2, 3]}]


TAKEN: list[Any] = [
    [2],
    {"$concatArrays": [[2], []]},
    {"$slice": [[2, 3], 1]},
    {"$setDifference": [[2], [3]]},
    {"$switch": {"branches": [{"case": True, "then": [2]}], "default": [3]}},
    {"$ifNull": [None, [2]]},
    [{"$strLenCP": {"$trim": {"input": " ab "}}}],
    _yes({"$setIsSubset": [[1], [1]]}),
    _yes({"$in": [1, [1]]}),
]
"""For a constant, by its parts."""
NOT_TAKEN: list[Any] = [
    *({name: {"n": 1, "input": [2]}} for name in ("$firstN", "$lastN", "$maxN", "$minN")),
    {"$reverseArray": {"$firstN": {"n": 1, "input": [2]}}},
    {"$sortArray": {"input": [2], "sortBy": 1}},
    {"$arrayElemAt": [{"$zip": {"inputs": [[2]]}}, 0]},
    {"$map": {"input": [2], "in": "$$this"}},
    {"$let": {"vars": {"x": 1}, "in": [2]}},
    {"$getField": {"field": "b", "input": {"b": [2]}}},
    _yes({"$setEquals": [[1], [1]]}),
    _yes({"$regexMatch": {"input": "a", "regex": "a"}}),
    [{"$size": {"$regexFindAll": {"input": "abab", "regex": "ab"}}}],
    [{"$strLenCP": {"$replaceOne": {"input": "abc", "find": "c", "replacement": ""}}}],
    [{"$strLenCP": {"$replaceAll": {"input": "abc", "find": "c", "replacement": ""}}}],
]
"""Although all their parts are constant."""
NOT_LOOKED_INTO: list[Any] = [
    *({name: {"n": 1, "input": UNION}} for name in ("$firstN", "$lastN", "$maxN", "$minN")),
    {"$firstN": {"n": 1, "input": {"$cond": ["$a", UNION, 3]}}},
    {"$getField": {"field": "b", "input": {"b": UNION}}},
    {"$let": {"vars": {"o": {"$setField": {"field": "b", "input": {}, "value": UNION}}}, "in": "$$o.b"}},
    {"$let": {"vars": {"o": {"$unsetField": {"field": "c", "input": {"b": UNION}}}}, "in": "$$o.b"}},
]
LOOKED_INTO: list[Any] = [
    UNION,
    {"$sortArray": {"input": UNION, "sortBy": 1}},
    {"$map": {"input": UNION, "in": "$$this"}},
    {"$first": {"$zip": {"inputs": [UNION]}}},
    {"$switch": {"branches": [{"case": "$a", "then": UNION}], "default": 3}},
    {"$let": {"vars": {"x": UNION}, "in": "$$x"}},
]

CASES: list[Case] = [
    *((_beside(one), A, [TWO]) for one in TAKEN),
    *((_beside(one), A, [2]) for one in NOT_TAKEN),
    *((one, A, [2]) for one in NOT_LOOKED_INTO),
    *((one, A, [TWO]) for one in LOOKED_INTO),
    ({"$setUnion": [[{"$setField": {"field": "b", "input": {}, "value": 2}}], "$a"]}, {"a": [{"b": TWO}]}, [{"b": 2}]),
    ({"$firstN": {"n": 1, "input": [{"$max": [4.0, "$q"]}]}}, {"q": 4}, [4.0]),
    (
        {"$firstN": {"n": 1, "input": [{"$switch": {"branches": [{"case": True, "then": "$q"}]}}]}},
        {"q": 4},
        [4],
    ),
    ({"$max": [4.0, "$q"]}, {"q": 4}, 4),
    ({"$firstN": {"n": 1, "input": [{"$setEquals": ["$a", [1], "$q"]}]}}, {"a": [2], "q": 4}, [False]),
    (FAILS_FIRST, {"z": 0}, False),
    # $ifNull: null constants do not count, and what is behind another constant is gone
    ({"$and": [FAILS, {"$ifNull": [False, "$x"]}]}, {"z": 0}, False),
    ({"$or": [FAILS, {"$ifNull": [None, True, "$x"]}]}, {"z": 0}, True),
    (_beside({"$ifNull": [[2], "$x"]}), A, [TWO]),
    ({"$or": [FAILS, {"$cond": [True, 1, "$x"]}]}, {"z": 0}, True),
    ({"$or": [FAILS, {"$cond": [0, "$x", 1]}]}, {"z": 0}, True),
    (_beside({"$cond": [True, [2], "$x"]}), A, [TWO]),
    ({"$or": [FAILS, {"$switch": {"branches": [{"case": True, "then": 1}], "default": "$x"}}]}, {"z": 0}, True),
    ({"$or": [FAILS, {"$switch": {"branches": [{"case": 0, "then": "$x"}], "default": 1}}]}, {"z": 0}, True),
    (_beside({"$switch": {"branches": [{"case": 1, "then": [2]}, {"case": "$x", "then": 1}]}}), A, [TWO]),
    ({"$switch": {"branches": [{"case": "$x", "then": 1}, {"case": 1, "then": 2}], "default": FAILS}}, {"z": 0}, 2),
    ({"$ifNull": ["$x", None, "$y"]}, {"x": None}, MISSING),
    ({"$ifNull": ["$x", None]}, {}, None),
    ({"$ifNull": ["$x", 1, FAILS]}, {"z": 0}, 1),
    ({"$first": {"$map": {"input": [1], "in": FAILS_FIRST}}}, {"z": 0}, False),
]

FAILING: list[Failure] = [
    ({"$or": [FAILS, {"$ifNull": ["$x", True]}]}, {"z": 0}),
    ({"$or": [FAILS, {"$cond": ["$x", 1, 1]}]}, {"z": 0}),
    ({"$firstN": {"n": 1, "input": [{"$or": [FAILS, {"$cond": [True, 1, "$x"]}]}]}}, {"z": 0}),
    ({"$firstN": {"n": 1, "input": [{"$or": [FAILS, {"$ifNull": [True, "$x"]}]}]}}, {"z": 0}),
    ({"$firstN": {"n": 1, "input": [FAILS_FIRST]}}, {"z": 0}),
    ({"$getField": {"field": "b", "input": {"b": {"$or": [{"$divide": [1, "$z"]}, True]}}}}, {"z": 0}),
    ({"$setField": {"field": "b", "input": {}, "value": FAILS_FIRST}}, {"z": 0}),
]
