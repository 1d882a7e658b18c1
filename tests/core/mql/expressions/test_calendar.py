"""The calendar against Python's own over all its years, and time zones around their changes."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from realtime.core.mql.expressions.calendar import (
    DAY,
    day_of,
    day_of_year,
    days_of,
    iso_text,
    iso_week,
    length_of,
    parts_of,
    stamp_text,
    sunday_week,
    weekday,
)
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.expressions.moments import date_of
from realtime.core.mql.expressions.outcomes import UnsupportedError
from realtime.core.mql.expressions.parsing import Written, iso_date
from realtime.core.mql.expressions.timezones import (
    LAST,
    UTC,
    UnknownTimeError,
    Zone,
    fixed_zone,
    is_name,
    search,
    zone_of,
)
from realtime.errors import UnsupportedValueError

EPOCH = dt.date(1970, 1, 1)


def test_days_are_pythons() -> None:
    chance = random.Random(1)
    first, last = (dt.date.min - EPOCH).days, (dt.date.max - EPOCH).days
    for days in [first, last, 0, -1, *(chance.randint(first, last) for _ in range(3000))]:
        date = EPOCH + dt.timedelta(days)
        assert day_of(days) == (date.year, date.month, date.day)
        assert days_of(date.year, date.month, date.day) == days
        assert (weekday(days), iso_week(days)) == (date.isoweekday(), date.isocalendar()[:2])
        assert day_of_year(days) == date.timetuple().tm_yday
        assert sunday_week(days) == int(date.strftime("%U"))
        assert iso_text(days * DAY + 1) == f"{date.year:04}-{date:%m-%d}T00:00:00.001Z"


def test_months_go_on_beyond_their_year_and_far_years_are_no_text() -> None:
    assert days_of(2020, 14, 1) == days_of(2021, 2, 1)
    assert days_of(2020, 0, 1) == days_of(2019, 12, 1)
    assert [length_of(year, 2) for year in (1900, 2000, 2023, 2024)] == [28, 29, 28, 29]
    assert length_of(2023, 4) == 30
    assert iso_text(253_402_300_800_000) is None
    assert parts_of(-1).millisecond == 999
    assert stamp_text(1, 26) == "Jan  1 00:00:01:26"


def test_fixed_zones_and_names() -> None:
    assert fixed_zone("UTC") is fixed_zone("GMT") is UTC
    offsets = [zone.offset(-(10**15)) for name in ("+05:30", "-0330", "+05") if (zone := fixed_zone(name))]
    assert offsets == [19_800, -12_600, 18_000]
    assert [fixed_zone(name) for name in ("-5", "Z", "Europe/Berlin", "")] == [None] * 4
    assert [is_name(name) for name in ("Europe/Berlin", "Etc/GMT+5", "a b", "")] == [True, True, False, False]
    fixed = fixed_zone("+01")
    assert fixed is not None
    assert fixed.utc(fixed.local(5)) == 5


def test_a_zone_around_its_changes() -> None:
    """Berlin in 2021: at 1:00 in Greenwich the clock goes to 3:00 in March, and back to 2:00 in October."""
    march, october = 1_616_893_200_000, 1_635_642_000_000
    berlin = zone_of([(0, 3600), (5, 3600), (march, 7200), (october, 3600)])
    assert berlin.starts == (0, march, october)
    assert [berlin.offset(time) for time in (march - 1, march, october - 1, october)] == [3600, 7200, 7200, 3600]
    half = 1_800_000
    skipped, twice = march + 3_600_000 + half, october + 3_600_000 + half
    assert berlin.utc(skipped) == march + half
    assert berlin.utc(twice) == october + half
    for local in (march - DAY, march + DAY * 5, october + 3 * DAY):
        assert berlin.local(berlin.utc(local)) == local
    for time in (-1, LAST):
        with pytest.raises(UnknownTimeError):
            berlin.offset(time)


@pytest.mark.parametrize(
    ("start", "end", "offsets", "hours"),
    [
        (1_136_074_800, 1_151_712_000, (39_600, 37_800), 4343),
        (1_277_942_400, 1_136_073_600, (37_800, 39_600), -39_407),
        (1_136_074_800, 1_262_304_000, (-14_400, -16_200), 35_063),
        (1_277_942_400, 1_593_561_600, (-16_200, -14_400), 87_673),
        (1_616_893_199, 1_616_893_200, (3600, 7200), 1),
    ],
)
def test_hours_apart_where_the_clock_was_turned(start: int, end: int, offsets: tuple[int, int], hours: int) -> None:
    """Lord Howe, Caracas and Berlin, in seconds: as mongod 6.0.5 and 6.0.27 count them, half an hour cut away."""
    change = 1000 * (start + end) // 2 if abs(end - start) > 1 else 1000 * end
    zone = zone_of([(0, offsets[start > end]), (change, offsets[start < end])])
    source = {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "hour", "timezone": "Some/Place"}}
    expression = compile_expression(source, tables={"Some/Place": zone})
    assert expression.value({"a": date_of(1000 * start), "b": date_of(1000 * end)}) == hours


@pytest.mark.parametrize(("start", "offset"), [(0, 3600), (0, -2670), (-(2**40), 3600)])
def test_minutes_apart_are_not_certain_where_clocks_were_apart_by_seconds(start: int, offset: int) -> None:
    source = {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "minute", "timezone": "Some/Place"}}
    expression = compile_expression(source, tables={"Some/Place": zone_of([(0, offset)])})
    dates = {"a": date_of(start), "b": date_of(10_000_000)}
    if (start, offset) == (0, 3600):
        assert expression.value(dates) == 166
    else:
        with pytest.raises(UnsupportedValueError):
            expression.value(dates)


def found(wanted: Zone) -> tuple[Zone, int]:
    """By asking a server that has this zone, and of how many times it was asked."""
    looking, asked = search(), 0
    times = next(looking)
    try:
        while True:
            asked += len(times)
            times = looking.send([wanted.offset(min(time, LAST - 1)) for time in times])
    except StopIteration as end:
        return end.value, asked


def test_a_zone_is_found_by_its_offsets_at_some_of_its_times() -> None:
    """A change at an hour, one at an odd minute, two within one day; nothing is asked on which nothing hangs."""
    minutes = 5 * DAY + 60_000
    wanted = zone_of([(0, 3600), (DAY + 3_600_000, 7200), (minutes, -2670), (minutes + DAY // 2, 0)])
    zone, asked = found(wanted)
    assert zone == wanted
    assert len(zone.starts) == 4
    assert LAST // DAY < asked < LAST // DAY + 500


def test_a_zone_that_never_changes_is_one_question() -> None:
    assert found(zone_of([(0, 0)])) == (zone_of([(0, 0)]), LAST // DAY + 1)


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.5", 500),
        ("1969-12-31T23:30:00-0030", 0),
    ],
)
def test_dates_of_iso_8601(text: str, millis: int) -> None:
    assert iso_date("$toDate", text).millis == millis


@pytest.mark.parametrize("text", ["", "Jan 5 2021", "2021W05", "@1234567", "2021-02-30", "2021-01-01T25:00:00", "2021"])
def test_other_texts_are_not_guessed(text: str) -> None:
    with pytest.raises(UnsupportedError):
        iso_date("$toDate", text)


def test_a_text_says_its_zone_or_none() -> None:
    assert iso_date("$toDate", "1970-01-01T00:00:01") == Written(1000, None)
    assert iso_date("$toDate", "1970-01-01T00:00:01Z") == Written(1000, 0)
