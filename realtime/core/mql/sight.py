"""What somebody sees of several collections, or of all: a vision for each name, also of those that are made later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import bson

from realtime.core.bson.stored import CODEC
from realtime.core.mql.expressions.evaluation import Named
from realtime.core.mql.filters import Filter
from realtime.core.mql.membership import Found, Members
from realtime.core.mql.projection import Projection
from realtime.core.mql.vision import Share, Vision, forbidden


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """`named` has a vision for each collection that is asked for by name or named by a rule; `others` is of the rest.

    `readable` says of each name that a rule has whether it may be told, `others_readable` of every other one.
    """

    named: Mapping[str, Vision]
    others: Vision
    readable: Mapping[str, bool]
    others_readable: bool

    @property
    def visions(self) -> Iterable[Vision]:
        """All that are in play, of collections that may be asked for."""
        return [vision for vision in (*self.named.values(), self.others) if vision.granted]

    @property
    def every_row(self) -> bool:
        """Whether no document is left out of what may be asked for."""
        return all(vision.every_row for vision in self.visions)

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden, no name either."""
        tells = self.others_readable and all(self.readable.values())
        return tells and all(vision.everything for vision in self.visions)

    @property
    def asks(self) -> frozenset[str]:
        """The fields of the dialect that decide what it means."""
        return frozenset().union(*(share.filter.asks for share in self._shares()))

    @property
    def zones(self) -> Named:
        """Time zones whose offsets it needs, and the path at which each is named."""
        return {name: path for share in self._shares() for name, path in share.filter.zones.items()}

    @property
    def canonical(self) -> bytes:
        """Equal for those that see the same."""
        others = _parts(self.others)
        named = {name: parts for name in sorted(self.named) if (parts := _parts(self.named[name])) != others}
        told = sorted(name for name, readable in self.readable.items() if readable is not self.others_readable)
        return bson.encode(
            {"named": named, "others": others, "told": told, "tells": self.others_readable}, codec_options=CODEC
        )

    def check(
        self,
        collections: Iterable[str] | None,
        filter: Filter,  # noqa: A002 - the protocol's own word
        projection: Projection,
    ) -> None:
        """`ForbiddenError` where one of these collections may not be asked for; None: where none may.

        So it is for whoever asks by what is not shown of each of them: one filter is asked of all.
        """
        may = self.visions if collections is None else all(self.of(name).granted for name in collections)
        if not may:
            raise forbidden()
        for vision in self.visions:
            vision.check(filter, projection)

    def of(self, collection: str) -> Vision:
        """What is seen of a collection."""
        return self.named.get(collection, self.others)

    def tells(self, name: str) -> bool:
        """Whether a collection's name may be told."""
        return self.readable.get(name, self.others_readable)

    def changed(self, change: Callable[[Filter], Filter]) -> Sight:
        """The same with each rule changed; itself where none is."""
        if all(change(share.filter) is share.filter for share in self._shares()):
            return self
        named = {name: _changed(vision, change) for name, vision in self.named.items()}
        return Sight(named, _changed(self.others, change), self.readable, self.others_readable)

    @property
    def sets(self) -> tuple[Members, ...]:
        """What has to be asked of other collections to know what is seen, each once."""
        return tuple({one.key: one for vision in self.visions for one in vision.sets}.values())

    def filled(self, found: Found) -> Sight:
        """The same with these values in place of its sets."""
        named = {name: vision.filled(found) for name, vision in self.named.items()}
        return Sight(named, self.others.filled(found), self.readable, self.others_readable)

    def _shares(self) -> list[Share]:
        return [share for vision in self.visions for share in vision.shares]


def _parts(vision: Vision) -> list[bytes]:
    return sorted(share.canonical for share in vision.shares)


def _changed(vision: Vision, change: Callable[[Filter], Filter]) -> Vision:
    shares = tuple(replace(share, filter=change(share.filter)) for share in vision.shares)
    return Vision(shares, vision.granted)
