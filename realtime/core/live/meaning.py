"""What a query means beside its text: by the dialect of the server at hand, its time zones, its rule's sets."""

from __future__ import annotations

from dataclasses import replace

from realtime.core.live.query import Query
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.timezones import Named, Zones
from realtime.core.mql.membership import Found


def asks(query: Query) -> frozenset[str]:
    """The fields of the dialect that decide what it means."""
    found = query.filter.asks | query.projection.asks
    if query.pipeline is not None:
        found |= query.pipeline.asks
    return found if query.sight is None else found | query.sight.asks


def spoken(query: Query, dialect: Dialect) -> Query:
    """The query as a server of this dialect means it, under the same key; itself where that is no other meaning."""
    selection, shown = query.filter.spoken(dialect), query.projection.spoken(dialect)
    sight = None if query.sight is None else query.sight.changed(lambda rule: rule.spoken(dialect))
    pipeline = None if query.pipeline is None else query.pipeline.spoken(dialect)
    same = selection is query.filter and shown is query.projection and sight is query.sight
    if same and pipeline is query.pipeline:
        return query
    return replace(query, filter=selection, projection=shown, sight=sight, pipeline=pipeline)


def zones(query: Query) -> Named:
    """Time zones whose offsets it needs, and the path at which each is named."""
    found = {**query.projection.zones, **query.filter.zones}
    if query.pipeline is not None:
        found = {**query.pipeline.zones, **found}
    return found if query.sight is None else {**found, **query.sight.zones}


def told(query: Query, tables: Zones) -> Query:
    """The query with the offsets of its zones known, under the same key."""
    sight = None if query.sight is None else query.sight.changed(lambda rule: rule.told(tables))
    pipeline = None if query.pipeline is None else query.pipeline.told(tables)
    selection, shown = query.filter.told(tables), query.projection.told(tables)
    return replace(query, filter=selection, projection=shown, sight=sight, pipeline=pipeline)


def filled(query: Query, found: Found) -> Query:
    """The query with these values in place of its rule's sets, under the same key."""
    sight = None if query.sight is None else query.sight.filled(found)
    return replace(query, filter=query.filter.filled(found), projection=query.projection.filled(found), sight=sight)
