"""What is measured: which queries, which document concerns which of them, who subscribes to what.

Pure, and the same in every process: the documents are numbered from 0, and each concerns exactly one query of each
kind, so how many deliveries are right is known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PREFIX = "bench_"
"""Every collection that is written to begins with it."""
KINDS = ("filters", "windows", "groups", "pipelines", "events")
"""Kinds of queries; a document has a field of each name, with the number of the query that it concerns."""
WINDOW = 10
"""Documents of a window: the newest."""
NEAR_THE_BOUND = 0.9
"""How much of what a live query may hold is used at most: a snapshot that is taken again must fit as well."""


@dataclass(frozen=True, slots=True)
class Query:
    """One of `of` distinct queries of a kind."""

    kind: str
    index: int
    of: int

    def frame(self, collection: str, subscription: str) -> dict[str, Any]:
        """The `subscribe` for it."""
        matched = {self.kind: self.index}
        asked: dict[str, Any] = {"type": "subscribe", "id": subscription, "collection": collection}
        if self.kind == "pipelines":
            row = {"_id": f"${self.kind}", "count": {"$sum": 1}, "at": {"$max": "$at"}}
            return {**asked, "pipeline": [{"$match": matched}, {"$group": row}]}
        asked["filter"] = matched
        if self.kind == "windows":
            asked |= {"sort": [["n", -1]], "limit": WINDOW}
        elif self.kind == "groups":
            asked["group"] = {"by": [self.kind], "count": True, "max": ["at"]}
        elif self.kind == "events":
            asked |= {"mode": "events", "operations": ["insert"]}
        return asked

    def documents(self, total: int) -> int:
        """How many of the first so many documents concern it."""
        return len(range(self.index, total, self.of))


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `rate` is documents a second, of which `batch` at a time are written; `payload` is bytes of text each."""

    collection: str
    connections: int
    subscriptions: int
    queries: dict[str, int]
    rate: float
    batch: int
    seconds: float
    payload: int
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Documents of the whole run: whole batches."""
        return max(round(self.rate * self.seconds / self.batch), 1) * self.batch

    @property
    def distinct(self) -> list[Query]:
        """Every query, the kinds in turn, so that few subscriptions are of all kinds as well."""
        most = max(self.queries.values())
        return [
            Query(kind, index, self.queries[kind])
            for index in range(most)
            for kind in KINDS
            if index < self.queries.get(kind, 0)
        ]

    def of_connection(self, number: int, distinct: list[Query]) -> list[Query]:
        """The queries that this connection subscribes to, no two alike."""
        first = number * self.subscriptions
        return [distinct[place % len(distinct)] for place in range(first, first + self.subscriptions)]

    def deliveries(self, total: int) -> int:
        """How many are right of so many documents: of filters and events, which tell each to each subscription once."""
        distinct = self.distinct
        told = [query.documents(total) if query.kind in {"filters", "events"} else 0 for query in distinct]
        rounds, rest = divmod(self.connections * self.subscriptions, len(distinct))
        return rounds * sum(told) + sum(told[:rest])

    def document(self, n: int, at: int) -> dict[str, Any]:
        """Document `n`, written at this microsecond of the machine's monotonic clock."""
        concerns = {kind: n % of for kind, of in self.queries.items() if of}
        return {**self.fields, "_id": key_of(n), "n": n, "at": at, **concerns, "text": "x" * self.payload}

    def wrong(self, limits: Mapping[str, Any]) -> str | None:
        """Why this service cannot do it, by the limits that its `welcome` names; None where it can."""
        if self.subscriptions > (most := int(limits.get("subscriptions", self.subscriptions))):
            return f"a connection has at most {most} subscriptions here: give fewer, or set REALTIME_SUBSCRIPTIONS"
        for kind, bound in (("filters", "documents"), ("groups", "grouped"), ("pipelines", "grouped")):
            held = self.total / self.queries[kind] if self.queries.get(kind) else 0
            most = int(limits.get(bound, 100_000) * NEAR_THE_BOUND)
            if held > most:
                return (
                    f"each of these queries would hold {held:,.0f} documents and may hold {most:,} here: give fewer "
                    f"--seconds or --rate, more --{kind}, or --events, which hold none"
                )
        return None

    def as_json(self) -> dict[str, Any]:
        """As it travels to other processes."""
        return asdict(self)


def key_of(n: int) -> str:
    """The `_id` of document `n`."""
    return f"n{n}"
