"""The words of pipelines: which stages and accumulators are followed, and what is refused, why, and what to do instead.

docs/pipelines.md is made from these tables (`python -m tests.pipelines_page`).
"""

from __future__ import annotations

from typing import Final

STAGES: Final = {
    "$match": "documents or rows that match a filter",
    "$set": "fields computed, beside what is there; a path goes through arrays",
    "$addFields": "the same as `$set`",
    "$project": "some fields, all but some, or computed ones",
    "$unset": "all fields but these",
    "$replaceRoot": "an object in place of the document",
    "$replaceWith": "the same as `$replaceRoot`",
    "$unwind": "one row for each element of an array; before a `$group`",
    "$sort": "an order; `_id` ends it",
    "$skip": "right behind a `$sort`: so many rows are left out",
    "$limit": "right behind a `$sort` or its `$skip`: so many rows at most",
    "$group": "one row for each value, made of the documents that have it",
    "$bucket": "one row for each range of values",
    "$sortByCount": "one row for each value, the most frequent first",
    "$count": "one row: how many there are",
}
PER_DOCUMENT: Final = frozenset(
    {"$match", "$set", "$addFields", "$project", "$unset", "$replaceRoot", "$replaceWith", "$unwind"}
)
GROUPS: Final = frozenset({"$group", "$bucket", "$sortByCount", "$count"})

ACCUMULATORS: Final = {
    "$sum": "the sum of the numbers",
    "$avg": "their average",
    "$min": "the least value",
    "$max": "the greatest value",
    "$count": "how many there are",
    "$stdDevPop": "the standard deviation of all",
    "$stdDevSamp": "the standard deviation of a sample",
    "$addToSet": "the different values, here in BSON's order",
    "$minN": "the `n` least values",
    "$maxN": "the `n` greatest values",
    "$top": "the `output` of the first by `sortBy`",
    "$topN": "the `output` of the first `n` by `sortBy`",
    "$bottom": "the `output` of the last by `sortBy`",
    "$bottomN": "the `output` of the last `n` by `sortBy`",
}

_OTHER = "reads what changes elsewhere, of which nobody here would be told: ask for the other one by itself"
_WRITES = "writes"
_SERVER = "is about the server, not about documents"
_SEARCH = "needs a search index"
_GEO = "needs a sphere's geometry and an index"
_ROWS = "makes rows of more than their own documents: do that where they are shown"
REFUSED: Final = {
    "$lookup": _OTHER,
    "$graphLookup": _OTHER,
    "$unionWith": _OTHER,
    "$facet": "is several pipelines: ask for each by itself",
    "$out": _WRITES,
    "$merge": _WRITES,
    "$sample": "is decided by chance, so no view of it could be exact: use $sort with $limit",
    "$bucketAuto": "has bounds that move with every document: use $bucket",
    "$redact": "decides by every part of a document: use $match, and $unset or $project",
    "$densify": _ROWS,
    "$fill": _ROWS,
    "$setWindowFields": _ROWS,
    "$geoNear": _GEO,
    "$search": _SEARCH,
    "$searchMeta": _SEARCH,
    "$vectorSearch": _SEARCH,
    "$documents": "has no collection",
    "$changeStream": "is what this service reads: subscribe in mode events",
    "$collStats": _SERVER,
    "$indexStats": _SERVER,
    "$planCacheStats": _SERVER,
    "$currentOp": _SERVER,
    "$listSessions": _SERVER,
    "$listLocalSessions": _SERVER,
    "$listCatalog": _SERVER,
}
"""Stages by name, with the reason and the mend. Every other name is refused as well."""

_BY_ARRIVAL = "goes by the order in which documents arrive, which nothing defines"
REFUSED_ACCUMULATORS: Final = {
    "$push": f"{_BY_ARRIVAL}: use $topN with sortBy, n and output",
    "$first": f"{_BY_ARRIVAL}: use $top with sortBy and output, or $topN",
    "$last": f"{_BY_ARRIVAL}: use $bottom with sortBy and output, or $topN",
    "$firstN": f"{_BY_ARRIVAL}: use $topN with sortBy, n and output",
    "$lastN": f"{_BY_ARRIVAL}: use $bottomN with sortBy, n and output, or $topN",
    "$mergeObjects": f"{_BY_ARRIVAL}: use $topN with sortBy, n and output",
    "$accumulator": "runs code inside MongoDB",
}
