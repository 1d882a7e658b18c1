"""What the tests of the core are about: queries, change events and documents, each named by what it stands for."""

from __future__ import annotations

from typing import Any, Literal

import orjson

from realtime.core.bson.keys import identity
from realtime.core.live.aggregate import compile_grouping
from realtime.core.live.event_group import EventGroup
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.moments import Settled, settle
from realtime.core.live.query import GroupBounds, Query, QueryGroup
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.vision import EVERYTHING, Vision

EPOCH = "0123ABCD"
ROOMY = GroupBounds(documents=1000, bytes=1 << 20, frame_bytes=1 << 20)


def query(
    filter: dict[str, Any] | None = None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None = None,
    *,
    mode: Literal["query", "events"] = "query",
    collections: str | None = "items",
    operations: set[str] | None = None,
    sort: Any = None,
    limit: int | None = None,
    throttle: int = 0,
    group: dict[str, Any] | None = None,
) -> Query:
    """A query as the session makes it; `collections` are names between blanks, None is `*`."""
    return Query.of(
        mode=mode,
        collections=None if collections is None else frozenset(collections.split()),
        filter=compile_filter(filter, moving=mode == "query"),
        projection=compile_projection(projection),
        operations=None if operations is None else frozenset(operations),
        sort=parse_sort(sort) if sort is not None or limit is not None else None,
        limit=limit,
        throttle=throttle,
        grouping=None if group is None else compile_grouping(group),
    )


def piped(*stages: dict[str, Any], throttle: int = 0, vision: Vision = EVERYTHING) -> Query:
    """A query for the stages of a pipeline, as the session makes it."""
    pipeline = compile_pipeline(list(stages))
    return Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=pipeline.match,
        projection=compile_projection(None),
        operations=None,
        throttle=throttle,
        vision=vision,
        pipeline=pipeline,
    )


def group(
    filter: dict[str, Any] | None = None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None = None,
    bounds: GroupBounds = ROOMY,
) -> QueryGroup:
    """A query group that has not been loaded."""
    return QueryGroup(query(filter, projection), 1, EPOCH, bounds)


def live_group(
    *documents: dict[str, Any],
    filter: dict[str, Any] | None = None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None = None,
    at: int = 10,
    bounds: GroupBounds = ROOMY,
    query: Query | None = None,
) -> QueryGroup:
    """A query group that holds these documents, live at cluster time `at`; `query` instead of filter and projection."""
    made = group(filter, projection, bounds) if query is None else QueryGroup(query, 1, EPOCH, bounds)
    return brought_up(made, *documents, at=at)


def brought_up(made: QueryGroup, *documents: dict[str, Any], at: int = 10) -> QueryGroup:
    """Put a snapshot of these documents into a group that waits for one, as far as it wants them."""
    wanted = made.wanted
    found = [document for document in documents if made.query.filter.matches(document)]
    if wanted.sort is not None:
        found = sorted(found, key=parse_sort(wanted.sort).place)[: wanted.limit]
    for document in found:
        made.put(document)
    for _ in made.steps():
        pass
    made.loaded(at, len(found))
    made.caught_up({}, at)
    return made


def event_group(
    filter: dict[str, Any] | None = None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None = None,
    *,
    collections: str | None = "items",
    operations: set[str] | None = None,
) -> EventGroup:
    """A live group in events mode that has been told of everything up to time 10."""
    made = EventGroup(
        query(filter, projection, mode="events", collections=collections, operations=operations), 1, EPOCH
    )
    made.live, made.time = True, 10
    return made


def insert(time: int, document: dict[str, Any], **more: Any) -> ChangeEvent:
    return _event("insert", time, document["_id"], document=document, **more)


def replace(time: int, document: dict[str, Any], **more: Any) -> ChangeEvent:
    return _event("replace", time, document["_id"], document=document, **more)


def update(time: int, key: Any, *updated: str, **more: Any) -> ChangeEvent:
    """An update of these paths, without its document as MongoDB sends it where a collection keeps no images."""
    return _event("update", time, key, updated=updated, **more)


def delete(time: int, key: Any, **more: Any) -> ChangeEvent:
    return _event("delete", time, key, **more)


def _event(op: str, time: int, key: Any, *, collection: str = "items", **more: Any) -> ChangeEvent:
    return ChangeEvent(op, collection, time, key=key, identity=identity(key), **more)


def settled(*events: ChangeEvent, time: int | None = None, lost: bool = False) -> Settled:
    """One batch of these events, settled; it ends with the last of them unless `time` says later."""
    return settle(Batch(events, time if time is not None else events[-1].time, lost))


def shown(entries: list[bytes]) -> list[Any]:
    """Encoded changes or events as a client parses them."""
    return [orjson.loads(entry) for entry in entries]
