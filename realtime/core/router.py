"""From a change to the query groups that it may concern."""

from __future__ import annotations

from realtime.core.query import EventGroup, Group, Query, QueryGroup


class Router:
    """All groups by query key, and the live ones of query mode by collection."""

    def __init__(self) -> None:
        self._by_key: dict[str, Group] = {}
        self._by_collection: dict[str, dict[QueryGroup, None]] = {}
        self._events: dict[EventGroup, None] = {}
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

    def add(self, group: Group) -> None:
        """Route changes to a group from now on."""
        self._by_key[group.query.key] = group
        if isinstance(group, QueryGroup):
            self._by_collection.setdefault(group.query.collection, {})[group] = None
        else:
            self._events[group] = None

    def remove(self, group: Group) -> None:
        """No longer route to it."""
        if self._by_key.get(group.query.key) is group:
            del self._by_key[group.query.key]
        if isinstance(group, EventGroup):
            self._events.pop(group, None)
            return
        groups = self._by_collection.get(group.query.collection, {})
        groups.pop(group, None)
        if not groups:
            self._by_collection.pop(group.query.collection, None)

    def query_groups(self, collection: str) -> tuple[QueryGroup, ...]:
        """The groups in query mode that a change of this collection may concern."""
        return tuple(self._by_collection.get(collection, ()))

    def all_query_groups(self) -> tuple[QueryGroup, ...]:
        """All groups in query mode."""
        return tuple(group for groups in self._by_collection.values() for group in groups)

    def event_groups(self) -> tuple[EventGroup, ...]:
        """All groups in events mode."""
        return tuple(self._events)
