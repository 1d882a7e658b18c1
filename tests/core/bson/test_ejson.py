"""Extended JSON: every BSON type there and back, what browsers need, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from types import MappingProxyType
from typing import Any

import bson
import pytest
from bson import SON
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.bson import ejson
from realtime.core.bson.keys import identity
from realtime.core.bson.stored import (
    CODEC,
    UNDEFINED_VALUE,
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
)
from realtime.errors import TooLargeError
from tests.chance import share

HEX = "507f1f77bcf86cd799439011"
UUID = "c8edabc3-f738-4ca3-b68d-ab92a91478a3"


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]  # reason: `*parts` never holds the zone


BOTH_WAYS: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-7, "-7"),
    (2**53, "9007199254740992"),
    (-(2**53), "-9007199254740992"),
    (Int64(2**53 + 1), '{"$numberLong":"9007199254740993"}'),
    (Int64(-(2**63)), '{"$numberLong":"-9223372036854775808"}'),
    (1.5, "1.5"),
    (1.0, "1.0"),
    (float("inf"), '{"$numberDouble":"Infinity"}'),
    (float("-inf"), '{"$numberDouble":"-Infinity"}'),
    (Decimal128("1.50"), '{"$numberDecimal":"1.50"}'),
    (Decimal128("-Infinity"), '{"$numberDecimal":"-Infinity"}'),
    ("", '""'),
    ('é\u0000"\U0001f600', '"é\\u0000\\"\U0001f600"'),
    (ObjectId(HEX), f'{{"$oid":"{HEX}"}}'),
    (utc(2026, 5, 4, 3, 2, 1), '{"$date":"2026-05-04T03:02:01Z"}'),
    (utc(2026, 5, 4, 3, 2, 1, 7000), '{"$date":"2026-05-04T03:02:01.007Z"}'),
    (utc(1970, 1, 1), '{"$date":"1970-01-01T00:00:00Z"}'),
    (utc(9999, 12, 31, 23, 59, 59, 999000), '{"$date":"9999-12-31T23:59:59.999Z"}'),
    (utc(1969, 12, 31, 23, 59, 59, 999000), '{"$date":{"$numberLong":"-1"}}'),
    (DatetimeMS(253_402_300_800_000), '{"$date":{"$numberLong":"253402300800000"}}'),
    (b"\x00\x01", '{"$binary":{"base64":"AAE=","subType":"00"}}'),
    (Binary(b"ab", 128), '{"$binary":{"base64":"YWI=","subType":"80"}}'),
    (uuid.UUID(UUID), '{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}}'),
    (Binary(b"short", 4), '{"$binary":{"base64":"c2hvcnQ=","subType":"04"}}'),
    (Timestamp(4294967295, 7), '{"$timestamp":{"t":4294967295,"i":7}}'),
    (Regex("^a", "imsx"), '{"$regularExpression":{"pattern":"^a","options":"imsx"}}'),
    (Code("f()"), '{"$code":"f()"}'),
    (Code("f()", {"n": Int64(2**60)}), '{"$code":"f()","$scope":{"n":{"$numberLong":"1152921504606846976"}}}'),
    (MinKey(), '{"$minKey":1}'),
    (MaxKey(), '{"$maxKey":1}'),
    ([], "[]"),
    ([1, [None, {"a": ObjectId(HEX)}]], f'[1,[null,{{"a":{{"$oid":"{HEX}"}}}}]]'),
    ({}, "{}"),
    ({"b": 1, "a": {"$x": 2}}, '{"b":1,"a":{"$x":2}}'),
]


@pytest.mark.parametrize(("value", "text"), BOTH_WAYS, ids=[text for _, text in BOTH_WAYS])
def test_every_bson_type_has_one_text_and_comes_back_from_it(value: Any, text: str) -> None:
    assert ejson.encode(value).decode() == text
    back = ejson.decode(text)
    assert back == value
    assert type(back) is type(value)


def test_nan_goes_out_as_number_double_and_comes_back() -> None:
    assert ejson.encode(float("nan")) == b'{"$numberDouble":"NaN"}'
    back = ejson.decode('{"$numberDouble":"NaN"}')
    assert back != back  # noqa: PLR0124 - the definition of NaN


OUT_ONLY: list[tuple[Any, str]] = [
    (2**63 - 1, '{"$numberLong":"9223372036854775807"}'),
    (Int64(5), "5"),
    (dt.datetime(2026, 1, 1), '{"$date":"2026-01-01T00:00:00Z"}'),
    (dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))), '{"$date":"2025-12-31T22:00:00Z"}'),
    (utc(2026, 1, 1, 0, 0, 0, 1999), '{"$date":"2026-01-01T00:00:00.001Z"}'),
    (DatetimeMS(1), '{"$date":"1970-01-01T00:00:00.001Z"}'),
    (DBRef("c", 1, "d", extra=2), '{"$ref":"c","$id":1,"$db":"d","extra":2}'),
    (SON([("b", 1), ("a", (1, 2))]), '{"b":1,"a":[1,2]}'),
    (MappingProxyType({"a": 1}), '{"a":1}'),
    (Regex(b"a", 0), '{"$regularExpression":{"pattern":"a","options":""}}'),
    (type("Name", (str,), {})("x"), '"x"'),
    (type("Fields", (dict,), {})(a=1), '{"a":1}'),
]


@pytest.mark.parametrize(("value", "text"), OUT_ONLY, ids=[text for _, text in OUT_ONLY])
def test_what_the_driver_may_hand_over_has_the_text_of_its_bson_value(value: Any, text: str) -> None:
    assert ejson.encode(value).decode() == text


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j])
def test_what_bson_does_not_have_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="no BSON type"):
        ejson.encode({"a": value})


IN_ONLY: list[tuple[str, Any]] = [
    ('{"$numberInt":"-7"}', -7),
    ('{"$numberLong":"7"}', Int64(7)),
    ('{"$numberDouble":"-1.5e3"}', -1500.0),
    ('{"$date":{"$numberLong":"1000"}}', utc(1970, 1, 1, 0, 0, 1)),
    ('{"$date":"2026-01-01T02:00:00.0019+02:00"}', utc(2026, 1, 1, 0, 0, 0, 1000)),
    (f'{{"$uuid":"{UUID}"}}', uuid.UUID(UUID)),
    ('{"$regularExpression":{"options":"ix","pattern":"a"}}', Regex("a", "ix")),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775808", 2.0**63),
    ("10000000000000000000", 1e19),
    ("-18446744073709551616", -(2.0**64)),
    ('{"a":1,"$oid":"no wrapper"}', {"a": 1, "$oid": "no wrapper"}),
]


@pytest.mark.parametrize(("text", "value"), IN_ONLY, ids=[text[:40] for text, _ in IN_ONLY])
def test_canonical_and_unusual_forms_are_accepted(text: str, value: Any) -> None:
    back = ejson.decode(text)
    assert back == value
    assert type(back) is type(value)


REFUSED: list[tuple[str | bytes, str]] = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[1,]", "not JSON"),
    ("{'a':1}", "not JSON"),
    ("NaN", "not JSON"),
    ('{"a":NaN}', "not JSON"),
    ("[Infinity]", "not JSON"),
    ("[-Infinity]", "not JSON"),
    ('"\\ud800"', "not JSON"),
    ('{"\\udfff":1}', "not JSON"),
    ("\ud800", "not JSON"),
    (b'"\xff"', "not JSON"),
    ('{"a":1}'.encode("utf-16"), "not JSON"),
    ("9" * 5000, "not JSON"),
    ("-" + "9" * 5000, "not JSON"),
    ("9223372036854775809", "is beyond 64 bits: wrap it in $numberDouble, which rounds it, or in $numberDecimal"),
    ('{"a":[1,{"b":-9223372036854775809}]}', "(at a.1.b)"),
    ("1" + "0" * 300, "is beyond 64 bits"),
    ("1" + "0" * 299, "is beyond 64 bits"),
    ("1e999", "not JSON"),
    ('{"a":1,"b":2,"a":3}', "'a' stands twice"),
    (f'{{"$oid":"{HEX}","$oid":"{HEX}"}}', "'$oid' stands twice"),
    ("[" * 100_000, "not JSON"),
    ("[" * 188 + "]" * 188, "nested deeper than 180"),
    ('{"a":' * 187 + "1" + "}" * 187, "nested deeper than 180"),
    ("[" * 1000 + "]" * 1000, "nested deeper than 180"),
    ('{"$oid":"zz"}', "not a valid $oid"),
    ('{"$oid":5}', "not a valid $oid"),
    (f'{{"$oid":"{HEX}","x":1}}', "$oid stands beside 'x'"),
    ('{"$date":5,"x":1}', "$date stands beside 'x'"),
    ('{"$date":"yesterday"}', "not a valid $date"),
    ('{"$date":"2026-01-01T00:00:00"}', "not a valid $date"),
    ('{"$date":"9999-12-31T23:59:59-05:00"}', "not a valid $date"),
    ('{"$date":true}', "not a valid $date"),
    ('{"$date":1.5}', "not a valid $date"),
    ('{"$numberInt":7}', "not a valid $numberInt"),
    ('{"$numberInt":"2147483648"}', "not a valid $numberInt"),
    ('{"$numberInt":"%s"}' % ("9" * 5000), "not a valid $numberInt"),
    ('{"$numberLong":"9223372036854775808"}', "not a valid $numberLong"),
    ('{"$numberLong":"%s"}' % ("9" * 5000), "not a valid $numberLong"),
    ('{"$numberDouble":"1_0"}', "not a valid $numberDouble"),
    ('{"$numberDouble":"1.2.3"}', "not a valid $numberDouble"),
    ('{"$numberDecimal":"x"}', "not a valid $numberDecimal"),
    ('{"$numberDecimal":"1e99999"}', "not a valid $numberDecimal"),
    ('{"$binary":"AAE="}', "not a valid $binary"),
    ('{"$binary":{"base64":"AAE="}}', "not a valid $binary"),
    ('{"$binary":{"base64":"!","subType":"00"}}', "not a valid $binary"),
    ('{"$binary":{"base64":"","subType":"100"}}', "not a valid $binary"),
    ('{"$uuid":"zz"}', "not a valid $uuid"),
    ('{"$regularExpression":{"pattern":"a","options":"g"}}', "not a valid $regularExpression"),
    ('{"$regularExpression":{"pattern":"a\\u0000","options":""}}', "not a valid $regularExpression"),
    ('{"$timestamp":{"t":-1,"i":0}}', "not a valid $timestamp"),
    ('{"$timestamp":{"t":1.5,"i":0}}', "not a valid $timestamp"),
    ('{"$code":5}', "not a valid $code"),
    ('{"$code":"f()","$scope":[]}', "not a valid $code"),
    ('{"$scope":{}}', "not a valid $scope"),
    ('{"$minKey":0}', "not a valid $minKey"),
    ('{"$maxKey":"1"}', "not a valid $maxKey"),
    ('{"a":[{"b\\u0000c":1}]}', "a field name has no NUL character (at a.0)"),
    (b'{"\\u0000":1}', "a field name has no NUL character"),
    ('{"a":{"$code":"f()","$scope":{"b":{"\\u0000":1}}}}', "a field name has no NUL character"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[f"{text[:40]!r}" for text, _ in REFUSED])
def test_what_is_not_strict_extended_json_is_refused_and_the_reason_named(text: str | bytes, reason: str) -> None:
    with pytest.raises(ejson.EjsonError) as refused:
        ejson.decode(text)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_document_as_deep_as_mongodb_stores_is_accepted() -> None:
    text = '{"a":' * 180 + "1" + "}" * 180
    value = ejson.decode(text)
    assert ejson.depth(value) == 180
    assert ejson.encode(value).decode() == text


def test_depth_counts_objects_and_arrays_alike_and_an_empty_one_as_a_scalar() -> None:
    values: list[Any] = [1, {}, [], {"a": [1, {"b": 1}]}]
    assert [ejson.depth(value) for value in values] == [0, 0, 0, 3]


def test_a_key_has_the_same_text_however_the_client_wrote_it() -> None:
    ways: dict[str, list[str]] = {
        "7": ["7", '{"$numberInt":"7"}', '{"$numberLong":"7"}', " 7 "],
        '"é"': ['"é"', '"\\u00e9"'],
        f'{{"$oid":"{HEX}"}}': [f'{{"$oid":"{HEX.upper()}"}}', f'{{ "$oid" : "{HEX}" }}'],
        '{"$binary":{"base64":"YWI=","subType":"05"}}': ['{"$binary":{"subType":"5","base64":"YWI="}}'],
        '{"$date":"1970-01-01T00:00:01Z"}': [
            '{"$date":{"$numberLong":"1000"}}',
            '{"$date":"1970-01-01T01:00:01+01:00"}',
        ],
    }
    for text, forms in ways.items():
        assert {identity(ejson.decode(form)) for form in forms} == {text}


def test_different_keys_have_different_texts() -> None:
    keys = [
        1,
        1.0,
        "1",
        [1],
        {"a": 1},
        {"a": "1"},
        None,
        "null",
        True,
        "true",
        ObjectId(HEX),
        HEX,
        b"a",
        Binary(b"a", 5),
    ]
    assert len({identity(key) for key in keys}) == len(keys)


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(2**53 + 1, 2**63 - 1).map(Int64),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(10**12), 10**15).map(lambda ms: bson.decode(bson.encode({"d": DatetimeMS(ms)}), CODEC)["d"]),
    st.uuids(),
    st.binary(max_size=4),
    st.decimals(allow_nan=False, places=3, min_value=-(10**9), max_value=10**9).map(Decimal128),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
NAMES = st.text(st.characters(exclude_characters="$\0", exclude_categories=["Cs"]), max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@settings(max_examples=share(50), deadline=None, derandomize=True)
@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_document_is_the_same_bson_after_going_out_and_coming_in(document: dict[str, Any]) -> None:
    text = ejson.encode(document)
    assert json.loads(text) == ejson.plain(document)
    back = ejson.decode(text)
    assert bson.encode(back, codec_options=CODEC) == bson.encode(document, codec_options=CODEC)
    assert ejson.encode(back) == text


def test_a_frame_may_carry_what_looks_like_a_wrapper_and_is_a_stored_document() -> None:
    frame = ejson.decode_frame('{"changes":[{"document":{"_id":{"$oid":"' + HEX + '"},"a":{"$date":"soon"}}}]}')
    assert frame == {"changes": [{"document": {"_id": ObjectId(HEX), "a": {"$date": "soon"}}}]}
    with pytest.raises(ejson.EjsonError):
        ejson.decode_frame("{")


def test_a_frame_may_be_as_deep_as_a_stored_document_within_it() -> None:
    stored = "[" * 179 + "1" + "]" * 179
    frame = ejson.decode_frame('{"changes":[{"document":{"a":' + stored + "}}]}")
    assert ejson.depth(frame["changes"][0]["document"]) == ejson.MAX_DEPTH


def test_a_frame_may_be_as_deep_as_anything_that_is_shown() -> None:
    """A projection that puts a stored document into another one could be sent, and not be read by our own client."""
    deepest = ejson.SHOWN_DEPTH + ejson.AROUND
    assert ejson.depth(ejson.decode_frame("[" * deepest + "1" + "]" * deepest)) == deepest
    with pytest.raises(ejson.EjsonError, match="nested deeper than 254"):
        ejson.decode_frame("[" * (deepest + 1) + "1" + "]" * (deepest + 1))


@pytest.mark.parametrize("levels", [254, 255, 600, 20_000])
def test_what_is_computed_too_deep_to_be_shown_is_too_large(levels: int) -> None:
    """It was a bug of ours, `internal`, and both clients asked again for ever."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    if levels <= ejson.SHOWN_DEPTH:
        assert ejson.depth(json.loads(ejson.encode(value))) == levels
    else:
        with pytest.raises(TooLargeError, match="nested deeper than 254") as refused:
            ejson.encode(value)
        assert refused.value.details == {"limit": ejson.SHOWN_DEPTH}
    assert ejson.encode("\udcff") == '"\ufffd"'.encode()


