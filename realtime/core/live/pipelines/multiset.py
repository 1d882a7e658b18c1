"""Values with how often each is there, in the order of BSON: put in, taken out, and looked at from both ends.

Values that are equal by BSON (1 and 1.0) are one, shown as the first of them that came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sortedcontainers import SortedList

from realtime.core.bson.values import Order


class _Held:
    """One value, and how often it is there."""

    __slots__ = ("count", "value")

    def __init__(self, value: Any) -> None:
        self.count = 0
        self.value = value


class Multiset:
    """Each step costs O(log n) comparisons; no step moves all that is held."""

    __slots__ = ("_held", "_places")

    def __init__(self) -> None:
        self._held: dict[Order, _Held] = {}
        self._places: Any = SortedList()

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, place: Order, value: Any) -> None:
        """Put a value in; `place` is its order."""
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = _Held(value)
            self._places.add(place)
        held.count += 1

    def remove(self, place: Order) -> None:
        """Take one of these values out, which was put in."""
        held = self._held[place]
        held.count -= 1
        if not held.count:
            del self._held[place]
            self._places.remove(place)

    def least(self) -> Any:
        """The least value of at least one."""
        return self._held[self._places[0]].value

    def greatest(self) -> Any:
        """The greatest value of at least one."""
        return self._held[self._places[-1]].value

    def first(self, count: int) -> list[Any]:
        """The least `count` values, the least first; one that is there twice stands twice."""
        return self._some(self._places, count)

    def last(self, count: int) -> list[Any]:
        """The greatest `count` values, the greatest first."""
        return self._some(reversed(self._places), count)

    def _some(self, places: Iterable[Order], count: int) -> list[Any]:
        found: list[Any] = []
        for place in places:
            held = self._held[place]
            found += [held.value] * min(held.count, count - len(found))
            if len(found) == count:
                break
        return found
