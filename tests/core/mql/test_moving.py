"""Conditions that time moves: what is taken and what refused, and when a document leaves, by the expression itself."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.mql import moving
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.expressions.numbers import truthy
from realtime.core.mql.expressions.timezones import Zone
from realtime.core.mql.filters import Filter, compile_filter
from realtime.core.mql.moving import FOREVER, SINCE, shape_of, with_last
from realtime.core.mql.vision import Share, Vision
from realtime.errors import (
    InvalidFilterError,
    InvalidRequestError,
    ServiceError,
    TooLargeError,
    UnsupportedOperatorError,
    UnsupportedValueError,
)
from tests.chance import fresh_seed, share

NOW = "$$NOW"
BEGIN = 1_800_000_000
MINUTE = {"$subtract": [NOW, 60_000]}


def of(bound: Any, name: str = "$gte", path: str = "$at") -> dict[str, Any]:
    return {"$expr": {name: [path, bound]}}


def compiled(source: dict[str, Any], **more: Any) -> Filter:
    return compile_filter(source, moving=True, **more)


def leaves(source: dict[str, Any], value: Any, **more: Any) -> int:
    moved = compiled(source, **more).moving
    assert moved is not None
    return moved.leaves({} if value is Ellipsis else {"at": value})


def date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(BEGIN, dt.UTC) + dt.timedelta(milliseconds=round(seconds * 1000))


def truncated(bound: Any, unit: str, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"$dateTrunc": {"date": bound, "unit": unit, "binSize": size, **more}}


# ------------------------------------------------------------------------------------------------------------- leaving


@pytest.mark.parametrize(
    ("source", "value", "second"),
    [
        (of(MINUTE), date(0), 61),
        (of(MINUTE), date(0.001), 61),
        (of(MINUTE), date(0.999), 61),
        (of(MINUTE, "$gt"), date(0), 60),
        (of(MINUTE, "$gt"), date(0.001), 61),
        (of(NOW), date(5), 6),
        (of(NOW, "$gt"), date(5), 5),
        ({"$expr": {"$lte": [MINUTE, "$at"]}}, date(0), 61),
        ({"$expr": {"$lt": [MINUTE, "$at"]}}, date(0), 60),
        (of({"$dateSubtract": {"startDate": NOW, "unit": "week", "amount": Int64(1)}}), date(0), 604_801),
        (of({"$subtract": [NOW, {"$multiply": [2, 500]}]}), date(0), 2),
        (of({"$subtract": [NOW, Decimal128("1E+3")]}), date(0), 2),
        (of(truncated(NOW, "minute")), date(59), 60),
        (of(truncated(NOW, "minute"), "$gt"), date(0), 0),
        (of(truncated(NOW, "minute"), "$gt"), date(0.5), 60),
        (of(truncated(MINUTE, "hour", 1)), date(3599), 3660),
        (of(truncated(MINUTE, "minute", 5, timezone="+01:30")), date(0), 360),
    ],
)
def test_a_date_leaves_in_the_first_second_whose_bound_is_above_it(
    source: dict[str, Any], value: Any, second: int
) -> None:
    assert leaves(source, value) - BEGIN == second


@pytest.mark.parametrize(
    "value",
    [
        ...,
        None,
        MinKey(),
        5,
        1e300,
        "2099-01-01",
        {"a": date(9)},
        [date(9)],
        [],
        b"x",
        ObjectId("6b0e3a8673bf5369eb9c71f4"),
        True,
        False,
    ],
    ids=str,
)
def test_what_is_below_every_date_never_is_in(value: Any) -> None:
    """A text, an array of dates, true: MongoDB's expression compares types first."""
    assert leaves(of(MINUTE), value) <= 0


@pytest.mark.parametrize("value", [Timestamp(1, 1), Regex("x"), MaxKey()], ids=str)
def test_what_is_above_every_date_stays(value: Any) -> None:
    assert leaves(of(MINUTE), value) == FOREVER


def test_a_path_through_an_array_gives_an_array() -> None:
    moved = compiled(of(MINUTE, path="$in.at")).moving
    assert moved is not None
    assert moved.leaves({"in": [{"at": date(0)}]}) <= 0
    assert moved.leaves({"in": {"at": date(0)}}) == BEGIN + 61


def test_dates_that_no_position_reaches() -> None:
    assert leaves(of(MINUTE), DatetimeMS(2**62)) == FOREVER
    assert leaves(of(MINUTE), DatetimeMS(-(2**62))) <= 0
    assert leaves(of(truncated(NOW, "year", 100)), date(0)) == 4_102_444_800
    assert leaves(of(truncated(NOW, "year", 200)), date(0)) == FOREVER


