"""docs/pipelines.md, made from the tables of the code: `python -m tests.pipelines_page` writes it."""

from __future__ import annotations

from pathlib import Path

from realtime.core.mql.dialect import PROBES
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.language import ACCUMULATORS, REFUSED, REFUSED_ACCUMULATORS, STAGES
from tests.operators_page import table

PAGE = Path(__file__).parents[1] / "docs" / "pipelines.md"

BEGIN = """# Pipelines

This page is made from the code (`python -m tests.pipelines_page`); a test fails when it is stale.

An aggregation pipeline means here what it means to the classic engine of MongoDB 6.0: which rows there are, their
values and types, and the order of their fields. What cannot be followed exactly is refused by name and place
(`pipeline.2.$lookup`), and the error says what to do instead. In every run of the tests more than 3,000 pipelines at
random are evaluated here and by a real mongod.

```json
[{"$match": {"status": "paid"}},
 {"$unwind": "$items"},
 {"$group": {"_id": "$items.sku", "sold": {"$sum": "$items.qty"}}},
 {"$match": {"sold": {"$gte": 10}}},
 {"$sort": {"sold": -1}},
 {"$limit": 10}]
```
"""
ORDER = """## In which order

Stages stand in this order; each part may be left out.

1. `$match`: the documents that are followed at all. A pipeline of nothing else is the plain query. Time may move
   conditions of it (`$$NOW` less a constant), which nothing else here may name.
2. Stages for each document: `$match $set $addFields $project $unset $replaceRoot $replaceWith $unwind`.
3. `$sort`, `$skip`, `$limit`: without a `$group` behind it `$limit` may be missing.
4. Stages for each document again.
5. One of `$group $bucket $sortByCount $count`.
6. Stages for each row, but `$unwind`. A `$match` here lets go of rows.
7. `$sort`, `$skip`, `$limit`, the last two each or both.
8. Stages for each row, but `$unwind` and `$match`.

`$bucket` and `$sortByCount` leave their rows in an order, as MongoDB's do; `$skip` and `$limit` may follow right
behind, and a `$match` does not disturb it. `_id` ends every `$sort` and every `sortBy`, whether it is named or not.

## Every row has one key

Without a group a row is known by its document's `_id`, with a group by the group's. So `_id` may not be changed,
computed or hidden: put what it should be into another field, and hide `_id` where it is shown. `$replaceRoot` keeps
it by `"_id": "$_id"` in the new document, or as the last of `$mergeObjects`. Before a `$group` anything goes, but a
`$sort` there, and `$top` and its relatives in it, end with `_id` and need it as it was. `$unwind` makes several rows
of one document and needs a `$group` behind it. The row of `$count` has no `_id`; its key is null.
"""
UNSURE = """## What is otherwise than one would expect

Some of it is MongoDB's, and followed:

* `{"$set": {"a": {"b": 1}}}` sets `a.b`, in every element of an array; what is no object becomes one.
  `{"$literal": …}` replaces `a`.
* A field that one stage takes out and a later one sets stands where it was, not at the end.
* `{"$group": {"_id": {"a": "$x"}}}` has one row for null and for what is missing; by two fields they are two rows.
* A `$sort` by `_id` alone takes an array for one value; beside other paths it goes by the array's elements. Two arrays
  with the same least element have one place then, and MongoDB has no order of them.

Where MongoDB's own answer hangs on how it happens to evaluate, the pipeline is refused, and the error says how to
write it otherwise:

* `$type`, `$exists`, `$expr` or `$jsonSchema` of a group's `_id` that is a path: MongoDB asks the documents before they
  are grouped, and leaves out those without the field. Group by `{"$ifNull": ["$x", null]}`.
* A `$match` of a path with dots that was set to another field: MongoDB asks that field. Copy by `$ifNull`.
* Setting what may be missing before a `$sort`, or a name inside an object that may have been made without it.
* `{"$project": {"a.b": 1}}` behind a stage that sets `a`: MongoDB reads of a document's `a` only the parts that are
  asked for, and puts what was set at the end where it has none. Put a `$project` with all of `a` before it.

A document with a value of which it is not certain what MongoDB makes ends the query with `unsupported_value`, one that
makes an expression fail with `invalid_document`: as with any expression ([expressions.md](expressions.md)). MongoDB may
ask a later `$match` before what fails, and then does not fail where it does here: put the `$match` first. A `$sort` by
a path through an array of objects and of other values goes by all of them here; MongoDB leaves the others out where it
reads but parts of the document.
"""


def page() -> str:
    """The whole text."""
    bounds = Bounds()
    limits = [
        ("stages", f"{bounds.stages}: `invalid_filter`"),
        ("parts of expressions, conditions and paths, of all stages", f"{bounds.nodes:,}: `invalid_filter`"),
        ("accumulators of a group", f"{bounds.accumulators}: `invalid_filter`"),
        ("boundaries of a `$bucket`", f"{bounds.boundaries}: `invalid_filter`"),
        ("`n` of `$minN`, `$topN` and their relatives", f"{bounds.several:,}: `invalid_filter`"),
        ("rows that `$skip` leaves out", f"{bounds.skipped:,}: `invalid_filter`"),
        ("rows that `$unwind` makes of one document", f"{bounds.rows:,}: `too_large`"),
        ("bytes of one document between two stages", f"{bounds.bytes:,}: `too_large`"),
        ("steps of one document: a part for each row, and what its loops take", f"{bounds.steps:,}: `too_large`"),
    ]
    depends = [
        (", ".join(f"`{name}`" for name in sorted(probe.operators)), f"{known.words} ({known.seen})")
        for probe in PROBES
        if probe.operators & ACCUMULATORS.keys()
        for known in probe.known
    ]
    refused = [(f"`{name}`", reason) for name, reason in {**REFUSED, **REFUSED_ACCUMULATORS}.items()]
    refused.append(("every other name", "is not known here"))
    return "\n".join(
        [
            BEGIN,
            table(("stage", "gives"), [(f"`{name}`", meaning) for name, meaning in STAGES.items()]),
            ORDER,
            "## Accumulators\n",
            table(("accumulator", "shows"), [(f"`{name}`", meaning) for name, meaning in ACCUMULATORS.items()]),
            "Their arguments are any [expressions](expressions.md); `n` is a constant.\n",
            "## Refused\n",
            table(("name", "it"), refused),
            UNSURE,
            "## Bounds\n",
            table(("bound", "over it"), limits),
            "## What depends on the server\n",
            table(("accumulators", "what they do"), depends),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
