"""What a client makes of its frames, by section 4 of the protocol and nothing else, and strict about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime.core.bson import ejson
from realtime.core.live.events import parse_position
from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from tests.core.examples import EPOCH
from tests.hub.fakes import Store

Documents = dict[str, Any]


@dataclass(slots=True)
class Held:
    """One subscription on the client's side. `history`: the view at each position that it was told of."""

    channel: int = 0
    query: str = ""
    documents: Documents = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    live: bool = False
    time: int = 0
    open_snapshot: bool = False
    resyncs: list[str] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    history: list[tuple[int, Documents]] = field(default_factory=list)

    def reach(self, position: str) -> None:
        time = parse_position(position, EPOCH)
        assert time >= self.time, "positions never go back"
        self.time = time
        self.history.append((time, dict(self.documents)))


class View:
    """One connection's subscriptions."""

    def __init__(self, frames: list[bytes]) -> None:
        self.subscriptions: dict[str, Held] = {}
        self.errors: list[dict[str, Any]] = []
        self.heartbeats: list[dict[str, Any]] = []
        self._unfinished: dict[int, list[Any]] = {}
        for frame in frames:
            fields = orjson.loads(frame)
            getattr(self, f"_{fields['type']}")(fields)

    def __getitem__(self, name: str) -> Held:
        return self.subscriptions[name]

    def _held(self, fields: dict[str, Any]) -> Held:
        held = self.subscriptions[fields["id"]]
        assert held.ended is None, "no more frames for it"
        return held

    def _subscribed(self, fields: dict[str, Any]) -> None:
        before = self.subscriptions.get(fields["id"])
        again = before is not None and before.ended is None and before.query != fields["query"]
        assert before is None or before.ended is not None or again, "again only for another effective query"
        assert fields["recovered"] is False
        self.subscriptions[fields["id"]] = Held(channel=fields["channel"], query=fields["query"])

    def _snapshot(self, fields: dict[str, Any]) -> None:
        held = self._held(fields)
        assert not held.live, "a snapshot comes after `subscribed` or `resync`"
        assert held.open_snapshot is not fields["first"]
        if fields["first"]:
            held.documents = {}
        for document in fields["documents"]:
            key = orjson.dumps(document["_id"]).decode()
            assert key not in held.documents
            held.documents[key] = document
        held.open_snapshot = not fields["last"]
        assert ("position" in fields) is fields["last"]
        if fields["last"]:
            held.reach(fields["position"])

    def _live(self, fields: dict[str, Any]) -> None:
        held = self._held(fields)
        assert not held.live
        assert not held.open_snapshot
        held.live = True
        held.reach(fields["position"])

    def _changes(self, fields: dict[str, Any]) -> None:
        self._moment(fields, "changes")

    def _events(self, fields: dict[str, Any]) -> None:
        self._moment(fields, "events")

    def _moment(self, fields: dict[str, Any], kind: str) -> None:
        entries = self._unfinished.setdefault(fields["channel"], [])
        entries += fields[kind]
        if fields.get("more"):
            assert "position" not in fields
            return
        del self._unfinished[fields["channel"]]
        time = parse_position(fields["position"], EPOCH)
        for held in self.subscriptions.values():
            if held.channel != fields["channel"] or not held.live or held.ended is not None:
                continue
            if time > held.time:
                _apply(held, entries, kind)
                held.reach(fields["position"])

    def _resync(self, fields: dict[str, Any]) -> None:
        held = self._held(fields)
        assert held.live
        held.live = False
        held.documents = {}
        held.resyncs.append(fields["reason"])

    def _unsubscribed(self, fields: dict[str, Any]) -> None:
        held = self._held(fields)
        held.ended, held.live = fields, False

    def _error(self, fields: dict[str, Any]) -> None:
        self.errors.append(fields)

    def _heartbeat(self, fields: dict[str, Any]) -> None:
        self.heartbeats.append(fields)


def _apply(held: Held, entries: list[Any], kind: str) -> None:
    if kind == "events":
        held.events += entries
        return
    seen: set[str] = set()
    left = False
    for change in entries:
        key = orjson.dumps(change["key"]).decode()
        assert key not in seen, "a document appears at most once per moment"
        seen.add(key)
        if change["op"] == "leave":
            assert not left, "leaves come first"
            del held.documents[key]
            continue
        left = True
        assert (key in held.documents) is (change["op"] == "update"), change
        assert "index" in change or held.documents.get(key) != change["document"], "a change that changes nothing"
        held.documents[key] = change["document"]
    if any("index" in change for change in entries):
        _reorder(held, entries)


def _reorder(held: Held, entries: list[Any]) -> None:
    """Out with all that the moment names, then in at their places, in the order given."""
    puts = [(change["index"], orjson.dumps(change["key"]).decode()) for change in entries if change["op"] != "leave"]
    assert puts == sorted(puts, key=lambda put: put[0])
    named = {key for _, key in puts}
    keys = [key for key in held.documents if key not in named]
    for index, key in puts:
        assert index <= len(keys)
        keys.insert(index, key)
    held.documents = {key: held.documents[key] for key in keys}


def expected(store: Store, query: Query, time: int) -> Documents:
    """`find` with filter, sort, limit and projection at a cluster time, as JSON has it."""
    found = [(name, document) for name, document in store.at(query.collection, time).items()]
    # As `find` is asked it, and at any time: what time moves has the second of the position as a literal.
    asked = {"$and": [query.filter.rule, query.filter.asked_at(time >> 32)]}
    matches = query.filter.matches if query.filter.moving is None else compile_filter(asked).matches
    found = [(name, document) for name, document in found if matches(document)]
    if query.sort is not None:
        place = query.sort.place
        found = sorted(found, key=lambda one: place(one[1]))[: query.limit]
    return {name: orjson.loads(ejson.encode(query.projection.apply(document))) for name, document in found}


def check_exact(held: Held, store: Store, query: Query) -> None:
    """P1: at every position that it was told of, the view is what `find` gives there."""
    assert held.history, "it was told of no position"
    for time, documents in held.history:
        right = expected(store, query, time)
        assert documents == right, f"at {time}"
        assert query.sort is None or list(documents) == list(right), f"the order at {time}"
