"""Dates moved, told apart and cut: `$dateAdd`, `$dateSubtract`, `$dateDiff`, `$dateTrunc`.

Units from a day up go by the clock on the wall of the zone, shorter ones by the time that passes.
"""

from __future__ import annotations

from typing import Any

from bson.int64 import Int64

from realtime.core.mql.expressions.calendar import DAY, Parts, day_of, days_of, length_of, parts_of, weekday
from realtime.core.mql.expressions.compiling import Compiler, Node, form
from realtime.core.mql.expressions.dates import HEADING, at_time, folded, millis_in, zoned
from realtime.core.mql.expressions.moments import date_of
from realtime.core.mql.expressions.numbers import as_long, fits_long, nullish, type_name
from realtime.core.mql.expressions.outcomes import fail
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.timezones import UnknownTimeError, Zone

SHORT = {"hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1}
_DAYS = {"week": 7, "day": 1}
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
UNITS = (*_MONTHS, *_DAYS, *SHORT)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def unless_null(nodes: list[Node], scope: Scope) -> list[Any] | None:
    """Their values; None at the first that is null, behind which nothing is evaluated."""
    values = []
    for node in nodes:
        value = node.evaluate(scope)
        if nullish(value):
            return None
        values.append(value)
    return values


def _unit(name: str, value: Any) -> str:
    if type(value) is not str or value not in UNITS:
        fail(name, f"takes a unit of {', '.join(UNITS)}")
    return value


def _unit_by(name: str, unit: Any, first: Node, scope: Scope) -> tuple[str, int] | None:
    """The unit, and the day on which weeks begin; None where that is null, which is asked of weeks alone."""
    named = _unit(name, unit)
    if named != "week":
        return named, 7
    given = first.evaluate(scope)
    return None if nullish(given) else (named, _first_day(name, given))


def _first_day(name: str, value: Any) -> int:
    """Of a week, from Monday, 1, to Sunday, 7."""
    if type(value) is str:
        for number, day in enumerate(_WEEKDAYS, 1):
            if value.lower() in {day, day[:3]}:
                return number
    return fail(name, "takes a day of the week for startOfWeek")


# -------------------------------------------------------------------------------------------------------------- moving


@form(HEADING, "$dateAdd", "$dateSubtract")
def date_add(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """A date so many units later or earlier; a day that a month lacks is its last."""
    needs = ("startDate", "unit", "amount")
    given = compiler.fields(name, operand, here, needs=needs, takes=("timezone",))
    nodes = [compiler.compile(given[one], f"{here}.{one}") for one in needs]
    zone, sign = zoned(compiler, name, given, here), 1 if name == "$dateAdd" else -1

    def move(scope: Scope) -> Any:
        given_values = unless_null(nodes, scope)
        if given_values is None or zone is None:
            return None
        start, unit, amount = given_values
        millis, unit = millis_in(name, start), _unit(name, unit)
        number = as_long(amount)
        if number is None:
            fail(name, f"takes a whole number for amount, not {type_name(amount)}")
        if sign < 0 and number == -(2**63):
            fail(name, "takes a larger amount")
        moved = at_time(name, _moved, name, millis, unit, sign * number, zone)
        # MongoDB counts whole seconds, of which the least date's begins beyond 64 bits.
        if not fits_long(moved) or (unit != "millisecond" and not fits_long(moved // 1000 * 1000)):
            fail(name, "gives a date that is too far away")
        return date_of(moved)

    return folded(compiler, Node(move, nodes=1 + sum(node.nodes for node in nodes)), nodes, zone, here)


_LONGEST = 2**64
_LENGTHS = {"year": 365 * DAY, "quarter": 90 * DAY, "month": 30 * DAY, "week": 7 * DAY, "day": DAY, **SHORT}


def _moved(name: str, millis: int, unit: str, amount: int, zone: Zone) -> int:
    if abs(amount) * _LENGTHS[unit] > _LONGEST:
        fail(name, "takes a smaller amount")
    # MongoDB's own: of a fraction of a second before 1970 a second is lost, in every unit but milliseconds.
    lost = 1000 if millis < 0 and millis % 1000 and unit != "millisecond" else 0
    if unit in SHORT:
        return millis - lost + amount * SHORT[unit]
    local = zone.local(millis)
    if unit in _DAYS:
        return zone.utc(local - lost + amount * _DAYS[unit] * DAY)
    by = amount * _MONTHS[unit]
    # Whether the month is too short is seen by the day before the second was lost.
    day = parts_of(local).day
    short = max(0, day - length_of(*_month_after(parts_of(local), by)))
    begun = parts_of(local - lost)
    days = days_of(*_month_after(begun, by), begun.day - short)
    return zone.utc(days * DAY + (local - lost) % DAY)


def _month_after(parts: Parts, by: int) -> tuple[int, int]:
    """The year and the month so many months later."""
    months = parts.year * 12 + parts.month - 1 + by
    return months // 12, months % 12 + 1


# --------------------------------------------------------------------------------------------------------- differences


@form(HEADING, "$dateDiff")
def date_diff(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """How many beginnings of a unit lie between two dates."""
    needs = ("startDate", "endDate", "unit")
    given = compiler.fields(name, operand, here, needs=needs, takes=("timezone", "startOfWeek"))
    nodes = [compiler.compile(given[one], f"{here}.{one}") for one in needs]
    first = compiler.compile(given.get("startOfWeek", "sunday"), f"{here}.startOfWeek")
    zone = zoned(compiler, name, given, here)

    def apart(scope: Scope) -> Any:
        given_values = unless_null(nodes, scope)
        if given_values is None or zone is None:
            return None
        start, end, unit = given_values
        by = _unit_by(name, unit, first, scope)
        if by is None:
            return None
        named, day = by
        one, other = (millis_in(name, value) for value in (start, end))
        number = at_time(name, _apart, one, other, named, day, zone)
        if not fits_long(number):
            fail(name, "takes dates that are too far apart")
        return Int64(number)

    parts = [*nodes, first]
    return folded(compiler, Node(apart, nodes=1 + sum(node.nodes for node in parts)), parts, zone, here)


def _apart(start: int, end: int, unit: str, first_day: int, zone: Zone) -> int:
    if unit == "millisecond":
        return end - start
    if unit == "second":
        return end // SHORT[unit] - start // SHORT[unit]
    one, other = zone.local(start), zone.local(end)
    if unit == "minute":
        # By the sun of a place clocks were not apart by whole minutes.
        if (one - start) % SHORT[unit] or (other - end) % SHORT[unit]:
            raise UnknownTimeError
        return end // SHORT[unit] - start // SHORT[unit]
    if unit == "hour":
        # Beginnings on the clock, and by how many whole hours it was turned; what is less is cut towards zero.
        turned = (one - start) - (other - end)
        hours = abs(turned) // SHORT[unit]
        return other // SHORT[unit] - one // SHORT[unit] + (hours if turned > 0 else -hours)
    days = one // DAY, other // DAY
    if unit == "day":
        return days[1] - days[0]
    if unit == "week":
        return (days[1] + 4 - first_day) // 7 - (days[0] + 4 - first_day) // 7 + 0
    months = [year * 12 + month - 1 for year, month, _ in map(day_of, days)]
    return months[1] // _MONTHS[unit] - months[0] // _MONTHS[unit]


# ------------------------------------------------------------------------------------------------------------- cutting

_REFERENCE = days_of(2000, 1, 1)


@form(HEADING, "$dateTrunc")
def date_trunc(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The beginning of so many units, counted from the year 2000 of the zone."""
    needs = ("date", "unit")
    given = compiler.fields(name, operand, here, needs=needs, takes=("binSize", "timezone", "startOfWeek"))
    nodes = [compiler.compile(given[one], f"{here}.{one}") for one in needs]
    size = compiler.compile(given.get("binSize", 1), f"{here}.binSize")
    first = compiler.compile(given.get("startOfWeek", "sunday"), f"{here}.startOfWeek")
    zone = zoned(compiler, name, given, here)

    def cut(scope: Scope) -> Any:
        given_values = unless_null([nodes[0], size, nodes[1]], scope)
        if given_values is None or zone is None:
            return None
        date, bins, unit = given_values
        by = _unit_by(name, unit, first, scope)
        if by is None:
            return None
        named, day = by
        millis, count = millis_in(name, date), as_long(bins)
        if count is None or count < 1:
            fail(name, "takes a whole number above zero for binSize")
        if not fits_long(SHORT[named] * count) if named in SHORT else count > 100_000_000_000:
            fail(name, "takes a smaller binSize")
        made = at_time(name, _cut, millis, named, count, day, zone)
        if not fits_long(made):
            fail(name, "gives a date that is too far away")
        return date_of(made)

    parts = [*nodes, size, first]
    return folded(compiler, Node(cut, nodes=1 + sum(node.nodes for node in parts)), parts, zone, here)


def _cut(millis: int, unit: str, count: int, first_day: int, zone: Zone) -> int:
    if unit in SHORT:
        begin, length = zone.utc(_REFERENCE * DAY), SHORT[unit] * count
        return begin + (millis - begin) // length * length
    days = zone.local(millis) // DAY
    if unit in _DAYS:
        begin, length = _REFERENCE, _DAYS[unit] * count
        if unit == "week":
            begin += (first_day - weekday(_REFERENCE)) % 7
        return zone.utc((begin + (days - begin) // length * length) * DAY)
    year, month, _ = day_of(days)
    length = _MONTHS[unit] * count
    months = (year - 2000) * 12 + month - 1
    begun = months // length * length
    return zone.utc(days_of(2000 + begun // 12, begun % 12 + 1, 1) * DAY)
