"""What somebody sees of one collection: which documents, and of each which fields. Knows nothing of people.

A share is what one grant lets: rows and fields belong together. Of several shares a field is shown where one of them
lets both the row and the field. What is sent to MongoDB has the rows apart from what was asked, and whatever somebody
asks by has to be shown by all shares: so no answer depends on what is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import bson

from realtime.core.bson.stored import CODEC
from realtime.core.mql import projection as projections
from realtime.core.mql.cut import ALL_FIELDS, Cut, united
from realtime.core.mql.demands import canonical
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.timezones import Named, Zones
from realtime.core.mql.filters import UNBOUNDED, Filter, compile_filter, may_fail
from realtime.core.mql.membership import Found, Members, Slots
from realtime.core.mql.paths import WHOLE, Matcher, never, some
from realtime.core.mql.projection import Projection
from realtime.errors import ForbiddenError, ServiceError

__all__ = ["EVERYTHING", "NOTHING", "Cut", "Ruled", "Share", "Vision", "forbidden", "withheld"]

NEVER: dict[str, Any] = {"_id": {"$in": []}}
"""A filter that no document matches; MongoDB does not even look."""


@dataclass(frozen=True, slots=True)
class Share:
    """Documents that match, and their fields. `key`: what names the rows in a query's key, in place of the filter.

    `most`: how many documents a live query may hold; None: no fewer than any. `slots`: what the rows ask of other
    collections; such a share has a key, so it keeps its name whatever is found.
    """

    filter: Filter
    cut: Cut = ALL_FIELDS
    key: bytes | None = None
    most: int | None = None
    slots: Slots | None = field(default=None, compare=False)

    @property
    def every_row(self) -> bool:
        """Whether no document is left out."""
        return not self.filter.source

    @property
    def canonical(self) -> bytes:
        """Equal for shares that let the same."""
        cut = {"hide": list(self.cut.hide), "show": None if self.cut.show is None else list(self.cut.show)}
        rows = self.filter.canonical if self.key is None else b"key" + self.key
        return bson.encode({"rows": rows, "cut": cut, "most": self.most}, codec_options=CODEC)

    def filled(self, found: Found) -> Share:
        """The same with these values in place of its sets; itself where it has none."""
        if self.slots is None:
            return self
        rows, before = self.slots.place(found), self.filter
        return replace(self, filter=compile_filter(NEVER if rows is None else rows, UNBOUNDED, before.dialect))


@dataclass(frozen=True)
class Vision:
    """The shares of somebody. `granted`: whether they may ask at all; without shares no document matches."""

    shares: tuple[Share, ...]
    granted: bool = True

    @classmethod
    def of(cls, shares: Iterable[Share], *, granted: bool = True) -> Vision:
        """Equal for shares that let the same, in whatever order. Raises nothing."""
        given = list(shares)
        if any(share.every_row and share.cut.whole and share.most is None for share in given):
            return EVERYTHING
        if len(given) == 1:
            return cls(tuple(given))
        found = {share.canonical: share for share in given}
        return cls(tuple(found[name] for name in sorted(found)), granted or bool(found))

    @cached_property
    def everything(self) -> bool:
        """Whether nothing is left out and nothing cut."""
        return any(share.every_row and share.cut.whole for share in self.shares)

    @property
    def most(self) -> int | None:
        """How many documents a live query may hold, by the most generous share; None: as many as any."""
        bounds = [share.most for share in self.shares]
        return max((most for most in bounds if most is not None), default=None) if None not in bounds else None

    def same(self, other: Vision) -> bool:
        """Whether both let the same by the same conditions."""

        def parts(vision: Vision) -> set[tuple[bytes, Cut]]:
            return {(share.filter.canonical, share.cut) for share in vision.shares}

        return self is other or (self.granted == other.granted and parts(self) == parts(other))

    @cached_property
    def sets(self) -> tuple[Members, ...]:
        """What has to be asked of other collections to know what is seen, each once."""
        if self.everything:
            return ()
        asked = {one.key: one for share in self.shares if share.slots is not None for one in share.slots.asked}
        return tuple(asked.values())

    def filled(self, found: Found) -> Vision:
        """The same, under the same key, with these values in place of its sets."""
        return Vision(tuple(share.filled(found) for share in self.shares), self.granted) if self.sets else self

    @property
    def every_row(self) -> bool:
        """Whether each document is seen, if only in part."""
        return any(share.every_row for share in self.shares)

    @cached_property
    def cuts(self) -> bool:
        """Whether a field is hidden from them, of any document."""
        return any(not share.cut.whole for share in self.shares)

    @cached_property
    def cut_alike(self) -> Cut | None:
        """What is shown of every document alike; None where that goes with the document."""
        cuts = {share.cut for share in self.shares}
        return next(iter(cuts), ALL_FIELDS) if len(cuts) < 2 else None

    @cached_property
    def rule(self) -> Filter:
        """The rows, as one filter."""
        sources = [share.filter.source for share in self.shares]
        if not sources:
            return compile_filter(NEVER)
        return self.shares[0].filter if len(sources) == 1 else _alternatives(sources, self.shares)

    @cached_property
    def sees(self) -> Matcher:
        """Whether a document is one of theirs. `ServiceError` where a rule has no value of it, without a word on it."""
        matches = some([share.filter.matches for share in self.shares]) if self.shares else never
        return _withholding(matches) if any(share.filter.computes for share in self.shares) else matches

    def shown(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """The document as they see it; None where they do not. Raises as `sees`."""
        if len(self.shares) == 1:
            return self.shares[0].cut.apply(document) if self.sees(document) else None
        try:
            cuts = [share.cut for share in self.shares if share.filter.matches(document)]
        except ServiceError as error:
            raise withheld(error) from None
        return united(document, cuts) if cuts else None

    def cut_of_seen(self, document: dict[str, Any]) -> dict[str, Any]:
        """The same of a document that is known to be seen."""
        if len(self.shares) == 1:
            return self.shares[0].cut.apply(document)
        return self.shown(document) or {}

    def shows(self, path: str) -> bool:
        """Whether something may be asked by this path: all shares show it, whole."""
        return all(share.cut.shows(path) for share in self.shares)

    def sorts(self, path: str) -> bool:
        """Whether documents may be sorted by it."""
        return all(share.cut.sorts(path) for share in self.shares)

    def shows_update(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths, which no rule reads, can be seen."""
        return any(share.cut.projection.shows(touched) for share in self.shares)

    @cached_property
    def canonical(self) -> bytes | None:
        """What a query's key has of it beside the filter; None where nothing is cut."""
        if not self.cuts:
            return None
        cuts = {share.cut for share in self.shares}
        # Of one cut for all rows the rows are in the filter already.
        parts = sorted(Share(_NO_ROWS, cut).canonical for cut in cuts) if len(cuts) == 1 else self._parts()
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def _parts(self) -> list[bytes]:
        return sorted(share.canonical for share in self.shares)

    @property
    def zones(self) -> Named:
        """Time zones whose offsets its rules need to know, and the path at which each is named."""
        return {name: path for share in self.shares for name, path in share.filter.zones.items()}

    def spoken(self, dialect: Dialect) -> Vision:
        """The same as a server of this dialect means it; itself where that is no other meaning."""
        return self._changed(lambda part: part.spoken(dialect))

    def told(self, tables: Zones) -> Vision:
        """The same with these zones' offsets known."""
        return self._changed(lambda part: part.told(tables))

    def _changed(self, change: Callable[[Filter], Filter]) -> Vision:
        changed = [change(share.filter) for share in self.shares]
        if all(one is share.filter for one, share in zip(changed, self.shares, strict=True)):
            return self
        shares = (replace(share, filter=one) for one, share in zip(changed, self.shares, strict=True))
        return Vision(tuple(shares), self.granted)

    def ruled(self, asked: Filter) -> Filter:
        """The effective filter: what they see, and of that what they ask for."""
        return asked if self.everything else Ruled.of(self, asked)

    def projected(self, asked: Projection) -> Projection:
        """The effective projection: of what they see, what they ask for."""
        return _Seen.of(self, asked) if self.cuts else asked

    def check_granted(self) -> None:
        """`ForbiddenError` for whoever has no grant."""
        if not self.granted:
            raise forbidden()

    def check(
        self,
        filter: Filter,  # noqa: A002 - the protocol's own word
        projection: Projection,
        *,
        sorted_by: Sequence[str] = (),
        grouped_by: Sequence[str] = (),
    ) -> None:
        """`ForbiddenError` for whoever has no grant, or asks by what not all shares show."""
        self.check_granted()
        if not self.cuts:
            return
        asked = [
            ("filter", filter.named, self.shows),
            ("projection", projection.reads, self.shows),
            ("sort", sorted_by, self.sorts),
            ("group", grouped_by, self.shows),
        ]
        for what, paths, allowed in asked:
            for path in sorted(paths):
                if not allowed(path):
                    said = "all of a document" if path == WHOLE else path
                    raise ForbiddenError(f"{what}: {said} is not yours to ask by", details={"field": what})


