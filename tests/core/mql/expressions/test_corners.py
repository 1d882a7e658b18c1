"""Corners that memory gets wrong (`corners/`), and what is not certain, or different between versions."""

from __future__ import annotations

from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128

from realtime.core.bson.stored import Broken
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.operators import type_code
from realtime.errors import InvalidDocumentError, UnsupportedValueError
from tests.core.mql.expressions.corners import (
    DATE,
    HALF,
    INF,
    LEAST,
    MOST,
    NAN,
    SIGNALING,
    Case,
    Failure,
    collections,
    date,
    dates,
    numbers,
    of,
    rearranged,
    strings,
    types,
)

BY_HEADING = (numbers, collections, strings, types, dates, rearranged)
CASES: list[Case] = [case for heading in BY_HEADING for case in heading.CASES]
FAILING: list[Failure] = [case for heading in BY_HEADING for case in heading.FAILING]
OLD = Dialect(adds_pair_by_pair=False, six_digits=True)


def value(source: Any, dialect: Dialect | None = None, **document: Any) -> Any:
    return compile_expression(source, dialect=dialect or Dialect()).value(document)


@pytest.mark.parametrize(("source", "document", "expected"), CASES, ids=[str(case[0])[:60] for case in CASES])
def test_a_value_has_its_type_too(source: Any, document: dict[str, Any], expected: Any) -> None:
    found = value(source, **document)
    assert (type_code(found), repr(found)) == (type_code(expected), repr(expected))


@pytest.mark.parametrize(("source", "document"), FAILING, ids=[str(case)[:70] for case in FAILING])
def test_a_failure_is_one_and_names_its_operator(source: Any, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocumentError) as failed:
        value(source, **document)
    assert failed.value.details is not None
    assert failed.value.details["operator"].startswith("$")


@pytest.mark.parametrize(
    ("source", "document"),
    [
        *(
            (of(name, "a"), {"a": Decimal128("1")})
            for name in ("$exp", "$ln", "$log10", "$sin", "$acos", "$degreesToRadians")
        ),
        (of("$sin", "a"), {"a": Decimal128("NaN")}),
        (of("$log", "a", "b"), {"a": Decimal128("8"), "b": 2}),
        (of("$log", "a", "b"), {"a": 2, "b": SIGNALING}),
        (of("$pow", "a", "b"), {"a": Decimal128("8"), "b": 2}),
        (of("$atan2", "a", "b"), {"a": Decimal128("8"), "b": 2}),
        ({"$toDate": "$a"}, {"a": "Jan 5 2021"}),
        *((of(name, "a"), {"a": Broken("\udcff")}) for name in ("$toLower", "$toInt", "$toString", "$concat")),
        ({"$replaceAll": {"input": "$a", "find": "", "replacement": "x"}}, {"a": "é"}),
        ({"$zip": {"inputs": ["$a"], "useLongestLength": True, "defaults": ["$b"]}}, {"a": [1]}),
        ({"$dateFromString": {"dateString": "$a"}}, {"a": "Jan 5 2021"}),
        ({"$dateFromString": {"dateString": "$a", "format": "%Y-%m-%d%z"}}, {"a": "2021-01-01EST"}),
        ({"$dateFromString": {"dateString": "$a", "format": "%Y-%m-%d%Z"}}, {"a": "2021-01-01+1234567890"}),
        ({"$dateFromString": {"dateString": "$a", "format": "%Y-%m-%d"}}, {"a": "2021-01-01\0"}),
        ({"$dateToString": {"date": DATE, "format": "$a"}}, {"a": Broken("\udcff")}),
        *((of(name, "a"), {"a": NAN}) for name in ("$toUpper", "$toLower")),
        ({"$setEquals": ["$a", "$b", [1]]}, {"a": [2], "b": 5}),
        ({"$setEquals": ["$a", {"$setUnion": []}, "$b"]}, {"a": [1], "b": 5}),
        (
            {"$setField": {"field": "a", "input": {"$unsetField": {"field": "a", "input": "$o"}}, "value": 1}},
            {"o": {"a": 1, "b": 2}},
        ),
        (of("$arrayToObject", "a"), {"a": [{"k": Broken("\udcff"), "v": 1}]}),
        ({"$dateFromString": {"dateString": "2021", "format": "$a", "onError": 1}}, {"a": Broken("\udcff")}),
    ],
)
def test_what_is_not_certain_is_said(source: Any, document: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedValueError):
        value(source, **document)


@pytest.mark.parametrize(
    ("source", "document", "expected"),
    [
        (of("$add", "a", "b"), {"a": 0.1, "b": Decimal128("0.1")}, Decimal128("0.2000000000000000055511151231257827")),
        (of("$add", "a", "b", "c"), {"a": MOST, "b": 1, "c": -1}, MOST),
        (of("$add", "a", "b"), {"a": HALF, "b": 2.5}, date(1577836800502)),
        (of("$add", "a", "b"), {"a": HALF, "b": Decimal128("2.5")}, date(1577836800502)),
        (of("$add", "a", "b"), {"a": HALF, "b": Decimal128("NaN")}, DatetimeMS(-(2**63))),
        (of("$add", "a", "b"), {"a": 1, "b": 0.5}, 1.5),
        (of("$add", "a", "b"), {"a": INF, "b": -INF}, NAN),
        (of("$add", "a", "b"), {"a": INF, "b": Decimal128("1")}, Decimal128("Infinity")),
        (of("$add", "a", "b"), {"a": MOST, "b": MOST}, 1.8446744073709552e19),
        (of("$add", "a", "b"), {"a": 1}, None),
        (of("$subtract", "a", "b"), {"a": HALF, "b": 1.5}, date(1577836800499)),
        ({"$toString": "$a"}, {"a": 1 / 3}, "0.333333"),
        ({"$toString": "$a"}, {"a": 1234567.0}, "1.23457e+06"),
    ],
)
def test_what_6_0_5_has_of_its_own(source: Any, document: dict[str, Any], expected: Any) -> None:
    found = value(source, OLD, **document)
    assert (type_code(found), repr(found)) == (type_code(expected), repr(expected))


@pytest.mark.parametrize(
    ("source", "document"),
    [
        (of("$add", "a", "b"), {"a": DATE, "b": DATE}),
        (of("$add", "a", "b"), {"a": DATE, "b": NAN}),
        (of("$add", "a", "b"), {"a": "x", "b": 1}),
        (of("$subtract", "a", "b"), {"a": DATE, "b": INF}),
        (of("$subtract", "a", "b"), {"a": date(-7), "b": LEAST}),
        (of("$subtract", "a", "b"), {"a": date(-7), "b": Decimal128("-9223372036854775808")}),
    ],
)
def test_what_fails_on_6_0_5(source: Any, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocumentError):
        value(source, OLD, **document)
