"""Conditions that time moves: `{"$expr": {"$gte": ["$path", BOUND]}}`, where BOUND is `$$NOW` less a constant.

`$$NOW` is the second of a position. A bound only grows, so with time documents leave and never enter: of each it is
known when it leaves, and nothing has to be asked again until then. What is compared and how is MongoDB's expression,
by the same code as any other: over all types, and of a path through arrays the array.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from realtime.core.bson.values import DATE
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.calendar import DAY
from realtime.core.mql.expressions.compiling import Compiler, Node, compared
from realtime.core.mql.expressions.datemath import SHORT
from realtime.core.mql.expressions.evaluation import Named, Zones, told
from realtime.core.mql.expressions.moments import date_of
from realtime.core.mql.expressions.numbers import as_long
from realtime.core.mql.expressions.outcomes import FailureError, OutcomeError, UnsupportedError
from realtime.core.mql.expressions.scope import Bounds, Scope
from realtime.core.mql.expressions.timezones import LAST
from realtime.core.mql.language import invalid, unsupported
from realtime.errors import InvalidRequestError, UnsupportedValueError

NOW: Final = "$$NOW"
FOREVER: Final = 1 << 32
"""A second that no position has."""
MOST: Final = 50 * 366 * DAY
"""Milliseconds that a bound may lie before now: it is a date for which the offsets of zones are known."""
SINCE: Final = 1_704_067_200
"""2024-01-01: positions before that are nobody's, so what a zone's clock did before concerns no bound."""
UNITS: Final = {"week": 7 * DAY, "day": DAY, **SHORT}
MIRRORED: Final = {"$gte": "$lte", "$gt": "$lt"}
MEMO = 4096
"""Of a condition: stretches of dates that leave in one second."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A comparison of a field with a bound. `grows`: time makes it false and never true."""

    name: str
    sides: Sequence[Any]
    field: int
    """Which of the sides is the field; the other is the bound."""

    @property
    def grows(self) -> bool:
        """Whether the field has to be above."""
        return self.name in (MIRRORED if self.field == 0 else MIRRORED.values())

    @property
    def strict(self) -> bool:
        """Whether it may not be equal."""
        return self.name in {"$gt", "$lt"}

    def at(self, date: Any) -> dict[str, Any]:
        """The comparison with a date in place of `$$NOW`."""
        sides = [side if index == self.field else _at(side, date) for index, side in enumerate(self.sides)]
        return {self.name: sides}


def shape_of(source: Any) -> Shape | None:
    """The comparison that an expression is; None for any other."""
    if not isinstance(source, dict) or len(source) != 1:
        return None
    ((name, sides),) = source.items()
    if name in {*MIRRORED, *MIRRORED.values()} and type(sides) is list and len(sides) == 2:
        for field in (0, 1):
            if _is_path(sides[field]) and _at(sides[1 - field], NOW) is not None:
                return Shape(name, sides, field)
    return None


def _is_path(source: Any) -> bool:
    return type(source) is str and source.startswith("$") and not source.startswith("$$")


def _at(bound: Any, date: Any) -> Any:
    """A bound with a date in place of `$$NOW`; None for what is none."""
    if isinstance(bound, dict) and len(bound) == 1:
        operand = bound.get("$dateTrunc")
        if isinstance(operand, dict):
            moved = _moved(operand.get("date"), date)
            return None if moved is None else {"$dateTrunc": {**operand, "date": moved}}
    return _moved(bound, date)


def _moved(source: Any, date: Any) -> Any:
    """The same inside of a `$dateTrunc`."""
    if type(source) is str:
        return date if source == NOW else None
    if isinstance(source, dict) and len(source) == 1:
        ((name, operand),) = source.items()
        if name == "$subtract" and type(operand) is list and len(operand) == 2 and operand[0] == NOW:
            return {name: [date, operand[1]]}
        if name == "$dateSubtract" and isinstance(operand, dict) and operand.get("startDate") == NOW:
            return {name: {**operand, "startDate": date}}
    return None