EVERYTHING = Vision((Share(compile_filter({})),))
"""Of whoever is under no rule."""
NOTHING = Vision((), granted=False)
"""Of whoever has no grant."""
_NO_ROWS = compile_filter(NEVER)


def forbidden() -> ForbiddenError:
    """The one answer about a collection that somebody has no grant of, whatever there is by its name."""
    return ForbiddenError("no rule lets you read this collection")


def _withholding(matches: Matcher) -> Matcher:
    def sees(document: dict[str, Any]) -> bool:
        try:
            return matches(document)
        except ServiceError as error:
            raise withheld(error) from None

    return sees


def withheld(error: ServiceError) -> ServiceError:
    """An error that a document caused which may be hidden, without key, value or text."""
    return type(error)("a document of the collection makes the read fail; which one is not told")


def _alternatives(sources: list[dict[str, Any]], shares: Sequence[Share]) -> Filter:
    first = shares[0].filter
    return compile_filter({"$or": sources}, UNBOUNDED, dialect=first.dialect, tables=first.tables)


# ------------------------------------------------------------------------------------------------------ effective


@dataclass(frozen=True, slots=True)
class Ruled(Filter):
    """A filter that is asked of what somebody sees alone. `source` is for routing; MongoDB gets `rule` and `asked`."""

    vision: Vision = NOTHING
    own: Filter = _NO_ROWS

    @classmethod
    def of(cls, vision: Vision, asked: Filter) -> Ruled:
        """The effective filter."""
        rule, sees, matches = vision.rule, vision.sees, asked.matches
        return cls(
            {"$and": [rule.source, asked.source]},
            (lambda document: sees(document) and matches(document)) if asked.source else sees,
            rule.paths | asked.paths,
            rule.asks | asked.asks,
            asked.dialect,
            {**rule.zones, **asked.zones},
            asked.tables,
            rule.named | asked.named,
            rule.computes or asked.computes,
            asked.moving,
            vision,
            asked,
        )

    @property
    def rule(self) -> dict[str, Any]:
        """What is seen, for MongoDB."""
        return self.vision.rule.source

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked of that, for MongoDB."""
        return self.own.source

    @property
    def canonical(self) -> bytes:
        """Equal for those that find the same: a rule's conditions and the same ones asked are one.

        But not where one may fail: then it matters whose it is.
        """
        keys = [share.key for share in self.vision.shares]
        if not any(keys) and not may_fail(self.source):
            return canonical(self.source)
        rows = sorted(share.canonical for share in self.vision.shares)
        parts = [*rows, self.own.canonical]
        return b"ruled" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def spoken(self, dialect: Dialect) -> Filter:
        """The same filter as a server of this dialect means it."""
        return self._of(self.vision.spoken(dialect), self.own.spoken(dialect))

    def told(self, tables: Zones) -> Filter:
        """The same filter with these zones' offsets known."""
        return self._of(self.vision.told(tables), self.own.told(tables))

    def filled(self, found: Found) -> Filter:
        """The same filter with these values in place of the rule's sets."""
        return self._of(self.vision.filled(found), self.own)

    @property
    def sets(self) -> tuple[Members, ...]:
        """What the rule asks of other collections."""
        return self.vision.sets

    def _of(self, vision: Vision, own: Filter) -> Filter:
        return self if vision is self.vision and own is self.own else Ruled.of(vision, own)


