"""Events mode: everyone who asked for the same events, and which of a batch those are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from realtime.core.bson import ejson, keys
from realtime.core.live.events import CREATE, ChangeEvent, format_position
from realtime.core.live.journal import Entry
from realtime.core.live.judging import judge, told_name
from realtime.core.live.moments import Settled
from realtime.core.live.query import Images, Query, QueryGroup
from realtime.core.mql.filters import stem
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import Vision


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of a set, between `first` and `last`, which are one cluster time where it is known: what both let.

    Before and at `last` an image before its event is seen by those alone who saw it then and see it now.
    """

    first: int
    last: int
    both: Sight


class EventGroup:
    """One distinct query in events mode. It holds no documents; `time` is what its subscribers have been told of."""

    def __init__(self, query: Query, channel: int, epoch: str) -> None:
        self.query = query
        self.channel = channel
        self.epoch = epoch
        self.time = 0
        self.live = False
        self.deletes: Literal["matched", "all", "none"] = "all"
        self._turn: Turn | None = None

    def turn(self, query: Query, turn: Turn) -> None:
        """A set of its rule became another one: it is this query from then on, under the same key."""
        self.query, self._turn = query, turn

    def know(self, pre_images: Mapping[str, bool]) -> None:
        """Whether each of the collections that are named keeps images, and so which deletes are told."""
        sight = self.query.sight
        if pre_images and all(pre_images.values()):
            self.deletes = "matched"
        else:
            self.deletes = "all" if sight is None or sight.every_row else "none"

    def hears_updates(self, collection: str) -> bool:
        """Whether it needs the documents that this collection's updates lack."""
        operations = self.query.operations
        return self.query.covers(collection) and (operations is None or "update" in operations)

    @property
    def position(self) -> str:
        """Everything at or before has been sent."""
        return format_position(self.epoch, self.time)

    def advance(self, time: int) -> None:
        """Everything up to `time` has been dispatched, and so told."""
        self.time = max(self.time, time)

    def reached(self, time: int) -> int:
        """What its subscribers are at, `time` being what has been dispatched."""
        return max(time, self.time)

    def apply(self, settled: Settled, images: Mapping[str, Images]) -> list[bytes]:
        """The matching events of a batch, encoded, in order."""
        entries = self.matching(Entry(settled, images), after=self.time)
        self.time = max(self.time, settled.time)
        return entries

    def matching(self, entry: Entry, *, after: int) -> list[bytes]:
        """The matching events of an entry of the journal after a time, encoded, in order."""
        entries: list[bytes] = []
        numbers: dict[tuple[bytes, int], int] = {}
        entry = entry.whole(self.query.covers)
        for event in self._in_order(entry.settled):
            heard = None if event.time <= after else self._heard(event)
            if heard is None:
                continue
            fields = self._fields(heard, entry, numbers)
            if fields is not None:
                entries.append(ejson.encode(fields))
        return entries

    def _in_order(self, settled: Settled) -> Iterable[ChangeEvent]:
        collections = self.query.collections
        if collections is not None and len(collections) == 1 and not settled.replaced and not settled.all_replaced:
            return settled.events.get(self.query.collection, ())
        return settled.order

    def _heard(self, event: ChangeEvent) -> ChangeEvent | None:
        """The event, with the names that may be told of it; None where it concerns nobody here."""
        if event.op == CREATE or event.kind is not None:
            return None
        if self.query.sight is not None and event.identity is None:
            named = told_name(event, self.query.sight)
            return named if named is not None and self._wants(named) else None
        return event if self._wants(event) else None

    def _wants(self, event: ChangeEvent) -> bool:
        if self.query.operations is not None and event.op not in self.query.operations:
            return False
        if event.op == "dropDatabase":
            return True
        return self.query.covers(event.collection) or (event.to is not None and self.query.covers(event.to))

    def _fields(self, event: ChangeEvent, entry: Entry, numbers: dict[tuple[bytes, int], int]) -> dict[str, Any] | None:
        """The event as PROTOCOL 4.2 has it; None when the filter keeps it out."""
        fields: dict[str, Any] = {"op": event.op, "collection": event.collection}
        if event.identity is not None:
            fields["key"] = keys.shown_key(event.key)
            sight = self._sight(event)
            vision = None if sight is None else sight.of(event.collection)
            if vision is not None and not vision.everything:
                if not self._show_judged(event, entry, vision, fields):
                    return None
            elif not self._show(event, entry, fields):
                return None
            elif event.op == "update":
                self._describe(fields, event.updated, event.removed)
        if event.to is not None:
            fields["to"] = event.to
        if event.transaction is not None:
            fields["transaction"] = numbers.setdefault(event.transaction, len(numbers) + 1)
        fields["position"] = format_position(self.epoch, event.time)
        if event.wall_time is not None:
            fields["wall_time"] = event.wall_time
        return fields

    def _sight(self, event: ChangeEvent) -> Sight | None:
        """By what an event is judged: where it is not known before or after which change of a set, by what both let."""
        turn = self._turn
        certain = turn is None or event.time > turn.last or event.time == turn.first == turn.last
        return self.query.sight if certain or turn is None else turn.both

    def _show(self, event: ChangeEvent, entry: Entry, fields: dict[str, Any]) -> bool:
        """Put the images into `fields`; False when the filter keeps the event out."""
        show, matches = self.query.projection.apply, self.query.filter.matches
        document, as_of = event.document, None
        if event.op == "update" and document is None:
            as_of, document = entry.image(event)
        if event.op == "delete":
            if event.before is not None and not matches(event.before):
                return False
        elif document is None:
            fields["partial"] = True
        elif matches(document):
            fields["document"] = keys.with_marks(show(document))
            if as_of is not None:
                fields["as_of"] = format_position(self.epoch, as_of)
        else:
            return False
        if event.before is not None and matches(event.before):
            fields["before"] = keys.with_marks(show(event.before))
        return True

    def _show_judged(self, event: ChangeEvent, entry: Entry, vision: Vision, fields: dict[str, Any]) -> bool:
        """As `_show` and `_describe`, of what a rule lets be seen. The filter reads what is shown alone."""
        show, matches = self.query.projection.apply, self.query.filter.matches
        after = entry.after(event)
        turn = self._turn
        earlier = turn.both.of(event.collection) if turn is not None and event.time <= turn.last else None
        told = judge(event, vision, after, earlier)
        if told is None:
            return False
        matched = event.before is not None and told.before is not None and matches(event.before)
        if event.op == "delete":
            if event.before is not None and not matched:
                return False
        elif after.document is None or told.document is None:
            fields["partial"] = True
        elif matches(after.document):
            fields["document"] = keys.with_marks(show(told.document))
            if event.document is None:
                fields["as_of"] = format_position(self.epoch, after.time)
        else:
            return False
        if matched and told.before is not None:
            fields["before"] = keys.with_marks(show(told.before))
        if told.paths is not None:
            self._describe(fields, *told.paths)
        return True

    def _describe(self, fields: dict[str, Any], updated: Iterable[str], removed: Iterable[str]) -> None:
        shows = self.query.projection.shows

        def shown(path: str) -> bool:
            # A number in a path may be an element or a name: what either reading hides is not named.
            return shows(frozenset((path,))) and shows(frozenset((stem(path),)))

        fields["updated"] = [path for path in updated if shown(path)]
        fields["removed"] = [path for path in removed if shown(path)]


Group = QueryGroup | EventGroup
