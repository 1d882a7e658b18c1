"""From a change to the query groups that it may concern, without trying them all.

A live group is found in two ways: by the documents that it holds, and by what its filter demands of a document. A group
that is still on its way to live is told of everything. Which updates have to be read to be told is decided by paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.index import Interval, Needs, PredicateIndex
from realtime.core.live.moments import Touch
from realtime.core.live.query import Query, QueryGroup
from realtime.core.mql.demands import Range, probe
from realtime.core.mql.filters import Filter, stem
from realtime.core.mql.paths import WHOLE

Images = Mapping[str, dict[str, Any] | None]


class Router:
    """All groups by query key, those of query mode by collection, those of events mode."""

    def __init__(self) -> None:
        self._by_key: dict[str, Group] = {}
        self._collections: dict[str, _Collection] = {}
        self._events: dict[str | None, dict[EventGroup, None]] = {}
        self._last_channel = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def next_channel(self) -> int:
        """A channel number; never the same twice in a process."""
        self._last_channel += 1
        return self._last_channel

    def find(self, query: Query) -> Group | None:
        """The group of this query, if there is one."""
        return self._by_key.get(query.key)

    def add(self, group: Group, *, beside: bool = False) -> None:
        """Route changes to a group from now on; all of its collection's until it is `settled`.

        `beside`: another group of this query is the one to be found.
        """
        if not beside:
            self._by_key[group.query.key] = group
        if isinstance(group, QueryGroup):
            collection = self._collections.setdefault(group.query.collection, _Collection())
            collection.groups[group] = None
            collection.unsettled[group] = None
        else:
            for name in group.query.collections or (None,):
                self._events.setdefault(name, {})[group] = None

    def remove(self, group: Group) -> None:
        """No longer route to it."""
        if self._by_key.get(group.query.key) is group:
            del self._by_key[group.query.key]
        if isinstance(group, EventGroup):
            for name in group.query.collections or (None,):
                groups = self._events.get(name, {})
                groups.pop(group, None)
                if not groups:
                    self._events.pop(name, None)
            return
        collection = self._collections.get(group.query.collection)
        if collection is None or group not in collection.groups:
            return
        collection.unsettle(group)
        del collection.groups[group], collection.unsettled[group]
        if not collection.groups:
            del self._collections[group.query.collection]

    def settle(self, group: QueryGroup) -> None:
        """It is live: route to it what it holds and what it may gain."""
        self._collections[group.query.collection].settle(group)

    def unsettle(self, group: QueryGroup) -> None:
        """It is to be read again, and holds what it held: call this before it lets go."""
        self._collections[group.query.collection].unsettle(group)

    # ----------------------------------------------------------------------------------------------------- finding

    def needs(self, name: str, touch: Touch) -> bool:
        """Whether any group needs this document to be read to know what the touch means."""
        collection = self._collections.get(name)
        return collection is not None and collection.needs(touch)

    def routes(self, name: str, touches: Iterable[Touch], images: Images) -> dict[QueryGroup, list[Touch]]:
        """The live groups that these touches of a collection may concern, each with those that do."""
        collection = self._collections.get(name)
        return {} if collection is None else collection.routes(touches, images)

    def unsettled(self, name: str) -> tuple[QueryGroup, ...]:
        """The groups of a collection that are on their way to live."""
        collection = self._collections.get(name)
        return () if collection is None else tuple(collection.unsettled)

    def query_groups(self, name: str) -> tuple[QueryGroup, ...]:
        """All groups in query mode of a collection."""
        collection = self._collections.get(name)
        return () if collection is None else tuple(collection.groups)

    def collections(self) -> tuple[str, ...]:
        """The collections that groups in query mode ask for."""
        return tuple(self._collections)

    def asked(self) -> frozenset[str] | None:
        """The collections that anybody asks for, in either mode; None: all of them."""
        if None in self._events:
            return None
        return frozenset((*self._collections, *(name for name in self._events if name is not None)))

    def completed(self) -> frozenset[str] | None:
        """The collections of which somebody may need the documents that updates lack; None: all of them."""
        updated = {name for name, groups in self._events.items() if any(map(_hears_updates, groups))}
        if None in updated:
            return None
        return frozenset((*self._collections, *(name for name in updated if name is not None)))

    def hears(self, name: str) -> bool:
        """Whether anybody asks for this collection."""
        return name in self._collections or name in self._events or None in self._events

    def event_groups(self) -> tuple[EventGroup, ...]:
        """All groups in events mode."""
        return tuple(self.hearing(name for name in self._events if name is not None))

    def hearing(self, names: Iterable[str]) -> dict[EventGroup, None]:
        """The groups in events mode that hear of these collections, or of all."""
        found = dict(self._events.get(None, {}))
        for name in names:
            found.update(self._events.get(name, {}))
        return found


def _hears_updates(group: EventGroup) -> bool:
    operations = group.query.operations
    return operations is None or "update" in operations


class _Collection:
    """The query groups of one collection."""

    def __init__(self) -> None:
        self.groups: dict[QueryGroup, None] = {}
        self.unsettled: dict[QueryGroup, None] = {}
        self._index: PredicateIndex[QueryGroup] = PredicateIndex(probe)
        self._holders: dict[str, dict[QueryGroup, None]] = {}
        self._gains = _Paths()

    def settle(self, group: QueryGroup) -> None:
        if group not in self.unsettled:
            return
        del self.unsettled[group]
        self._index.add(group, needs_of(group.query.filter))
        self._gains.add(group.query.gains)
        watch = _Watch(group, self._holders)
        for name in group.result.names():
            watch.hold(name)
        group.result.watch = watch

    def unsettle(self, group: QueryGroup) -> None:
        if group in self.unsettled:
            return
        self.unsettled[group] = None
        self._index.remove(group)
        self._gains.remove(group.query.gains)
        watch = _Watch(group, self._holders)
        group.result.watch = None
        for name in group.names():
            watch.forget(name)

    def needs(self, touch: Touch) -> bool:
        if touch.paths is None:
            return bool(self.groups)
        if self._gains.touched(touch.paths):
            return True
        holders = self._holders.get(touch.identity, ())
        return any(group.needs(touch) for group in (*holders, *self.unsettled))

    def routes(self, touches: Iterable[Touch], images: Images) -> dict[QueryGroup, list[Touch]]:
        found: dict[QueryGroup, list[Touch]] = {}
        for touch in touches:
            if touch.exact:
                document = touch.document
            elif touch.identity in images:
                document = images[touch.identity]
            else:
                continue  # nobody needed it: it is no more and no less than it was to everybody
            groups = {} if document is None else self._index.candidates(document)
            groups.update(self._holders.get(touch.identity, ()))
            for group in groups:
                found.setdefault(group, []).append(touch)
        return found


@dataclass(frozen=True, slots=True)
class _Watch:
    """Notes which documents a group holds, or has yet to judge."""

    group: QueryGroup
    holders: dict[str, dict[QueryGroup, None]]

    def hold(self, name: str) -> None:
        self.holders.setdefault(name, {})[self.group] = None

    def let_go(self, name: str) -> None:
        if name not in self.group.late:
            self.forget(name)

    def forget(self, name: str) -> None:
        groups = self.holders.get(name, {})
        groups.pop(self.group, None)
        if not groups:
            self.holders.pop(name, None)


class _Paths:
    """Dotted paths that somebody reads, counted."""

    def __init__(self) -> None:
        self._paths: Counter[str] = Counter()
        self._above: Counter[str] = Counter()

    def add(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._paths[path] += 1
            for prefix in _prefixes(path):
                self._above[prefix] += 1

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            _less(self._paths, path)
            for prefix in _prefixes(path):
                _less(self._above, prefix)

    def touched(self, paths: Iterable[str]) -> bool:
        """Whether an update of these paths touches one of them, by prefix both ways."""
        if WHOLE in self._paths:
            return True
        for path in paths:
            touched = stem(path)
            if touched in self._above or any(prefix in self._paths for prefix in _prefixes(touched)):
                return True
        return False


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


def _prefixes(path: str) -> list[str]:
    """The path and everything that it lies in."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def needs_of(selection: Filter) -> Needs:
    """What the index goes by."""
    within = {path: interval for path, ranges in selection.ranges.items() if (interval := _interval(ranges))}
    return Needs(selection.equalities, within)


def _interval(ranges: tuple[Range, ...]) -> Interval | None:
    """What lies in all of these ranges, or the first's rank where they are of several; None where nothing can."""
    rank = ranges[0].rank
    same = [one for one in ranges if one.rank == rank]
    low = max((one.low for one in same if one.low is not None), default=(float(rank),))
    high = min((one.high for one in same if one.high is not None), default=(rank + 0.5,))
    return Interval(low, high)
