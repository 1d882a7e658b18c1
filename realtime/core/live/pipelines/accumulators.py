"""What a row holds for each of its accumulators: contributions are put in and taken out again, none is looked for.

A contribution is held as a token, which is all that an accumulator needs to take it out. An accumulator that shows a
list keeps the list until it is another one, and what each of its values is as JSON: of a set of a thousand values one
is encoded when one comes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Protocol

from sortedcontainers import SortedList

from realtime.core.bson import ejson
from realtime.core.bson.values import MISSING, Order, order
from realtime.core.live.pipelines.deviation import Deviation
from realtime.core.live.pipelines.multiset import Multiset
from realtime.core.live.totals import Total
from realtime.core.mql.expressions.numbers import is_number, nullish
from realtime.core.mql.expressions.scope import weight
from realtime.core.mql.pipelines.pipeline import Accumulator, Document

Tie = tuple[str, int]
"""The document of a contribution, and which of its contributions it is: no two are equal."""
TOKEN_BYTES = 100
"""What a contribution takes in memory for an accumulator, beside its own value."""
_MOST_WEIGHED = 64 * 1024 * 1024


class Token(Protocol):
    """What one contribution is to one accumulator."""

    @property
    def size(self) -> int:
        """Bytes held, about."""

    def same(self, other: Any) -> bool:
        """Whether a token of the same accumulator says the same."""


class Number:
    """A number, or MISSING for what is none: that is nothing to a sum."""

    __slots__ = ("value",)

    size = TOKEN_BYTES

    def __init__(self, value: Any) -> None:
        self.value = value if is_number(value) else MISSING

    def same(self, other: Number) -> bool:
        """Of the same type, too: a sum is of the widest."""
        return type(self.value) is type(other.value) and bool(self.value == other.value)


class Placed:
    """A value by its order, or MISSING where it is not counted."""

    __slots__ = ("place", "size", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.place: Order | None = None if value is MISSING else order(value)
        self.size = TOKEN_BYTES if self.place is None else 2 * TOKEN_BYTES + weight(value, _MOST_WEIGHED)

    def same(self, other: Placed) -> bool:
        """Equal by BSON, as 1 and 1.0 are."""
        return self.place == other.place


class Output:
    """A value that is shown by the place of its document, encoded once."""

    __slots__ = ("_text", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._text: bytes | None = None

    @property
    def text(self) -> bytes:
        """The value as JSON."""
        if self._text is None:
            self._text = ejson.encode(self.value)
        return self._text


Entry = tuple[Any, Tie, Output]
"""What is ordered: no two of a row are equal in the first two."""


class Ranked:
    """A value by the place of its document."""

    __slots__ = ("entry", "size")

    def __init__(self, place: Any, tie: Tie, value: Any) -> None:
        self.entry: Entry = (place, tie, Output(value))
        self.size = 3 * TOKEN_BYTES + weight(value, _MOST_WEIGHED)

    def same(self, other: Ranked) -> bool:
        """At the same place with the same value, told only of scalars: another one is put in the place of this one."""
        one, another = self.entry[2].value, other.entry[2].value
        alike = type(one) is type(another) and not isinstance(one, dict | list)
        return alike and bool(one == another) and self.entry[:2] == other.entry[:2]


class State(Protocol):
    """What a row holds for one accumulator."""

    def add(self, token: Any) -> None:
        """Put a contribution in."""

    def remove(self, token: Any) -> None:
        """Take a contribution out that was put in."""

    def value(self) -> Any:
        """What the row shows; a list is the same object as long as it is the same list, and is not to be changed."""

    def text(self) -> bytes | None:
        """The value as JSON where it is a list, else None."""


class _Plain:
    """One that shows no list."""

    __slots__ = ()

    def text(self) -> None:
        """There is none."""
        return


class Sum(_Plain):
    """`$sum`, `$avg` and `$count`, whose argument is always 1."""

    __slots__ = ("_of", "_total")

    def __init__(self, of: Callable[[Total], Any]) -> None:
        self._of = of
        self._total = Total()

    def add(self, token: Number) -> None:
        """Count it in."""
        self._total.add(token.value)

    def remove(self, token: Number) -> None:
        """Count it out."""
        self._total.add(token.value, -1)

    def value(self) -> Any:
        """As MongoDB rounds it."""
        return self._of(self._total)


class Spread(_Plain):
    """`$stdDevPop` and `$stdDevSamp`."""

    __slots__ = ("_deviation",)

    def __init__(self, *, sample: bool) -> None:
        self._deviation = Deviation(sample=sample)

    def add(self, token: Number) -> None:
        """Count it in."""
        if token.value is not MISSING:
            self._deviation.add(token.value)

    def remove(self, token: Number) -> None:
        """Count it out."""
        if token.value is not MISSING:
            self._deviation.add(token.value, -1)

    def value(self) -> float | None:
        """Null of too few numbers."""
        return self._deviation.value()


class Extreme(_Plain):
    """`$min` and `$max`: null of nothing but null, undefined and missing."""

    __slots__ = ("_greatest", "_values")

    def __init__(self, *, greatest: bool) -> None:
        self._greatest = greatest
        self._values = Multiset()

    def add(self, token: Placed) -> None:
        """Put it in."""
        if token.place is not None:
            self._values.add(token.place, token.value)

    def remove(self, token: Placed) -> None:
        """Take it out."""
        if token.place is not None:
            self._values.remove(token.place)

    def value(self) -> Any:
        """The extreme one."""
        if not self._values:
            return None
        return self._values.greatest() if self._greatest else self._values.least()


class Extremes:
    """`$minN` and `$maxN`, of the same values."""

    __slots__ = ("_count", "_greatest", "_shown", "_values")

    def __init__(self, count: int, *, greatest: bool) -> None:
        self._count = count
        self._greatest = greatest
        self._values = Multiset()
        self._shown: list[Any] | None = None

    def add(self, token: Placed) -> None:
        """Put it in."""
        if token.place is not None:
            self._values.add(token.place, token.value)
            self._shown = None

    def remove(self, token: Placed) -> None:
        """Take it out."""
        if token.place is not None:
            self._values.remove(token.place)
            self._shown = None

    def value(self) -> list[Any]:
        """The best first."""
        if self._shown is None:
            self._shown = self._values.last(self._count) if self._greatest else self._values.first(self._count)
        return self._shown

    def text(self) -> bytes:
        """Its values as JSON."""
        return ejson.encode(self.value())


class ValueSet:
    """`$addToSet`: each value once, in the order of BSON; null is one, missing is none."""

    __slots__ = ("_counts", "_places", "_shown", "_text", "_texts", "_values")

    def __init__(self) -> None:
        self._counts: dict[Order, int] = {}
        # Side by side. What is shown is bounded, so moving what stands behind a place is nothing beside showing it.
        self._places: list[Order] = []
        self._values: list[Any] = []
        self._texts: list[bytes] = []
        self._shown: list[Any] | None = None
        self._text: bytes | None = None

    def add(self, token: Placed) -> None:
        """Put it in; what is there already changes nothing."""
        place = token.place
        if place is None:
            return
        count = self._counts.get(place, 0)
        self._counts[place] = count + 1
        if count:
            return
        index = bisect_left(self._places, place)
        self._places.insert(index, place)
        self._values.insert(index, token.value)
        self._texts.insert(index, ejson.encode(token.value))
        self._shown = self._text = None

    def remove(self, token: Placed) -> None:
        """Take it out; what is there once more stays."""
        place = token.place
        if place is None:
            return
        self._counts[place] -= 1
        if self._counts[place]:
            return
        del self._counts[place]
        index = bisect_left(self._places, place)
        del self._places[index], self._values[index], self._texts[index]
        self._shown = self._text = None

    def value(self) -> list[Any]:
        """All of them."""
        if self._shown is None:
            self._shown = list(self._values)
        return self._shown

    def text(self) -> bytes:
        """All of them as JSON."""
        if self._text is None:
            self._text = b"[" + b",".join(self._texts) + b"]"
        return self._text


class Best:
    """`$top`, `$topN`, `$bottom` and `$bottomN`. `count` None: one value, and no list of it."""

    __slots__ = ("_count", "_entries", "_known", "_last", "_shown", "_single", "_text", "_values")

    def __init__(self, count: int | None, *, last: bool) -> None:
        self._single = count is None
        self._count = count or 1
        self._last = last
        self._entries: Any = SortedList()
        self._shown: list[Entry] = []
        self._known = False
        self._values: list[Any] = []
        self._text: bytes | None = None

    def add(self, token: Ranked) -> None:
        """Put it where it belongs."""
        self._look(token.entry)
        self._entries.add(token.entry)

    def remove(self, token: Ranked) -> None:
        """Take it out."""
        self._look(token.entry)
        self._entries.remove(token.entry)

    def _look(self, entry: Entry) -> None:
        """What is shown stays where all places of it are taken by better ones."""
        shown = self._shown
        full = self._known and len(shown) == self._count
        if full and (entry[:2] < shown[0][:2] if self._last else shown[-1][:2] < entry[:2]):
            return
        self._known, self._text = False, None

    def _best(self) -> list[Entry]:
        if not self._known:
            begin = max(len(self._entries) - self._count, 0) if self._last else 0
            self._shown = list(self._entries.islice(begin, begin + self._count))
            self._values = [output.value for _, _, output in self._shown]
            self._known = True
        return self._shown

    def value(self) -> Any:
        """In the order of the sort."""
        self._best()
        return self._values[0] if self._single else self._values

    def text(self) -> bytes | None:
        """What is shown, as JSON."""
        if self._single:
            return None
        if self._text is None:
            self._text = b"[" + b",".join(output.text for _, _, output in self._best()) + b"]"
        return self._text


# ------------------------------------------------------------------------------------------------------- by operator


def state_of(accumulator: Accumulator) -> State:
    """An empty one of what the accumulator asks for."""
    return _STATES[accumulator.operator](accumulator.count or 1)


_STATES: dict[str, Callable[[int], State]] = {
    "$sum": lambda _: Sum(Total.sum),
    "$count": lambda _: Sum(Total.sum),
    "$avg": lambda _: Sum(Total.average),
    "$stdDevPop": lambda _: Spread(sample=False),
    "$stdDevSamp": lambda _: Spread(sample=True),
    "$min": lambda _: Extreme(greatest=False),
    "$max": lambda _: Extreme(greatest=True),
    "$minN": lambda count: Extremes(count, greatest=False),
    "$maxN": lambda count: Extremes(count, greatest=True),
    "$addToSet": lambda _: ValueSet(),
    "$top": lambda _: Best(None, last=False),
    "$topN": lambda count: Best(count, last=False),
    "$bottom": lambda _: Best(None, last=True),
    "$bottomN": lambda count: Best(count, last=True),
}
_NUMBERS = frozenset({"$sum", "$count", "$avg", "$stdDevPop", "$stdDevSamp"})
_COMPARED = frozenset({"$min", "$max", "$minN", "$maxN"})


def token_of(accumulator: Accumulator, document: Document, tie: Tie) -> Token:
    """What a document is to an accumulator. `ServiceError` where an expression has no value of it."""
    value = accumulator.value(document)
    if accumulator.place is not None:
        return Ranked(accumulator.place(document), tie, value)
    if accumulator.operator in _NUMBERS:
        return Number(value)
    return Placed(MISSING if accumulator.operator in _COMPARED and nullish(value) else value)
