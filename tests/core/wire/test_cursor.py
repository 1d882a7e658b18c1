"""Cursors: what they carry, what they refuse, and the filter for what comes after."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import Any

import pytest
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.bson.stored import UNDEFINED_VALUE, Broken, OddRegex, Symbol
from realtime.core.wire.cursor import MAX_CHARACTERS, MAX_KEYS, check, cursor, following, sort_keys, values_of
from realtime.errors import InvalidRequestError

QUERY = b"orders"
BY_A = {"a": 1, "_id": 1}
NOW = dt.datetime(2026, 11, 22, 12, 30, 15, 250_000, tzinfo=dt.UTC)
SCALARS: list[Any] = [
    0, -1, 1.5, Int64(2**62), Decimal128("1.50"), "", "x\x00\u2028", ObjectId(b"x" * 12), NOW, True, b"bytes",
]  # fmt: skip
USELESS: list[tuple[Any, str]] = [
    ({"a": Symbol("x")}, "what JSON cannot say exactly"),
    ({"a": UNDEFINED_VALUE}, "null or missing"),
    ({"a": OddRegex("a", "xi")}, "no scalar"),
    ({}, "null or missing"),
    ({"a": None}, "null or missing"),
    ({"a": [1]}, "a list"),
    ({"a": []}, "a list"),
    ({"a": float("nan")}, "not a number"),
    ({"a": Decimal128("NaN")}, "not a number"),
    ({"a": {"b": 1}}, "no scalar"),
    ({"a": Regex("x")}, "no scalar"),
    ({"a": Code("x")}, "no scalar"),
    ({"a": MaxKey()}, "no scalar"),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_a_cursor_brings_its_values_back(value: Any) -> None:
    text = cursor(QUERY, BY_A, [{"_id": value, "a": value}])
    assert values_of(text, QUERY, BY_A) == [value, value]
    assert text.isascii()


def test_keys_after_the_documents_key_never_matter() -> None:
    assert sort_keys({"_id": -1, "a": 1}) == {"_id": -1}
    assert values_of(cursor(QUERY, {"_id": -1, "a": 1}, [{"_id": 7}]), QUERY, {"_id": -1, "a": 1}) == [7]


@pytest.mark.parametrize(("document", "reason"), USELESS, ids=repr)
def test_a_sort_key_that_cannot_be_gone_on_from_is_named_when_the_cursor_is_used(
    document: dict[str, Any], reason: str
) -> None:
    text = cursor(QUERY, BY_A, [{"_id": 1, **document}])
    with pytest.raises(InvalidRequestError, match=reason) as refused:
        values_of(text, QUERY, BY_A)
    assert refused.value.details == {"field": "after", "path": "a"}


@pytest.mark.parametrize("key", [None, {"a": 1}, MaxKey(), float("inf"), "x"])
def test_a_documents_key_may_be_of_any_type(key: Any) -> None:
    assert values_of(cursor(QUERY, {"_id": 1}, [{"_id": key}]), QUERY, {"_id": 1}) == [key]


def test_a_page_cannot_be_gone_on_from_a_key_that_json_cannot_say() -> None:
    text = cursor(QUERY, {"_id": 1}, [{"_id": Broken("\udcff")}])
    with pytest.raises(InvalidRequestError, match="what JSON cannot say exactly") as refused:
        values_of(text, QUERY, {"_id": 1})
    assert refused.value.details == {"field": "after", "path": "_id"}


def test_a_path_is_followed_and_a_list_on_the_way_is_seen() -> None:
    by_b = {"a.b": 1, "_id": 1}
    assert values_of(cursor(QUERY, by_b, [{"_id": 1, "a": {"b": 5}}]), QUERY, by_b) == [5, 1]
    for document, reason in (({"a": [{"b": 5}]}, "a list"), ({"a": 7}, "null or missing")):
        with pytest.raises(InvalidRequestError, match=reason):
            values_of(cursor(QUERY, by_b, [{"_id": 1, **document}]), QUERY, by_b)


def test_a_value_too_large_for_an_address_is_refused_when_used() -> None:
    text = cursor(QUERY, BY_A, [{"_id": 1, "a": "x" * MAX_CHARACTERS}])
    assert len(text) < MAX_CHARACTERS
    with pytest.raises(InvalidRequestError, match="larger than a cursor takes"):
        values_of(text, QUERY, BY_A)


def test_too_many_sort_keys_are_refused() -> None:
    many = {**{f"k{n}": 1 for n in range(MAX_KEYS + 1)}, "_id": 1}
    document = {"_id": 1, **dict.fromkeys(many, 1)}
    with pytest.raises(InvalidRequestError, match=str(MAX_KEYS)):
        values_of(cursor(QUERY, many, [document]), QUERY, many)


def test_any_other_text_is_refused() -> None:
    good = cursor(QUERY, BY_A, [{"_id": 1, "a": 5}])
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    forged = [raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :] for n in range(len(raw))]
    texts = [base64.urlsafe_b64encode(one).decode().rstrip("=") for one in forged]
    texts += ["", "x", "é", good[:-4], good + "AAAA", good * 1000, "?" * 40]
    assert len(texts) >= 39
    for text in texts:
        with pytest.raises(InvalidRequestError) as refused:
            values_of(text, QUERY, BY_A)
        assert refused.value.details == {"field": "after"}


@pytest.mark.parametrize(
    "content",
    ["{", "7", "[]", "{}", '{"values":7}', '{"values":[1]}', '{"values":[1,2,3]}', '{"values":[{"$where":"1"},2]}'],
)
def test_a_checksum_over_anything_else_helps_nobody(content: str) -> None:
    packed = hashlib.sha256(hashlib.sha256(QUERY).digest() + content.encode()).digest()[:16] + content.encode()
    with pytest.raises(InvalidRequestError) as refused:
        values_of(base64.urlsafe_b64encode(packed).decode().rstrip("="), QUERY, BY_A)
    assert refused.value.details == {"field": "after"}


def test_a_cursor_of_another_query_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="not a cursor of this query"):
        values_of(cursor(QUERY, BY_A, [{"_id": 1, "a": 5}]), b"other", BY_A)


def test_what_comes_after_is_a_range_for_every_key() -> None:
    after = {"$expr": {"$gt": ["$_id", {"$literal": 7}]}}
    assert following({}, {"_id": 1}, [7]) == {"$and": [after]}
    assert following({}, {"_id": -1}, [7]) == {"$and": [{"$expr": {"$lt": ["$_id", {"$literal": 7}]}}]}
    assert following({"s": "x"}, {"a": -1, "b": 1, "_id": 1}, [5, 6, 7]) == {
        "$or": [
            {"$and": [{"s": "x"}, {"a": {"$not": {"$gte": 5}}}]},
            {"$and": [{"s": "x"}, {"a": {"$eq": 5}}, {"b": {"$not": {"$lte": 6}}}]},
            {"$and": [{"s": "x"}, {"a": {"$eq": 5}}, {"b": {"$eq": 6}}, after]},
        ]
    }


def test_the_cursor_of_a_page_of_several_types_is_refused_when_used() -> None:
    text = cursor(QUERY, BY_A, [{"_id": 1, "a": "x"}, {"_id": 2, "a": 5}])
    with pytest.raises(InvalidRequestError, match="of several types"):
        values_of(text, QUERY, BY_A)


def test_a_page_of_one_type_passes_and_numbers_are_one_type() -> None:
    check(BY_A, [5, 1], [{"_id": 2, "a": 6.5}, {"_id": 3, "a": Int64(7)}, {"_id": "x", "a": Decimal128("8")}])
    check({"_id": 1}, [5], [{"_id": "x"}, {"_id": None}])


@pytest.mark.parametrize("document", [{"a": "x"}, {"a": True}, {"a": NOW}, *(document for document, _ in USELESS)])
def test_a_page_of_several_types_is_refused_by_its_key(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check(BY_A, [5, 1], [{"_id": 2, "a": 6}, {"_id": 3, **document}])
    assert refused.value.details == {"field": "after", "path": "a"}
