"""What may be written: plain documents, and update operators of the allow-list on named paths."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.bson.keys import KEY_BYTES
from realtime.core.mql.filters import Bounds
from realtime.core.mql.updates import OPERATORS, check_document, check_update
from realtime.errors import (
    InvalidFilterError,
    InvalidRequestError,
    InvalidUpdateError,
    TooLargeError,
    UnsupportedOperatorError,
)

ACCEPTED: list[dict[str, Any]] = [
    {"$set": {"a": 1, "b.0.c": {"d": [1, {"e": 2}]}}},
    {"$set": {}},
    {"$unset": {"a": ""}, "$inc": {"n": 1}, "$mul": {"m": 2}, "$min": {"x": 1}, "$max": {"y": 1}},
    {"$setOnInsert": {"a": 1}},
    {"$rename": {"a": "b"}},
    {"$currentDate": {"a": True, "b": {"$type": "date"}, "c": {"$type": "timestamp"}}},
    {"$push": {"a": 1}},
    {"$push": {"a": {"plain": 1}}},
    {"$push": {"a": {"$each": [1, {"b": 2}], "$position": 0, "$slice": -5, "$sort": {"b": 1}}}},
    {"$addToSet": {"a": {"$each": [1]}}},
    {"$pop": {"a": -1}, "$pullAll": {"b": [1, 2]}},
    {"$pull": {"a": 1, "b": {"$gt": 5}, "c": {"d": {"$in": [1]}}, "e": {}}},
    {"$bit": {"a": {"and": 1, "or": 2, "xor": 3}}},
]


@pytest.mark.parametrize("update", ACCEPTED, ids=str)
def test_operators_of_the_allow_list_are_accepted(update: dict[str, Any]) -> None:
    check_update(update)
    assert update.keys() <= OPERATORS


INVALID: dict[str, tuple[Any, str]] = {
    "no object": ([{"$set": {"a": 1}}], ""),
    "nothing": ({}, ""),
    "fields instead of operators": ({"a": 1}, "a"),
    "fields beside operators": ({"$set": {"a": 1}, "b": 2}, "b"),
    "no object of paths": ({"$set": 5}, "$set"),
    "an empty path": ({"$set": {"": 1}}, "$set."),
    "an empty component": ({"$set": {"a..b": 1}}, "$set.a..b"),
    "NUL in a path": ({"$unset": {"a\0": 1}}, "$unset.a\0"),
    "$currentDate of something else": ({"$currentDate": {"a": "now"}}, "$currentDate.a"),
    "$bit without an object": ({"$bit": {"a": 5}}, "$bit.a"),
    "$bit of nothing": ({"$bit": {"a": {}}}, "$bit.a"),
    "$bit of something else": ({"$bit": {"a": {"and": 1, "not": 1}}}, "$bit.a"),
}


@pytest.mark.parametrize(("update", "path"), INVALID.values(), ids=INVALID.keys())
def test_an_update_that_cannot_be_applied_is_refused_at_its_path(update: Any, path: str) -> None:
    with pytest.raises(InvalidUpdateError) as refused:
        check_update(update)
    assert refused.value.details == {"path": path}


def test_fields_instead_of_operators_are_told_what_to_write() -> None:
    with pytest.raises(InvalidUpdateError, match=r'use \{"\$set": \{"a"'):
        check_update({"a": 1})


UNSUPPORTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown operator": ({"$function": {"a": 1}}, "$function", "$function"),
    "the positional operator": ({"$set": {"a.$": 1}}, "$", "$set.a.$"),
    "a filtered position": ({"$set": {"a.$[x].b": 1}}, "$[x]", "$set.a.$[x].b"),
    "an unknown modifier": ({"$push": {"a": {"$each": [], "$where": 1}}}, "$where", "$push.a.$where"),
    "an expression in $pull": ({"$pull": {"a": {"b": 1, "$expr": True}}}, "$expr", "$pull.a.$expr"),
    "an unknown condition in $pull": ({"$pull": {"a": {"$where": "1"}}}, "$where", "element.$where"),
}


@pytest.mark.parametrize(("update", "operator", "path"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_is_not_on_the_list_is_refused_by_name_and_path(update: dict[str, Any], operator: str, path: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        check_update(update)
    assert refused.value.details == {"operator": operator, "path": path}


def test_the_condition_of_pull_is_bounded_like_a_filter() -> None:
    update = {"$pull": {"a": {"$in": [1, 2, 3]}}}
    check_update(update, Bounds(nodes=5))
    with pytest.raises(InvalidFilterError):
        check_update(update, Bounds(nodes=4))


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({"$set": {"a": {"$gt": 1}}}, "$set.a.$gt"),
        ({"$push": {"a": {"$each": [{"$x": 1}]}}}, "$push.a.$each.0.$x"),
        ({"$max": {"a": [{"b\0": 1}]}}, "$max.a.0.b\0"),
    ],
)
def test_a_stored_value_has_no_operators_in_it(update: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_update(update)
    assert refused.value.details == {"field": field}


@pytest.mark.parametrize("innermost", [1, {}, []])
def test_a_document_deeper_than_mongodb_stores_is_refused(innermost: Any) -> None:
    """Of an empty object at the 181st level, which MongoDB stores, what was read could not be written back."""
    deep: dict[str, Any] = {"a": innermost}
    for _ in range(179):
        deep = {"a": deep}
    check_document(deep)
    with pytest.raises(InvalidRequestError, match="nested deeper than 180"):
        check_document({"a": deep})


def test_a_plain_document_may_be_stored() -> None:
    document = {"_id": 1, "a.b": 1, "": 2, "c": [{"d": {"e$": 1}}]}
    check_document(document)
    assert document["c"] == [{"d": {"e$": 1}}]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"$set": {"a": 1}}, "document.$set"),
        ({"a": [0, {"b": {"$where": "c"}}]}, "document.a.1.b.$where"),
        ({"a": {"b\0": 1}}, "document.a.b\0"),
    ],
)
def test_a_document_with_operators_or_nul_names_is_refused_at_any_depth(document: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_document(document)
    assert refused.value.details == {"field": field}


@pytest.mark.parametrize(
    "key", ["k" * KEY_BYTES, {"a": "k" * KEY_BYTES}, b"k" * KEY_BYTES, {"a": {"b": ["k"] * 150_000}}], ids=type
)
def test_a_key_whose_change_events_could_not_be_sent_is_refused(key: Any) -> None:
    with pytest.raises(TooLargeError, match=f"at most {KEY_BYTES} bytes of BSON") as raised:
        check_document({"_id": key})
    assert raised.value.details is not None
    assert (raised.value.details["field"], raised.value.details["limit"]) == ("document._id", KEY_BYTES)
    assert raised.value.details["count"] > KEY_BYTES


def test_a_key_of_one_mebibyte_of_bson_is_taken_and_a_byte_more_is_not() -> None:
    key = "k" * (KEY_BYTES - 15)
    check_document({"_id": key})
    check_document({"text": key + "kk"})
    with pytest.raises(TooLargeError):
        check_document({"_id": key + "k"})
