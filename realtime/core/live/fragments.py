"""An event over 16 MB, put together again from the fragments that MongoDB makes of it.

`$changeStreamSplitLargeEvent` (MongoDB manual) deals an event's fields out to fragments, each field to one of them.
What has come of an event is no part of any moment until its last fragment is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MARK = "splitEvent"


class FragmentError(Exception):
    """An event cannot be put together: a fragment is not the next one, or there is no room for all of them."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A change stream document with all of its fields; `size` in bytes of BSON, of all fragments together."""

    raw: Mapping[str, Any]
    size: int


def is_fragment(raw: Mapping[str, Any]) -> bool:
    """Whether this change stream document is a part of an event."""
    return _MARK in raw


class Fragments:
    """What has come of one event. `token` is the data of the newest fragment's own resume token.

    Nothing may be opened with such a token: it is good for a stream that splits the same event in the same way, whose
    first fragments are lost then; MongoDB refuses it everywhere else.
    """

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._size = 0
        self._count = 0
        self.token: str | None = None

    @property
    def pending(self) -> bool:
        """Whether an event has begun whose end has still to come."""
        return self._count > 0

    def reset(self) -> None:
        """Forget what has come: the stream opens again before the event."""
        self._fields, self._size, self._count, self.token = {}, 0, 0, None

    def add(self, raw: Mapping[str, Any], size: int, *, room: int) -> Whole | None:
        """Take the next document of the stream; None where it is a fragment and not the last.

        `room`: bytes that an event may have in all, where it comes in fragments. `FragmentError` over that.
        """
        mark = raw.get(_MARK)
        if mark is None:
            if self.pending:
                raise FragmentError(f"an event ended after {self._count} fragments")
            return Whole(raw, size)
        number, count = mark["fragment"], mark["of"]
        if number != self._count + 1 or number > count:
            raise FragmentError(f"fragment {number} of {count} came after {self._count}")
        if self._size + size > room:
            raise FragmentError(f"{self._size + size} bytes of an event in {count} fragments, {room} are allowed")
        self.token = raw["_id"]["_data"]
        self._fields.update(raw)
        self._size += size
        self._count = number
        if number < count:
            return None
        del self._fields[_MARK]
        whole = Whole(self._fields, self._size)
        self._fields, self._size, self._count = {}, 0, 0
        return whole
