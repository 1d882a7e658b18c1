"""Dates: their parts, what is made of parts, and text. A zone is a constant, whose offsets the server has told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson.values import DATE, rank_of
from realtime.core.mql.expressions.calendar import (
    DAY,
    Parts,
    day_of_year,
    days_of,
    iso_week,
    parts_of,
    sunday_week,
    week_day,
    weekday,
)
from realtime.core.mql.expressions.compiling import Compiler, Node, form
from realtime.core.mql.expressions.moments import date_of, millis_of
from realtime.core.mql.expressions.numbers import as_long, fits_long, nullish, type_name
from realtime.core.mql.expressions.outcomes import FailureError, fail, unsure
from realtime.core.mql.expressions.parsing import LETTERS, by_format, check_letters, iso_date
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.texts import text
from realtime.core.mql.expressions.timezones import UTC, UnknownTimeError, Zone, fixed_zone, is_name
from realtime.core.mql.language import invalid, unsupported

HEADING = "Date"
Read = Callable[[Any], Zone | None]


def millis_in(name: str, value: Any) -> int:
    """Of a date, a timestamp or an object id; fails for what has none."""
    if rank_of(value) == DATE:
        return millis_of(value)
    if type(value) is Timestamp:
        return int(value.time) * 1000
    if type(value) is ObjectId:
        return int.from_bytes(value.binary[:4], "big") * 1000
    return fail(name, f"takes a date, a timestamp or an object id, not {type_name(value)}")


# --------------------------------------------------------------------------------------------------------------- zones


def zoned(compiler: Compiler, name: str, given: dict[str, Any], here: str) -> Zone | None:
    """The zone of an operator, Greenwich without one; None where it is null, which makes everything null."""
    if "timezone" not in given:
        return UTC
    at = f"{here}.timezone"
    node = compiler.compile(given["timezone"], at)
    if not node.constant:
        unsupported(name, here, "takes a constant timezone here, whose offsets can be asked of the server")
    if nullish(node.value):
        return None
    if type(node.value) is not str:
        invalid(at, f"{name} takes a timezone that is text")
    fixed = fixed_zone(node.value)
    if fixed is not None:
        return fixed
    if not is_name(node.value):
        invalid(at, f"{name} knows no timezone {node.value[:40]!r}")
    compiler.zones.setdefault(node.value, at)
    return compiler.tables.get(node.value, UNTOLD)


UNTOLD = Zone((), ())
"""Of a zone whose offsets have not been asked yet."""


def at_time(name: str, call: Callable[..., Any], *given: Any) -> Any:
    """A call that asks a zone; not decided where the zone is not known."""
    try:
        return call(*given)
    except (UnknownTimeError, IndexError):
        unsure(name, "has a date before 1970 or after 2037, for which the offsets of a timezone are not asked")


# --------------------------------------------------------------------------------------------------------------- parts

PARTS: dict[str, Callable[[Parts], Any]] = {
    "$year": lambda parts: parts.year,
    "$month": lambda parts: parts.month,
    "$dayOfMonth": lambda parts: parts.day,
    "$hour": lambda parts: parts.hour,
    "$minute": lambda parts: parts.minute,
    "$second": lambda parts: parts.second,
    "$millisecond": lambda parts: parts.millisecond,
    "$dayOfYear": lambda parts: day_of_year(parts.days),
    "$dayOfWeek": lambda parts: weekday(parts.days) % 7 + 1,
    "$isoDayOfWeek": lambda parts: weekday(parts.days),
    "$week": lambda parts: sunday_week(parts.days),
    "$isoWeek": lambda parts: iso_week(parts.days)[1],
    "$isoWeekYear": lambda parts: Int64(iso_week(parts.days)[0]),
}


@form(HEADING, *PARTS)
def part(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """One part: of a date, or of `{date, timezone}`."""
    if isinstance(operand, dict) and not next(iter(operand), "").startswith("$"):
        given = compiler.fields(name, operand, here, needs=("date",), takes=("timezone",))
    else:
        if isinstance(operand, list) and len(operand) != 1:
            invalid(here, f"{name} takes one date")
        given = {"date": operand[0] if isinstance(operand, list) else operand}
    source = compiler.compile(given["date"], f"{here}.date")
    zone, pick = zoned(compiler, name, given, here), PARTS[name]
    read = source.evaluate

    def get(scope: Scope) -> Any:
        value = read(scope)
        if nullish(value):
            return None
        millis = millis_in(name, value)
        return None if zone is None else pick(parts_of(at_time(name, zone.local, millis)))

    return folded(compiler, Node(get, nodes=1 + source.nodes), [source], zone, here)


def folded(compiler: Compiler, node: Node, parts: list[Node], zone: Zone | None, here: str) -> Node:
    """Computed at once where all is constant, unless its zone is not told yet."""
    return node if zone is UNTOLD else compiler.folded(node, parts, here)


@form(HEADING, "$dateToParts")
def date_to_parts(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """All parts, by the calendar or by weeks."""
    given = compiler.fields(name, operand, here, needs=("date",), takes=("timezone", "iso8601"))
    source = compiler.compile(given["date"], f"{here}.date")
    weeks = compiler.compile(given.get("iso8601", False), f"{here}.iso8601")
    zone = zoned(compiler, name, given, here)

    def get(scope: Scope) -> Any:
        value = source.evaluate(scope)
        if zone is None:
            return None
        by_weeks = weeks.evaluate(scope)
        if nullish(by_weeks):
            return None
        if type(by_weeks) is not bool:
            fail(name, "takes true or false for iso8601")
        if nullish(value):
            return None
        parts = parts_of(at_time(name, zone.local, millis_in(name, value)))
        clock = {
            "hour": parts.hour, "minute": parts.minute, "second": parts.second, "millisecond": parts.millisecond
        }  # fmt: skip
        if by_weeks:
            year, week = iso_week(parts.days)
            return {"isoWeekYear": year, "isoWeek": week, "isoDayOfWeek": weekday(parts.days), **clock}
        return {"year": parts.year, "month": parts.month, "day": parts.day, **clock}

    return folded(compiler, Node(get, nodes=1 + source.nodes + weeks.nodes), [source, weeks], zone, here)


_CALENDAR, _WEEKS = ("year", "month", "day"), ("isoWeekYear", "isoWeek", "isoDayOfWeek")
_CLOCK = ("hour", "minute", "second", "millisecond")
_SHORT = range(-32768, 32768)
_MOST_MILLISECONDS = (2**63 - 1) // 1000
_LONG = frozenset({"year", "isoWeekYear", "second", "millisecond"})
"""Parts that are looked at as 64 bits."""


@form(HEADING, "$dateFromParts")
def date_from_parts(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Of parts, which may go on beyond their ends."""
    weeks = isinstance(operand, dict) and "isoWeekYear" in operand
    first, *rest = _WEEKS if weeks else _CALENDAR
    given = compiler.fields(name, operand, here, needs=(first,), takes=(*rest, *_CLOCK, "timezone"))
    names = [first, *rest, *_CLOCK]
    defaults = {first: None, **dict.fromkeys(rest, 1), **dict.fromkeys(_CLOCK, 0)}
    nodes = [compiler.compile(given.get(one, defaults[one]), f"{here}.{one}") for one in names]
    zone = zoned(compiler, name, given, here)
    # MongoDB looks at the clock first, then at the zone, and one of them that is null ends it.
    by_clock = [*zip(names[3:], nodes[3:], strict=True), *zip(names[:3], nodes[:3], strict=True)]

    def make(scope: Scope) -> Any:
        numbers: list[int] = []
        for one, node in by_clock:
            if one == first and zone is None:
                return None
            value = node.evaluate(scope)
            if nullish(value):
                return None
            numbers.append(_within(name, one, value))
        assert zone is not None
        hour, minute, second, millisecond, year, month, day = numbers
        if not 1 <= year <= 9999:
            fail(name, f"takes a {first} from 1 to 9999")
        days = week_day(year, month, day) if weeks else days_of(year, month, day)
        local = days * DAY + hour * 3_600_000 + minute * 60_000 + second * 1000 + millisecond
        if not fits_long(local):
            fail(name, "gives a date that is too far away")
        return date_of(at_time(name, zone.utc, local))

    total = 1 + sum(node.nodes for node in nodes)
    return folded(compiler, Node(make, nodes=total), nodes, zone, here)


