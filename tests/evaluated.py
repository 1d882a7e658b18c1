"""A compiled pipeline over a list of documents, from scratch: what any other way of keeping its rows has to agree with.

Nothing here is kept between two documents, and accumulators look at all values at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from realtime.core.bson.values import MISSING, order
from realtime.core.mql.expressions.accumulators import _best, _deviation, _extreme, average_of, sum_of
from realtime.core.mql.expressions.numbers import nullish
from realtime.core.mql.pipelines.pipeline import Accumulator, Group, Pipeline, Stages, Top

Row = dict[str, Any]


def evaluated(pipeline: Pipeline, documents: Iterable[Row]) -> list[Row]:
    """What `aggregate` gives for documents that come in this order; rows of no order as they come up first."""
    rows = [document for document in documents if pipeline.match.matches(document)]
    rows = _topped(pipeline.first, _through(pipeline.before, rows))
    rows = _through(pipeline.between, rows)
    if pipeline.group is not None:
        rows = _grouped(pipeline.group, rows)
    return _through(pipeline.shown, _topped(pipeline.last, _through(pipeline.after, rows)))


def _through(stages: Stages, rows: Iterable[Row]) -> list[Row]:
    return [made for row in rows for made in stages.run(row)]


def _topped(top: Top | None, rows: list[Row]) -> list[Row]:
    if top is None:
        return rows
    ordered = sorted(rows, key=top.sort.place)[top.skip :]
    return ordered if top.limit is None else ordered[: top.limit]


def _grouped(group: Group, rows: Sequence[Row]) -> list[Row]:
    found: dict[Any, tuple[Any, list[Row]]] = {}
    for row in rows:
        key = group.key(row)
        found.setdefault(order(key), (key, []))[1].append(row)
    return [group.row(key, [_accumulated(one, held) for one in group.accumulators]) for key, held in found.values()]


def _accumulated(one: Accumulator, rows: Sequence[Row]) -> Any:
    values = [one.value(row) for row in rows]
    if one.place is not None:
        placed = sorted(((one.place(row), value) for row, value in zip(rows, values, strict=True)), key=itemgetter(0))
        return one.chosen(placed)
    if one.operator == "$count":
        return len(values)
    if one.operator in {"$sum", "$avg"}:
        return (sum_of if one.operator == "$sum" else average_of)(values)
    if one.operator in {"$stdDevPop", "$stdDevSamp"}:
        return (_OF_SAMPLE if one.operator == "$stdDevSamp" else _OF_ALL)(values)
    if one.operator == "$addToSet":
        different: dict[Any, Any] = {}
        for value in values:
            if value is not MISSING:
                different.setdefault(order(value), value)
        return [different[place] for place in sorted(different)]
    if one.operator in {"$min", "$max"}:
        return (_GREATEST if one.operator == "$max" else _LEAST)(values)
    given = [value for value in values if not nullish(value)]
    return _best(given, one.count or 0, greatest=one.operator == "$maxN")


_OF_SAMPLE, _OF_ALL = _deviation(sample=True), _deviation(sample=False)
_LEAST, _GREATEST = _extreme(lambda value, best: value < best), _extreme(lambda value, best: value > best)
