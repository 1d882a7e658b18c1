"""Reads under a rule: the rule and what was asked stay apart, so that a hidden document cannot make a read fail.

MongoDB is free to ask the conditions of one filter in any order, and asks an `$or` with an expression in it before an
equality. Then the expression fails of a document that the rule leaves out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bson.raw_bson import RawBSONDocument

from realtime.core.bson import stored
from realtime.core.mql.filters import may_fail
from realtime.errors import InternalError, InvalidDocumentError, InvalidFilterError, ServiceError

log = logging.getLogger("realtime")

Document = Mapping[str, Any]
_ALL = 2**63 - 1
"""A limit that nothing reaches: MongoDB moves no condition from behind one to before it."""
WITHHELD = (
    "MongoDB cannot answer for one of the documents of the collection; which one, and why, is in the service's log"
)


def conditions(rule: Document | None, selection: Document) -> list[dict[str, Any]]:
    """The stages of a pipeline that let through what the rule lets and of that what was asked for."""
    if not rule:
        return [{"$match": selection}] if selection else []
    if not may_fail(selection):
        return [{"$match": both(rule, selection)}]
    return [{"$match": rule}, {"$limit": _ALL}, {"$match": selection}]


def both(rule: Document | None, selection: Document) -> Document:
    """One filter for rule and selection, of which neither can fail because of the other's documents."""
    if not rule or not selection:
        return rule or selection
    return {"$and": [rule, selection]}


def reading(collection: str, options: Document, rule: Document | None = None) -> dict[str, Any]:
    """A `find` by its own options (filter, projection, sort, limit, skip), or the `aggregate` that is the same."""
    selection = options.get("filter") or {}
    if not rule or not may_fail(selection):
        found = both(rule, selection)
        # A filter may name keys that the driver cannot write.
        return {"find": collection, **options, **({"filter": encoded(found)} if found else {})}
    pipeline = [
        *conditions(rule, selection),
        *({f"${name}": options[name]} for name in ("sort", "skip", "limit") if options.get(name)),
        *([{"$project": options["projection"]}] if options.get("projection") else []),
    ]
    rest = {name: value for name, value in options.items() if name not in _STAGES}
    return {"aggregate": collection, "pipeline": [encoded(stage) for stage in pipeline], "cursor": {}, **rest}


def aggregating(collection: str, stages: Sequence[Document]) -> dict[str, Any]:
    """The `aggregate` for a client's stages, the rule among them; it writes nothing to a disk, whatever it sorts."""
    pipeline = [encoded(stage) for stage in stages]
    return {"aggregate": collection, "pipeline": pipeline, "cursor": {}, "allowDiskUse": False}


_STAGES = frozenset({"filter", "sort", "skip", "limit", "projection", "batchSize"})


def encoded(document: Document) -> RawBSONDocument:
    """A document with values that the driver cannot write."""
    return RawBSONDocument(stored.encode(document))


@contextmanager
def withheld(rule: Document | None) -> Iterator[None]:
    """What MongoDB says of a document that may be hidden is told to the log alone."""
    try:
        yield
    except (InternalError, InvalidFilterError) as error:
        if not rule:
            raise
        log.warning("a read under a rule failed: %s", error.message)
        raise _told() from None


def _told() -> ServiceError:
    return InvalidDocumentError(WITHHELD)
