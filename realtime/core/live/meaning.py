"""What a query means beside its text: the dialect of the server at hand, and the time zones that it knows."""

from __future__ import annotations

from dataclasses import replace

from realtime.core.live.query import Query
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.timezones import Named, Zones


def asks(query: Query) -> frozenset[str]:
    """The fields of the dialect that decide what it means."""
    return query.filter.asks | query.projection.asks


def spoken(query: Query, dialect: Dialect) -> Query:
    """The query as a server of this dialect means it, under the same key; itself where that is no other meaning."""
    selection, shown = query.filter.spoken(dialect), query.projection.spoken(dialect)
    same = selection is query.filter and shown is query.projection
    return query if same else replace(query, filter=selection, projection=shown)


def zones(query: Query) -> Named:
    """Time zones whose offsets it needs, and the path at which each is named."""
    return {**query.projection.zones, **query.filter.zones}


def told(query: Query, tables: Zones) -> Query:
    """The query with the offsets of its zones known, under the same key."""
    return replace(query, filter=query.filter.told(tables), projection=query.projection.told(tables))
