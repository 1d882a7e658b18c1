"""What can be refused of a request by itself, before anything is done or asked for it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from realtime.core.bson.keys import check_key, check_length
from realtime.core.bson.values import order
from realtime.core.mql.filters import Bounds, compile_filter
from realtime.core.mql.moving import with_last
from realtime.core.mql.updates import check_document, check_update
from realtime.core.wire import protocol
from realtime.core.wire.reserved_names import refusal
from realtime.errors import InvalidRequestError, UnsupportedCollectionError, UnsupportedOperatorError


def check_collection(name: str) -> None:
    """Refuse names that cannot be collections, and the service's own."""
    reason = refusal(name)
    if reason is not None:
        raise UnsupportedCollectionError(
            f"collection {name!r} is not to be had: {reason}", details={"collection": name}
        )


def check_write(request: protocol.Write, bounds: Bounds) -> None:
    """Everything that can be refused before MongoDB is asked."""
    check_collection(request.collection)
    if not isinstance(request, protocol.Insert):
        check_key(request.key)
    if not isinstance(request, protocol.Insert) and request.where is not None:
        compile_filter(request.where, bounds)
    if isinstance(request, protocol.Insert | protocol.Replace):
        check_document(request.document)
    if isinstance(request, protocol.Replace | protocol.Update) and request.upsert:
        check_length(request.key)  # what is there already with a longer one may be changed, and deleted
    if isinstance(request, protocol.Update):
        check_update(request.update, bounds)
    if isinstance(request, protocol.Replace) and order(request.document.get("_id", request.key)) != order(request.key):
        raise InvalidRequestError("document: its _id is not the key", details={"field": "document._id"})


def refuse_fields(request: protocol.Subscribe, most_documents: int) -> None:
    """Refuse what does not go with the mode, with another field, or is not there, by name."""
    if request.skip is not None:
        raise UnsupportedOperatorError(
            "skip is not supported in a live query: ask for a larger limit, or page over HTTP",
            details={"operator": "skip", "path": "skip"},
        )
    if request.mode == "query":
        for name in ("operations", "since"):
            if getattr(request, name) is not None:
                raise InvalidRequestError(f"{name}: belongs to mode events", details={"field": name})
        if request.limit is not None and request.limit > most_documents:
            raise InvalidRequestError(f"limit: at most {most_documents} (limits.documents)", details={"field": "limit"})
        for name in ("filter", "last", "sort", "limit", "projection", "group") if request.pipeline is not None else ():
            if getattr(request, name) is not None:
                raise InvalidRequestError(
                    f"{name}: does not go with pipeline, whose stages say that themselves", details={"field": name}
                )
        for name in ("sort", "limit", "projection") if request.group is not None else ():
            if getattr(request, name) is not None:
                raise InvalidRequestError(
                    f"{name}: does not go with group, whose rows have no order and are shown whole",
                    details={"field": name},
                )
        return
    for name in ("last", "sort", "limit", "throttle", "group", "pipeline", "query"):
        if getattr(request, name) is not None:
            raise InvalidRequestError(f"{name}: belongs to mode query", details={"field": name})


def filter_of(request: protocol.Subscribe) -> dict[str, Any] | None:
    """The filter of a subscription, with what `last` adds to it. `InvalidRequestError`."""
    return request.filter if request.last is None else with_last(request.filter, request.last)


def collections_of(request: protocol.Subscribe) -> frozenset[str] | None:
    """The collections that a subscription is about; None: all. `InvalidRequestError`, `UnsupportedCollectionError`."""
    if request.mode == "query":
        if not isinstance(request.collection, str):
            raise InvalidRequestError("collection: one name in mode query", details={"field": "collection"})
        names = [request.collection]
    else:
        names = [request.collection] if isinstance(request.collection, str) else request.collection
        if names == ["*"]:
            return None
        if not names or "*" in names:
            raise InvalidRequestError('collection: names, or "*" alone', details={"field": "collection"})
    for name in names:
        check_collection(name)
    return _shared(frozenset(names))


@lru_cache(maxsize=1024)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all queries of the same collections."""
    return names