def with_last(source: dict[str, Any] | None, last: Any) -> dict[str, Any]:
    """A filter with the condition that `last` is short for: `{path, seconds}`, dates at most so many seconds back.

    Raises `InvalidRequestError`; `details` names the field.
    """
    if not isinstance(last, dict) or last.keys() != {"path", "seconds"}:
        _refuse("last", "an object with path and seconds, and nothing else")
    path, seconds = last["path"], last["seconds"]
    if type(path) is not str or "\0" in path or any(part == "" or part[0] == "$" for part in path.split(".")):
        _refuse("last.path", "a path, such as created_at")
    number = None if isinstance(seconds, bool) else as_long(seconds)
    if number is None or not 0 < number <= MOST // 1000:
        _refuse("last.seconds", f"a whole number from 1 to {MOST // 1000}")
    condition = {"$gte": [f"${path}", {"$subtract": [NOW, number * 1000]}]}
    filter = {} if source is None else source  # noqa: A001 - the protocol's own word
    return {"$and": [filter, {"$expr": condition}]} if "$expr" in filter else {**filter, "$expr": condition}


def _refuse(field: str, reason: str) -> NoReturn:
    raise InvalidRequestError(f"{field}: {reason}", details={"field": field})


def pinned(source: dict[str, Any], second: int) -> dict[str, Any]:
    """A filter with this second's date in place of `$$NOW`, wherever that stands in a condition that it moves."""
    return {name: _pinned(name, value, second) for name, value in source.items()}


def _pinned(name: str, value: Any, second: int) -> Any:
    if name == "$and":
        return [pinned(part, second) for part in value]
    shape = shape_of(value) if name == "$expr" else None
    return value if shape is None else shape.at(date_of(second * 1000))


