"""What one principal may write to one collection, judged on what is asked for and on documents before and after.

Pure, and knows nothing of people. Rows and fields belong to one permit: a write goes ahead where a single one lets the
document as it was, as it is afterwards, and every field that is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from realtime.core.bson import stored
from realtime.core.bson.values import MISSING
from realtime.core.mql.assignments import Assignment, assignments
from realtime.core.mql.cut import Cut
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.timezones import Named, Zones
from realtime.core.mql.fieldsets import EVERY_FIELD, KEY, FieldSet, place, places
from realtime.core.mql.filters import UNBOUNDED, Filter, compile_filter, may_fail, overlaps, stem
from realtime.core.mql.merging import Merging, alike
from realtime.core.mql.paths import WHOLE
from realtime.core.mql.vision import Vision
from realtime.errors import ForbiddenError, ServiceError

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Permit:
    """One grant's leave for one kind of write: of which documents, and which of their fields.

    `keys`: documents with an `_id` of the client's own may be made.
    """

    filter: Filter
    writable: FieldSet = EVERY_FIELD
    keys: bool = True

    def lets(self, document: dict[str, Any]) -> bool:
        """Whether a document is among those of it. One of which the filter has no value is not."""
        return _lets(self.filter, document)


@dataclass(frozen=True, slots=True)
class Update:
    """An update or a replacement that may go ahead as far as can be told without the document.

    `selector`: a filter that decides the rest in MongoDB, as a part of the write's own; None: the document has to be
    asked, before and after. `tells`: whether it may be answered if anything changed. `keeps`: of a replacement, the
    names at the top that it keeps, where that is all that it makes of the document that it meets; None: there is more.
    """

    permits: tuple[Permit, ...]
    assigned: tuple[Assignment, ...] = ()
    selector: dict[str, Any] | None = None
    tells: bool = True
    keeps: frozenset[str] | None = None


@dataclass(frozen=True)
class WriteRule:
    """The leaves to write, and what may be read, of one collection."""

    vision: Vision
    insert: tuple[Permit, ...] = ()
    update: tuple[Permit, ...] = ()
    delete: tuple[Permit, ...] = ()

    # ------------------------------------------------------------------------------------------------------ dialect

    @cached_property
    def zones(self) -> Named:
        """Time zones whose offsets it needs to know, and the path at which each is named."""
        permits = (*self.insert, *self.update, *self.delete)
        return {**self.vision.zones, **{name: path for one in permits for name, path in one.filter.zones.items()}}

    def spoken(self, dialect: Dialect) -> WriteRule:
        """The same rule as a server of this dialect means it."""
        return self._meant(self.vision.spoken(dialect), lambda rows: rows.spoken(dialect))

    def told(self, tables: Zones) -> WriteRule:
        """The same rule with these zones' offsets known."""
        return self._meant(self.vision.told(tables), lambda rows: rows.told(tables))

    def _meant(self, vision: Vision, meant: Callable[[Filter], Filter]) -> WriteRule:
        kinds = (self.insert, self.update, self.delete)
        changed = [tuple(dataclasses.replace(one, filter=meant(one.filter)) for one in kind) for kind in kinds]
        return WriteRule(vision, *changed)

    # ------------------------------------------------------------------------------------------------------- insert

    def sent(self, document: Document) -> tuple[Permit, ...]:
        """The permits under which all fields of a new document may be written; `ForbiddenError` without any."""
        if not self.insert:
            _refuse("insert into")
        permits = self.insert
        if KEY in document:
            permits = _some((one for one in permits if one.keys), "_id is made by the service here: leave it out")
        for at in places(document):
            permits = _some((one for one in permits if one.writable.holds(at)), _not_yours(".".join(at)))
        return permits

    def made(self, permits: Sequence[Permit], document: dict[str, Any]) -> None:
        """`ForbiddenError` where no permit lets the new document, as it is stored."""
        _some((one for one in permits if one.lets(document)), "the document is none that you may insert")

    # ------------------------------------------------------------------------------------------------------- update

    def updating(self, update: Document, *, upsert: bool = False) -> Update:
        """What can be told of an update by itself. `ForbiddenError` names the path."""
        if not self.update:
            _refuse("update documents of")
        assigned = assignments(update)
        for one in assigned:
            if not all(_may_be_asked(fields, one) for fields in self._shown):
                raise ForbiddenError(
                    f"{one.path} is, holds or lies in a field that is not yours to read: it may be $set or $unset as a "
                    "whole alone"
                )
        shown = all(fields.surely_holds(one.path) for one in assigned for fields in self._shown)
        permits = self.update
        for one in assigned:
            permits = _some((it for it in permits if it.writable.may_hold(one.path)), _not_yours(one.path))
        if upsert:
            self._upserting([one.path for one in assigned])
        selector = None if upsert else self._selector(permits, assigned, update)
        return Update(permits, assigned, selector, tells=shown)

    def _upserting(self, paths: Iterable[str]) -> tuple[Permit, ...]:
        permits = _some((one for one in self.insert if one.keys), "upsert makes documents, which you may not")
        for path in paths:
            permits = _some((one for one in permits if one.writable.may_hold(path)), _not_yours(path))
        return permits

    def _selector(
        self, permits: Sequence[Permit], assigned: Sequence[Assignment], update: Document
    ) -> dict[str, Any] | None:
        touched = frozenset(one.path for one in assigned)
        after = [_holds_after(one.filter, touched, update.get("$set", {})) for one in permits]
        lets = [one for one, holds in zip(permits, after, strict=True) if holds]
        if None in after or not lets:
            return None
        exact = not any(map(_has_number, touched)) or all(
            fields.everything for fields in (*self._shown, *(one.writable for one in permits))
        )
        return self._selecting(lets) if exact else None

    def _selecting(self, permits: Sequence[Permit]) -> dict[str, Any] | None:
        """As a filter: a document that is seen, and that one of the permits lets."""
        rule = self.vision.rule.source
        sources = [one.filter.source for one in permits]
        if any(map(may_fail, (rule, *sources))):
            # In a selector a document of which it has no value would be an error.
            return None
        parts = [rule, *([] if {} in sources else [sources[0] if len(sources) == 1 else {"$or": sources}])]
        asked = [one for index, one in enumerate(parts) if one and one not in parts[:index]]
        return {"$and": asked} if len(asked) > 1 else (asked or [{}])[0]

    def before(self, update: Update, document: dict[str, Any]) -> tuple[Permit, ...]:
        """The permits that let this document, which is seen, be updated so. `ForbiddenError` without any."""
        permits = _some((one for one in update.permits if one.lets(document)), _NOT_TO_UPDATE)
        for one in update.assigned:
            if not _has_number(one.path):
                continue
            at = place(document, one.path)
            for fields in self._shown:
                if not (fields.holds(at) or fields.surely_holds(one.path) or (one.blind and fields.is_whole(one.path))):
                    raise ForbiddenError(f"{one.path} is not yours to read in this document")
            permits = _some((it for it in permits if it.writable.holds(at)), _not_yours(one.path))
        return permits

    def after(self, permits: Sequence[Permit], document: dict[str, Any]) -> None:
        """`ForbiddenError` where none of the permits lets what became of the document."""
        _some((one for one in permits if one.lets(document)), _WOULD_NOT_BE)

    def upserted(self, update: Update, document: dict[str, Any]) -> None:
        """`ForbiddenError` where what an upsert made is nothing that may be inserted."""
        permits = self._upserting([one.path for one in update.assigned])
        for at in places(document):
            permits = _some((one for one in permits if one.writable.holds(at)), _not_yours(".".join(at)))
        self.made(permits, document)

    # ------------------------------------------------------------------------------------------------------ replace

    def replacing(self, document: dict[str, Any], *, upsert: bool = False) -> Update:
        """What can be told of a replacement by itself; `document` has its key."""
        if not self.update:
            _refuse("update documents of")
        for at in places(document):
            if all(fields.misses(at) for fields in (*self._shown, *(one.writable for one in self.update))):
                raise ForbiddenError(_not_yours(".".join(at)))
        if upsert:
            self._upserting([])
        tells = not self.vision.cuts
        if upsert or self.vision.cuts or not all(one.writable.everything for one in self.update):
            return Update(self.update, tells=tells, keeps=None if upsert else self._keeps())
        lets = tuple(one for one in self.update if one.lets(document))
        # Where none lets it, the document is asked all the same: one that is not seen is not there.
        return Update(self.update, selector=self._selecting(lets) if lets else None, tells=tells)

    def _keeps(self) -> frozenset[str] | None:
        """The names at the top that a replacement keeps, where every grant hides the same, and lets write the rest."""
        fields = (*self._shown, *(one.writable for one in self.update))
        found = {one.paths if one.but else None for one in fields}
        paths = next(iter(found)) if len(found) == 1 else None
        return None if paths is None or any("." in path for path in paths) else paths

    def exchanging(
        self, asked: Update, document: dict[str, Any], given: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What a replacement that `keeps` makes of a document, and a filter of documents of which it makes just that.

        What it makes is what `merging` does, by far fewer steps. None: that is not to be said by a filter, or the
        replacement may not go ahead, and why is for `merging` to tell.
        """
        keeps = asked.keeps or frozenset()
        same = alike({name: document.get(name, MISSING) for name in keeps})
        merged = {**given, **{name: value for name, value in document.items() if name in keeps}}
        lets = [one for one in asked.permits if one.lets(document) and one.lets(merged)]
        selector = self._selecting(lets) if lets and self.seen(document) is not None else None
        if same is None or selector is None:
            return None
        return merged, {"$and": [part for part in (selector, *same) if part]}

    def merging(
        self, permits: Sequence[Permit], document: dict[str, Any], given: dict[str, Any]
    ) -> tuple[tuple[Permit, ...], Merging, dict[str, Any]]:
        """What is to be stored in place of a document that is seen: by which permits, and how it came about.

        The first permit that lets all of it decides, and those that let the same. `ForbiddenError` without any.
        """
        seen = self.seen(document) or {}
        shown = [shown_by(share.cut) for share in self.vision.shares if _lets(share.filter, document)]
        refused = ForbiddenError(_WOULD_NOT_BE)
        for one in permits:
            merging = Merging(shown, one.writable)
            try:
                merged = merging.merge(document, seen, given)
            except ForbiddenError as error:
                refused = error
                continue
            if one.lets(merged):
                return tuple(it for it in permits if it.writable == one.writable), merging, merged
        raise refused

    # ------------------------------------------------------------------------------------------------------- delete

    def deleting(self) -> dict[str, Any] | None:
        """A filter that decides in MongoDB whether a document may be deleted; None: the document has to be asked."""
        if not self.delete:
            _refuse("delete documents of")
        return self._selecting(self.delete)

    def deletes(self, document: dict[str, Any]) -> None:
        """`ForbiddenError` where this document, which is seen, may not be deleted."""
        _some((one for one in self.delete if one.lets(document)), "this document is not yours to delete")

    # --------------------------------------------------------------------------------------------------------- both

    def asked(self, where: Any) -> None:
        """`ForbiddenError` for a condition by what may not be read."""
        if not self.vision.cuts:
            return
        for path in sorted(compile_filter(where).named):
            if not self.vision.shows(path):
                said = "all of a document" if path == WHOLE else path
                raise ForbiddenError(f"where: {said} is not yours to ask by", details={"field": "where"})

    def seen(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """What is seen of a document; None where that is nothing, or cannot be told."""
        try:
            return self.vision.shown(document)
        except ServiceError:
            return None

    def image(self, raw: bytes) -> bytes | None:
        """The BSON of what is seen of a document; None where that is nothing."""
        return raw if self.vision.everything else seen_image(self.vision, raw)

    def shows(self, path: str) -> bool:
        """Whether what is wrong at a path may be told; the empty one is the whole document."""
        return not self.vision.cuts or (path != "" and self.vision.shows(path))

    @cached_property
    def _shown(self) -> list[FieldSet]:
        return [shown_by(share.cut) for share in self.vision.shares]


def seen_image(vision: Vision, raw: bytes) -> bytes | None:
    """The BSON of what is seen of a document, by which its tag is made; None where that is nothing."""
    try:
        seen = vision.shown(stored.decode(raw))
    except ServiceError:
        return None
    if seen is None:
        return None
    return stored.encode(seen) if vision.cuts else raw


def shown_by(cut: Cut) -> FieldSet:
    """The fields that a cut shows."""
    return FieldSet(frozenset(cut.hide)) if cut.show is None else FieldSet(frozenset(cut.show), but=False)


def _may_be_asked(fields: FieldSet, one: Assignment) -> bool:
    """Whether what an assignment does, and what is answered, tells nothing but these fields, as far as can be told."""
    if fields.surely_holds(one.path) or (one.blind and fields.is_whole(one.path)):
        return True
    return fields.may_hold(one.path) and not (one.blind and fields.but)


_NOT_TO_UPDATE = "this document is not yours to update"
_WOULD_NOT_BE = "the document would be none that you may update"


def _lets(rule: Filter, document: dict[str, Any]) -> bool:
    try:
        return rule.matches(document)
    except ServiceError:
        return False


def _some(permits: Iterable[Permit], reason: str) -> tuple[Permit, ...]:
    found = tuple(permits)
    if not found:
        raise ForbiddenError(reason)
    return found


def _not_yours(path: str) -> str:
    return f"{path} is not yours to write"


def _refuse(what: str) -> NoReturn:
    raise ForbiddenError(f"no rule lets you {what} this collection")


def _holds_after(rows: Filter, touched: frozenset[str], setting: Document) -> bool | None:
    """Whether a document that matches still does when these paths were written to; None: it depends on the document.

    What is set to a value decides the conditions on that path, as long as nothing else is written around it.
    """
    if not rows.reads(touched):
        return True
    for path, condition in rows.source.items():
        part = compile_filter({path: condition}, UNBOUNDED, rows.dialect, rows.tables)
        if not part.reads(touched):
            continue
        around = [one for one in touched if overlaps(stem(one), stem(path))]
        if around != [path] or path not in setting or _has_number(path):
            return None
        if not _lets(part, _nest(path, setting[path])):
            return False
    return True


def _nest(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: _nest(rest, value) if rest else value}


def _has_number(path: str) -> bool:
    return any(part.isdigit() for part in path.split(".")[1:])