def test_of_several_conditions_the_first_lets_it_go() -> None:
    source = {"$and": [of(MINUTE), {"a": 1, "$and": [of({"$subtract": [NOW, 10_000]})]}]}
    assert leaves(source, date(0)) == BEGIN + 11
    assert leaves({"$and": [of(MINUTE), of(MINUTE, path="$other")]}, date(0)) <= 0


def bound(chance: random.Random) -> Any:
    made: Any = chance.choice(
        (
            NOW,
            {"$subtract": [NOW, chance.choice((0, 1, 999, 1000, 1500, 60_000, 86_400_000))]},
            {
                "$dateSubtract": {
                    "startDate": NOW,
                    "unit": chance.choice(list(moving.UNITS)),
                    "amount": chance.choice((0, 1, 7)),
                }
            },
        )
    )
    if chance.random() < 0.5:
        unit = chance.choice(("millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"))
        more = {"startOfWeek": "tuesday"} if unit == "week" and chance.random() < 0.5 else {}
        if chance.random() < 0.4:
            more["timezone"] = chance.choice(("UTC", "-0230", "Somewhere"))
        made = truncated(made, unit, chance.choice((1, 2, 5, 7)), **more)
    return made


SOMEWHERE = {"Somewhere": Zone((0, (BEGIN - 20_000) * 1000, (BEGIN + 90_000) * 1000), (0, 7200, 3600))}


def test_a_document_is_in_until_then_by_the_same_expression_with_a_literal() -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    compared, rounds = 0, share(300)
    for _ in range(rounds):
        one = bound(chance)
        name = chance.choice(("$gte", "$gt", "$lte", "$lt"))
        sides = ["$at", one] if name in ("$gte", "$gt") else [one, "$at"]
        source = {"$expr": {name: sides}}
        selection = compiled(source, tables=SOMEWHERE)
        for _ in range(6):
            value = date(chance.choice((0.0, -0.001, 0.5)) + chance.choice((0, 1, 60, 3600, 86_400, -999_999)))
            assert selection.moving is not None
            second = selection.moving.leaves({"at": value})
            near = {second - 1, second, second + 1, BEGIN - 5, BEGIN + chance.randrange(-100_000, 100_000)}
            for at in (at for at in near if at >= SINCE and at < 2**32):
                asked = selection.asked_at(at)["$expr"]
                literal = compile_expression(asked, tables=SOMEWHERE)
                if NOW in str(asked):
                    raise AssertionError(asked)
                if at * 1000 > 2_100_000_000_000:
                    continue
                assert truthy(literal.value({"at": value})) is (at < second), (seed, source, value, at, second)
                compared += 1
    assert compared > 13 * rounds


def test_what_is_remembered_of_steps_is_bounded_and_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "MEMO", 3)
    selection = compiled(of(truncated(MINUTE, "minute")))
    assert selection.moving is not None
    for minutes in (0, 5, 2, 9, 0, 1, 2, 3, 5):
        for seconds in (0, 59):
            at = {"at": date(60 * minutes + seconds)}
            assert selection.moving.leaves(at) == BEGIN + 60 * minutes + 120


# --------------------------------------------------------------------------------------------------------------- zones


def test_a_zone_is_asked_for_and_until_it_is_told_nothing_is_decided() -> None:
    source = of(truncated(NOW, "day", 1, timezone="Somewhere"))
    selection = compiled(source)
    assert selection.zones == {"Somewhere": "$expr.$gte.1.$dateTrunc.timezone"}
    told = selection.told(SOMEWHERE)
    assert told.moving is not None
    assert told.moving.leaves({"at": date(0)}) == BEGIN + 14 * 3600
    assert leaves(of(truncated(NOW, "day", 1)), date(0)) == BEGIN + 16 * 3600
    assert selection.moving is not None
    with pytest.raises(UnsupportedValueError):
        selection.moving.leaves({"at": date(0)})


