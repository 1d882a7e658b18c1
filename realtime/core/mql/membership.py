"""Sets of values that a rule takes from another collection: what is asked of MongoDB, and what of its answer counts.

A rule with sets is compiled anew whenever one of them is another one. Until they are known, they have no values: a set
stands below `$in` and no negation, so what is let without it is less than with it.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import bson
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from realtime.core.bson.stored import CODEC
from realtime.core.bson.values import Order, order
from realtime.core.mql.demands import canonical
from realtime.core.mql.paths import leaves

MOST = 1000
"""Values of a set, and documents that they are of, unless a setting says otherwise."""
_SCALARS = (str, bool, int, float, ObjectId, Int64, Decimal128, uuid.UUID, Binary, dt.datetime)
_INT64 = 2**63

Found = Mapping[bytes, Sequence[Any] | None]
"""Values by `Members.key`; None, or no such key: none are to be had, and what asks for them is false."""


def is_scalar(value: Any) -> bool:
    """What may be put in place of a value: text, a number, a boolean, an id, a date; nothing null, and no NaN."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -_INT64 <= value < _INT64
    return isinstance(value, _SCALARS)


@dataclass(frozen=True)
class Members:
    """The values at `path` of the documents of `collection` that `selection` selects; `most`: how many there may be."""

    collection: str
    selection: Mapping[str, Any]
    path: str
    most: int = MOST

    @cached_property
    def key(self) -> bytes:
        """Equal for those that ask the same."""
        said = {"from": self.collection, "where": canonical(dict(self.selection)), "values": self.path}
        return bson.encode(said, codec_options=CODEC)

    def of(self, document: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of one document: of a list its elements, and of what is no value nothing."""
        return tuple(filter(is_scalar, leaves(document, tuple(self.path.split(".")), 0, enter=True)))

    def values(self, documents: Sequence[Mapping[str, Any]]) -> Sequence[Any] | None:
        """Those of these documents, each once; None where there are too many of either."""
        return None if len(documents) > self.most else self.bounded(map(self.of, documents))

    def bounded(self, values: Iterable[Iterable[Any]]) -> Sequence[Any] | None:
        """All of these values, each once; None for more than there may be."""
        found: dict[Order, Any] = {}
        for some in values:
            for value in some:
                found.setdefault(order(value), value)
            if len(found) > self.most:
                return None
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Slots:
    """The sets that a rule asks for, and how the rule is placed once they are found; None: no document matches."""

    asked: tuple[Members, ...]
    place: Callable[[Found], dict[str, Any] | None]