# ------------------------------------------------------------------------------------------------------------ compiling


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition with what it reads, `path` as it is written; `paths`, `asks`, `zones` as of an expression."""

    condition: Condition
    path: str
    paths: frozenset[str]
    asks: frozenset[str]
    zones: Named


def compile_moving(shape: Shape, here: str, dialect: Dialect, tables: Zones) -> Compiled:
    """Compile a comparison that stands at this place. `InvalidFilterError`, `UnsupportedOperatorError` name it."""
    at = f"{here}.{shape.name}.{1 - shape.field}"
    if not shape.grows:
        unsupported(NOW, at, "would let documents enter as time goes on: a field stands above a bound, $gte or $gt")
    compiler = Compiler(dialect, Bounds(), tables)
    path = compiler.compile(shape.sides[shape.field], f"{here}.{shape.name}.{shape.field}")
    with compiler.bound([NOW[2:]]) as (slot,):
        bound = compiler.compile(shape.sides[1 - shape.field], at)
    before = _before(compiler, shape.sides[1 - shape.field], at)
    variables = compiler.variables

    def millis(now: int) -> int:
        """The bound at a time; both in milliseconds."""
        scope = Scope({}, variables, compiler.bounds)
        scope.variables[slot] = date_of(now)
        rank, place = compared(bound.evaluate(scope))
        if rank != DATE:
            invalid(at, "a bound is a date, whatever the time is")
        return int(place)

    untold = compiler.zones.keys() - tables.keys()
    if not untold:
        _check(millis, before, {name: tables[name].starts for name in compiler.zones}, at)
    condition = Condition(
        lambda document: path.evaluate(Scope(document, variables, compiler.bounds)),
        millis,
        before=before,
        strict=shape.strict,
        first=SINCE if compiler.zones else -FOREVER,
        last=(LAST - 2 * DAY + before) // 1000 if compiler.zones else FOREVER,
    )
    field = shape.sides[shape.field][1:]
    return Compiled(condition, field, frozenset(compiler.paths), frozenset(compiler.asks), compiler.zones)


def _before(compiler: Compiler, bound: Any, here: str) -> int:
    """How many milliseconds a bound lies before now; refuses what is not a constant."""
    if bound == NOW:
        return 0
    ((name, operand),) = bound.items()
    here = f"{here}.{name}"
    if name == "$dateTrunc":
        for one, value in operand.items():
            if one != "date":
                _constant(compiler, value, f"{here}.{one}")
        return _before(compiler, operand["date"], f"{here}.date")
    if name == "$subtract":
        amount, place, unit = operand[1], f"{here}.1", "millisecond"
    else:
        if "timezone" in operand:
            unsupported(name, f"{here}.timezone", "would go back with a clock that is turned: leave it out")
        amount, place, unit = operand["amount"], f"{here}.amount", operand["unit"]
        if type(unit) is not str or unit not in UNITS:
            unsupported(name, f"{here}.unit", f"takes one of {', '.join(UNITS)} here, which are of one length each")
    number = as_long(_constant(compiler, amount, place).value)
    if number is None or not 0 <= number * UNITS[unit] <= MOST:
        invalid(place, f"a bound lies 0 to {MOST // DAY} days before {NOW}, by a whole number")
    return number * UNITS[unit]


def _constant(compiler: Compiler, source: Any, here: str) -> Node:
    node = compiler.compile(source, here)
    if not node.constant:
        unsupported(NOW, here, "stands in a bound, which is the same for every document: this has to be a constant")
    return node


def _check(millis: Callable[[int], int], before: int, turns: Mapping[str, Sequence[int]], here: str) -> None:
    """That there is a bound, and that it does not go back when a clock is turned back."""
    try:
        millis(SINCE * 1000)
        for name, starts in turns.items():
            for start in starts:
                now = start + before
                if now >= SINCE * 1000 and millis(now) < millis(now - 1):
                    unsupported(NOW, here, f"would go back when the clocks of {name} are turned back over midnight")
    except FailureError as failure:
        invalid(here, f"{failure.operator} fails whatever the document is: {failure.reason}")
    except UnsupportedError as outcome:
        unsupported(outcome.operator, here, outcome.reason)


# ----------------------------------------------------------------------------------------------------------- when it is


class Condition:
    """A value leaves in the first second whose bound is above it, or with `strict` not below it."""

    def __init__(
        self,
        value: Callable[[Mapping[str, Any]], Any],
        bound: Callable[[int], int],
        *,
        before: int,
        strict: bool,
        first: int,
        last: int,
    ) -> None:
        """`bound` takes and gives milliseconds, and is known from `first` on until `last`, in seconds."""
        self._value = value
        self._bound = bound
        self._before = before
        self._strict = strict
        self._first = first
        self.last = last
        self._starts: list[int] = []
        self._steps: dict[int, tuple[int, int]] = {}

    def leaves(self, document: Mapping[str, Any]) -> int:
        """The second; `FOREVER` of what is above every date, 0 or less of what is below."""
        rank, place = compared(self._value(document))
        if rank != DATE:
            return FOREVER if rank > DATE else 0
        return self._second(place - 1 if self._strict else place)

    def _second(self, millis: int) -> int:
        """The first second whose bound is above these milliseconds."""
        known = bisect_right(self._starts, millis)
        if known:
            end, second = self._steps[self._starts[known - 1]]
            if millis < end:
                return second
        # A bound is never after its time: until then it is not above.
        low = max((millis + self._before) // 1000, self._first)
        if low >= self.last:
            return self.last
        start = self._bound(low * 1000)
        if start > millis:
            return 0  # before the first second that concerns anybody
        return self._search(millis, low, start)

    def _search(self, millis: int, low: int, start: int) -> int:
        """As `_second`, after `low`, whose bound is `start`."""
        step = 1
        while True:
            high = min(low + step, self.last)
            if high == self.last:
                end = None
                break
            end = self._bound(high * 1000)
            if end > millis:
                break
            low, start, step = high, end, 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            found = self._bound(middle * 1000)
            if found > millis:
                high, end = middle, found
            else:
                low, start = middle, found
        if end is not None:
            self._note(start, end, high)
        return high

    def _note(self, start: int, end: int, second: int) -> None:
        """Everything from `start` to before `end` leaves in this second."""
        if len(self._starts) >= MEMO:
            self._starts.clear()
            self._steps.clear()
        self._starts.insert(bisect_right(self._starts, start), start)
        self._steps[start] = end, second


class Moving:
    """The conditions of a filter that time moves.

    `paths` are what they read, as they are written. From the second `last` on a bound is not known.
    """

    def __init__(self, conditions: Sequence[Condition], paths: frozenset[str]) -> None:
        self._conditions = tuple(conditions)
        self.paths = paths
        self.last = min(condition.last for condition in conditions)

    def leaves(self, document: Mapping[str, Any]) -> int:
        """The first second in which a document is out, 0 or less where it never is in; `FOREVER`: it stays.

        Raises `ServiceError` as an expression does.
        """
        try:
            return min(condition.leaves(document) for condition in self._conditions)
        except OutcomeError as outcome:
            told(outcome, document)

    def unknown(self) -> UnsupportedValueError:
        """What ends a query then."""
        return UnsupportedValueError(
            f"{NOW} is after 2037, for which the offsets of a timezone are not asked", details={"operator": NOW}
        )