def _within(name: str, part_name: str, value: Any) -> int:
    number = as_long(value)
    if number is None:
        fail(name, f"takes a whole number for {part_name}, not {type_name(value)}")
    if part_name not in _LONG and number not in _SHORT:
        fail(name, f"takes a {part_name} of at most 16 bits")
    if part_name == "millisecond" and abs(number) > _MOST_MILLISECONDS:
        fail(name, "takes fewer milliseconds: MongoDB has them as microseconds of 64 bits")
    return number


# ---------------------------------------------------------------------------------------------------------------- text


@form(HEADING, "$dateToString")
def date_to_string(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """By a format, or as ISO 8601."""
    given = compiler.fields(name, operand, here, needs=("date",), takes=("format", "timezone", "onNull"))
    source = compiler.compile(given["date"], f"{here}.date")
    on_null = compiler.compile(given.get("onNull"), f"{here}.onNull")
    zone = zoned(compiler, name, given, here)
    plain = "%Y-%m-%dT%H:%M:%S.%L" + ("Z" if zone is UTC else "")
    pattern = compiler.compile(given.get("format", plain), f"{here}.format")
    if "format" not in given and zone is not UTC:
        plain = "%Y-%m-%dT%H:%M:%S.%LZ"
        pattern = compiler.compile(plain, f"{here}.format")

    def show(scope: Scope) -> Any:
        value, form_ = source.evaluate(scope), pattern.evaluate(scope)
        if not nullish(form_):
            check_letters(name, form_, _SHOWN)
        if nullish(value):
            return on_null.evaluate(scope)
        if zone is None or nullish(form_):
            return None
        millis = millis_in(name, value)
        local = at_time(name, zone.local, millis)
        return formatted(name, form_, parts_of(local), (local - millis) // 60_000)

    parts = [source, on_null, pattern]
    return folded(compiler, Node(show, nodes=1 + sum(one.nodes for one in parts)), parts, zone, here)


_FORMATS: dict[str, Callable[[Parts, int], str]] = {
    "Y": lambda parts, _: f"{parts.year:04}",
    "m": lambda parts, _: f"{parts.month:02}",
    "d": lambda parts, _: f"{parts.day:02}",
    "H": lambda parts, _: f"{parts.hour:02}",
    "M": lambda parts, _: f"{parts.minute:02}",
    "S": lambda parts, _: f"{parts.second:02}",
    "L": lambda parts, _: f"{parts.millisecond:03}",
    "j": lambda parts, _: f"{day_of_year(parts.days):03}",
    "u": lambda parts, _: str(weekday(parts.days)),
    "w": lambda parts, _: str(weekday(parts.days) % 7 + 1),
    "U": lambda parts, _: f"{sunday_week(parts.days):02}",
    "V": lambda parts, _: f"{iso_week(parts.days)[1]:02}",
    "G": lambda parts, _: f"{iso_week(parts.days)[0]:04}",
    "z": lambda _, minutes: f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}",
    "Z": lambda _, minutes: str(minutes),
    "%": lambda _, __: "%",
}


_SHOWN = frozenset(_FORMATS)


def formatted(name: str, form_: str, parts: Parts, minutes: int) -> str:
    """By a format that was checked."""
    made, at = [], 0
    while at < len(form_):
        if form_[at] != "%":
            made.append(form_[at])
            at += 1
            continue
        letter = form_[at + 1]
        if letter in "YG" and not 0 <= (parts.year if letter == "Y" else iso_week(parts.days)[0]) <= 9999:
            fail(name, "makes no text of a date outside of the years 0 to 9999")
        made.append(_FORMATS[letter](parts, minutes))
        at += 2
    return "".join(made)


@form(HEADING, "$dateFromString")
def date_from_string(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """By a format, or of ISO 8601."""
    takes = ("format", "timezone", "onError", "onNull")
    given = compiler.fields(name, operand, here, needs=("dateString",), takes=takes)
    source, on_null, on_error, pattern = (
        compiler.compile(given.get(one), f"{here}.{one}") for one in ("dateString", "onNull", "onError", "format")
    )
    zone = zoned(compiler, name, given, here)
    by_iso = "format" not in given

    def read(scope: Scope) -> Any:
        value, form_ = source.evaluate(scope), pattern.evaluate(scope)
        if not nullish(form_):
            check_letters(name, form_, LETTERS)
        if nullish(value):
            return on_null.evaluate(scope)
        try:
            given_text = text(name, value)
            if zone is None or (nullish(form_) and not by_iso):
                return None
            return date_of(_time_in(name, given_text, form_, zone, zoned_="timezone" in given))
        except FailureError:
            if "onError" not in given:
                raise
            return on_error.evaluate(scope)

    parts = [source, on_null, on_error, pattern]
    return folded(compiler, Node(read, nodes=1 + sum(one.nodes for one in parts)), parts, zone, here)


def _time_in(name: str, given: str, form_: str | None, zone: Zone, *, zoned_: bool) -> int:
    written = iso_date(name, given) if nullish(form_) else by_format(name, given, str(form_))
    if written.offset is None:
        return int(at_time(name, zone.utc, written.local))
    # A zone of no offset is none to MongoDB, but for those that have a name, Greenwich's too.
    if zoned_ and (zone is UTC or not zone.fixed or zone.offsets[0]):
        fail(name, "has a text that names its zone, and a timezone")
    return written.millis