@dataclass(frozen=True, slots=True)
class _Seen(Projection):
    """A projection of what somebody sees."""

    vision: Vision = NOTHING
    own: Projection = projections.EVERYTHING

    @classmethod
    def of(cls, vision: Vision, asked: Projection) -> _Seen:
        cut, project, plain = vision.cut_of_seen, asked.apply, not asked.source
        return cls(
            asked.source,
            cut if plain else lambda document: project(cut(document)),
            lambda touched: vision.shows_update(touched) and asked.shows(touched),
            asked.shows_id,
            asked.computed,
            asked.hidden,
            asked.asks,
            asked.zones,
            asked.dialect,
            asked.tables,
            asked.reads,
            vision,
            asked,
        )

    @property
    def everything(self) -> bool:
        """Whether a document is shown as it is."""
        return False

    def spoken(self, dialect: Dialect) -> Projection:
        """The same projection as a server of this dialect means it."""
        return self._of(self.vision.spoken(dialect), self.own.spoken(dialect))

    def told(self, tables: Zones) -> Projection:
        """The same projection with these zones' offsets known."""
        return self._of(self.vision.told(tables), self.own.told(tables))

    def filled(self, found: Found) -> Projection:
        """The same projection with these values in place of the rule's sets."""
        return self._of(self.vision.filled(found), self.own)

    def _of(self, vision: Vision, own: Projection) -> Projection:
        return self if vision is self.vision and own is self.own else _Seen.of(vision, own)