def test_a_zone_whose_clock_goes_back_over_midnight_is_refused() -> None:
    midnight = BEGIN - BEGIN % 86_400 + 86_400
    back = Zone((0, midnight * 1000 + 60_000), (0, -3600))
    source = of(truncated(NOW, "day", 1, timezone="Back"))
    with pytest.raises(UnsupportedOperatorError, match="would go back when the clocks of Back"):
        compiled(source, tables={"Back": back})
    before = Zone((0, (SINCE // 86_400 - 300) * 86_400_000 + 60_000), (0, -3600))
    assert leaves(source, date(0), tables={"Back": before}) == BEGIN + 17 * 3600, "that was before any position"
    later = of(
        truncated({"$dateSubtract": {"startDate": NOW, "unit": "day", "amount": 400}}, "day", 1, timezone="Back")
    )
    with pytest.raises(UnsupportedOperatorError, match="would go back"):
        compiled(later, tables={"Back": before})


def test_what_is_known_of_a_zone_has_an_end() -> None:
    zoned = {"Somewhere": Zone((0,), (3600,))}
    selection = compiled(of(truncated(NOW, "day", 1, timezone="Somewhere")), tables=zoned)
    assert selection.moving is not None
    end = selection.moving.leaves({"at": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)})
    assert dt.datetime.fromtimestamp(end, dt.UTC).year == 2037
    assert selection.moving.leaves({"at": dt.datetime(2037, 12, 30, tzinfo=dt.UTC)}) == end
    assert selection.moving.last == end
    assert "after 2037" in selection.moving.unknown().message
    assert selection.moving.leaves({"at": dt.datetime(1999, 1, 1, tzinfo=dt.UTC)}) == 0
    bins = compiled(of(truncated(NOW, "year", 10, timezone="Somewhere")), tables=zoned)
    assert bins.moving is not None
    assert bins.moving.leaves({"at": dt.datetime(2021, 1, 1, tzinfo=dt.UTC)}) == 1_893_452_400, "not before 2030"


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("source", "place", "said"),
    [
        (of(MINUTE, "$lt"), "$expr.$lt.1", "enter as time goes on"),
        ({"$expr": {"$gte": [MINUTE, "$at"]}}, "$expr.$gte.0", "enter as time goes on"),
        (of(MINUTE, "$eq"), "$expr.$eq.1.$subtract.0", "condition of its own"),
        ({"$or": [of(MINUTE), {"a": 1}]}, "$or.0.$expr.$gte.1.$subtract.0", "condition of its own"),
        ({"$nor": [{"$and": [of(MINUTE)]}]}, "$nor.0.$and.0.$expr.$gte.1.$subtract.0", "condition of its own"),
        ({"$expr": {"$and": [{"$gte": ["$at", MINUTE]}]}}, "$expr.$and.0.$gte.1.$subtract.0", "condition of its own"),
        (of(MINUTE, path="$$ROOT.at"), "$expr.$gte.1.$subtract.0", "condition of its own"),
        (of({"$add": [NOW, -1]}), "$expr.$gte.1.$add.0", "condition of its own"),
        (of({"$subtract": [NOW, NOW]}), "$expr.$gte.1.$subtract.1", "condition of its own"),
        (of(truncated(truncated(NOW, "day"), "week")), "$expr.$gte.1.$dateTrunc.date.$dateTrunc.date", "condition of"),
        (of({"$subtract": [NOW, "$n"]}), "$expr.$gte.1.$subtract.1", "has to be a constant"),
        (of(truncated(NOW, "$unit")), "$expr.$gte.1.$dateTrunc.unit", "has to be a constant"),
        (
            of({"$dateSubtract": {"startDate": NOW, "unit": "month", "amount": 1}}),
            "$expr.$gte.1.$dateSubtract.unit",
            "week",
        ),
        (
            of({"$dateSubtract": {"startDate": NOW, "unit": "day", "amount": 1, "timezone": "UTC"}}),
            "$expr.$gte.1.$dateSubtract.timezone",
            "leave it out",
        ),
        (of("$$CLUSTER_TIME"), "$expr.$gte.1", "cluster's clock"),
        ({"$expr": {"$lt": [{"$rand": {}}, 0.5]}}, "$expr.$lt.0.$rand", "by chance"),
        (of(truncated(NOW, "day", timezone="Back")), "$expr.$gte.1", "before 1970"),
    ],
)
def test_what_is_refused_is_named_with_its_place(source: dict[str, Any], place: str, said: str) -> None:
    tables = {"Back": Zone((), ())}
    with pytest.raises(UnsupportedOperatorError, match=said) as refused:
        compiled(source, tables=tables)
    assert refused.value.details is not None
    assert refused.value.details["path"] == place


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (of({"$subtract": [NOW, -1]}), "0 to 18300 days"),
        (of({"$subtract": [NOW, 1.5]}), "whole number"),
        (of({"$subtract": [NOW, True]}), "whole number"),
        (of({"$dateSubtract": {"startDate": NOW, "unit": "week", "amount": 9999}}), "0 to 18300 days"),
        (of({"$dateSubtract": {"startDate": NOW, "unit": "day", "amount": "1"}}), "whole number"),
        (of({"$dateSubtract": {"startDate": NOW, "unit": "day"}}), "needs amount"),
        (of(truncated(NOW, "day", 0)), "above zero"),
        (of(truncated(NOW, "day", timezone=None)), "a bound is a date"),
        (of({"$subtract": [NOW, None]}), "whole number"),
        (of(MINUTE, path="$a..b"), "no path"),
        (of({"$subtract": [NOW, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)]}), "whole number"),
        (of(truncated(NOW, "fortnight")), "takes a unit"),
    ],
)
def test_what_mongodb_would_not_take_either_is_invalid(source: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidFilterError, match=said):
        compiled(source)