def test_a_date_past_9999_holds_a_plain_integer() -> None:
    """Of an Int64 the driver encodes it with a deprecation warning, which Python will make an error."""
    value = ejson.decode('{"$date": {"$numberLong": "1125899906842624"}}')
    assert type(int(value)) is int
    assert int(value) == 2**50


SHOWN: list[tuple[Any, str]] = [
    (UNDEFINED_VALUE, '{"$undefined":true}'),
    (Symbol("a"), '{"$symbol":"a"}'),
    (Pointer("db.c", ObjectId(HEX)), '{"$dbPointer":{"$ref":"db.c","$id":{"$oid":"' + HEX + '"}}}'),
    (OddBinary(b"xx"), '{"$binary":{"base64":"eHg=","subType":"02"}}'),
    (OddRegex("a\udcff", "xi"), '{"$regularExpression":{"pattern":"a\ufffd","options":"xi"}}'),
    (Broken("a\udcffb"), '"a\ufffdb"'),
    (BrokenSymbol("\udcff"), '{"$symbol":"\ufffd"}'),
    ([Broken("\udcff"), 1, None], '["\ufffd",1,null]'),
    (Code("\udcff"), '{"$code":"\ufffd"}'),
    ({"\udcff": 1, b"\xfe".decode("utf-8", "surrogateescape"): 2}, '{"\\\\xff":1,"\\\\xfe":2}'),
    ({"\udcff": 1, "\\xff": 2}, '{"\\\\\\\\xff":1,"\\\\xff":2}'),
    (Repeated([("a", 1), ("b", 2), ("a", 3)]), '{"a":1,"b":2}'),
]
"""The table of docs/protocol.md of what is stored and JSON cannot say."""


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=ascii)
def test_what_json_cannot_say_is_shown_by_the_table_and_never_raises(value: Any, text: str) -> None:
    assert ejson.encode(value).decode() == text
    assert ejson.encode({"in": [value]}).decode() == '{"in":[' + text + "]}"
    assert json.loads(text) is not None


def test_what_somebody_made_is_not_mended() -> None:
    assert ejson.encode_strictly({"a": "b"}) == b'{"a":"b"}'
    with pytest.raises(TypeError):
        ejson.encode_strictly({"a": "\udcff"})


def test_a_byte_that_is_no_utf8_is_no_reason_to_take_what_is_no_bson() -> None:
    with pytest.raises(TypeError):
        ejson.encode({"a": Broken("\udcff"), "b": {1, 2}})


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=dt.UTC),
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        dt.datetime(2026, 2, 3, 4, 5, 6, 7000, tzinfo=dt.UTC),
        dt.datetime(2026, 2, 3, 4, 5, 6, 7890, tzinfo=dt.UTC),
        dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
    ],
)
def test_a_date_has_the_same_text_whatever_zone_it_is_given_in(moment: dt.datetime) -> None:
    if moment.year < 9999:
        elsewhere = moment.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
        assert elsewhere.tzinfo is not dt.UTC
        assert ejson.encode(elsewhere) == ejson.encode(moment)
    assert ejson.encode(moment.replace(tzinfo=None)) == ejson.encode(moment)