def test_without_leave_it_is_refused_as_anywhere_else() -> None:
    with pytest.raises(UnsupportedOperatorError, match="condition of its own"):
        compile_filter(of(MINUTE))
    with pytest.raises(UnsupportedOperatorError, match="whole document"):
        compiled({"a": {"$elemMatch": {"$expr": {"$gte": ["$at", NOW]}}}})


@pytest.mark.parametrize(
    "source", [1, {"$gte": 1}, {"$gte": [1, 2]}, {"$gte": ["$a"]}, {"a": 1, "b": 2}, {"$gte": ["$a", {}]}]
)
def test_what_has_another_shape_is_none(source: Any) -> None:
    assert shape_of(source) is None


# ----------------------------------------------------------------------------------------------------------- the filter


def test_the_filter_says_nothing_of_it_by_itself_and_reads_its_path() -> None:
    selection = compiled({"a": 1, **of(MINUTE, path="$in.0.at")})
    assert selection.matches({"a": 1})
    assert not selection.matches({"a": 2})
    assert selection.paths == selection.named == {"a", "in.at"}
    assert selection.moving is not None
    assert selection.moving.paths == {"in.0.at"}
    assert not selection.computes, "a document costs no more than by any other condition"
    assert compiled({"a": 1}).moving is None
    assert compiled({"a": 1}).asked_at(5) == {"a": 1}


def test_what_mongodb_is_asked_has_the_second_in_its_place_and_nowhere_else() -> None:
    text = {"$eq": ["$s", {"$literal": NOW}]}
    source = {"s": NOW, "$and": [{"$expr": text}, {"a": 1, **of(truncated(MINUTE, "day"))}], **of(NOW)}
    at = dt.datetime.fromtimestamp(BEGIN, dt.UTC)
    assert compiled(source).asked_at(BEGIN) == {
        "s": NOW,
        "$and": [{"$expr": text}, {"a": 1, **of(truncated({"$subtract": [at, 60_000]}, "day"))}],
        **of(at),
    }
    assert source["$expr"] == {"$gte": ["$at", NOW]}, "what was asked stays as it was"


def test_under_a_rule_it_is_asked_of_what_is_seen() -> None:
    vision = Vision.of([Share(compile_filter({"owner": "me"}))])
    effective = vision.ruled(compiled(of(MINUTE)))
    assert effective.moving is not None
    assert effective.moving.leaves({"at": date(0)}) == BEGIN + 61
    assert effective.matches({"owner": "me"})
    assert not effective.matches({"owner": "you"})
    at = dt.datetime.fromtimestamp(BEGIN, dt.UTC)
    assert (effective.rule, effective.asked_at(BEGIN)) == ({"owner": "me"}, of({"$subtract": [at, 60_000]}))
    assert effective.spoken(effective.dialect).moving is effective.moving


def test_a_value_that_costs_too_much_ends_it_as_any_expression_does() -> None:
    moved = compiled(of(MINUTE)).moving
    assert moved is not None
    with pytest.raises(TooLargeError) as error:
        moved.leaves({"_id": 1, "at": "x" * 20_000_000})
    assert error.value.details == {"operator": "$at", "key": 1}


# ----------------------------------------------------------------------------------------------------------- short form


def test_last_is_short_for_the_condition() -> None:
    expected = of({"$subtract": [NOW, 900_000]}, path="$in.at")
    last = {"path": "in.at", "seconds": 900}
    assert with_last(None, last) == expected
    assert with_last({"a": 1}, last) == {"a": 1, **expected}
    assert with_last({"$expr": True}, last) == {"$and": [{"$expr": True}, expected]}
    long = compiled({"$and": [{"a": 1}, expected]})
    assert compiled(with_last({"a": 1}, {**last, "seconds": Int64(900)})).canonical == long.canonical


@pytest.mark.parametrize(
    ("last", "field"),
    [
        ([], "last"),
        ({"path": "a"}, "last"),
        ({"path": "a", "seconds": 1, "more": 1}, "last"),
        ({"path": 1, "seconds": 1}, "last.path"),
        ({"path": "", "seconds": 1}, "last.path"),
        ({"path": "a..b", "seconds": 1}, "last.path"),
        ({"path": "$a", "seconds": 1}, "last.path"),
        ({"path": "a\0", "seconds": 1}, "last.path"),
        ({"path": "a", "seconds": 0}, "last.seconds"),
        ({"path": "a", "seconds": True}, "last.seconds"),
        ({"path": "a", "seconds": "1"}, "last.seconds"),
        ({"path": "a", "seconds": 2_000_000_000}, "last.seconds"),
    ],
)
def test_what_is_wrong_with_last_is_named(last: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        with_last({}, last)
    assert error.value.details == {"field": field}
    assert isinstance(error.value, ServiceError)
