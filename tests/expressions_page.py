"""docs/expressions.md, made from the tables of the code: `python -m tests.expressions_page` writes it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from realtime.core.mql.dialect import PROBES
from realtime.core.mql.expressions.compiling import OPERATORS, REFUSED, SYSTEM
from realtime.core.mql.expressions.evaluation import HEADINGS
from realtime.core.mql.expressions.scope import Bounds
from tests.operators_page import table

PAGE = Path(__file__).parents[1] / "docs" / "expressions.md"

BEGIN = """# Expressions

This page is made from the code (`python -m tests.expressions_page`); a test fails when it is stale.

`$expr` of a filter takes MongoDB's aggregation expressions, and a projection may compute paths by them. They mean here
what they mean to the classic engine of MongoDB 6.0, which is the one that answers a `find`: values, their types, the
order of fields, and what is missing. Every operator that a server counts is served, or refused below by name and
reason. In every run of the tests expressions at random are decided here and by a real mongod.

```json
{"type": "subscribe", "id": "dear", "collection": "orders", "filter": {"$expr": {"$gt": ["$total", "$limit"]}},
 "projection": {"total": 1, "over": {"$subtract": ["$total", "$limit"]}}}
```

An expression has three outcomes for a document. A *value*. A *failure*, where MongoDB fails as well: the query ends
with `invalid_document`. And where it is not certain which value MongoDB has, the query ends with `unsupported_value`;
nothing is guessed. A part without paths that fails is refused when the query is asked, as MongoDB refuses it. An
expression is asked after the plain conditions beside it, and a failure counts only where nothing else decides: what
`{"$or": [{"$expr": …}, {"a": 1}]}` is where `a` is 1 does not hang on the expression. MongoDB asks in an order of its
own, by kinds of conditions and by indexes, and may fail there.

Constants are decided before any document, as by MongoDB's optimizer: `{"$and": [EXPRESSION, false]}` is false whatever
the expression is, and `$cond`, `$switch` and `$ifNull` of a constant are what it chooses. The optimizer does not look
into `$getField`, `$setField`, `$unsetField`, `$firstN`, `$lastN`, `$maxN` and `$minN`: in there everything is evaluated
as it is written, and may fail.
"""
COMPUTED = """## Projections that compute

`{"total": {"$multiply": ["$price", "$qty"]}}` shows `_id` and `total`; with `"price": 1` beside it also that. What is
computed stands behind what is shown. `_id` is shown as it is, or over HTTP not at all. `$slice`, `$elemMatch` and
`$meta` right at a path are `find`'s own and refused there; `{"$let": {"vars": {}, "in": …}}` around it makes an
expression of `$slice`.
"""
UNSURE = """## What is not certain

* decimals in `$exp $ln $log $log10 $pow` and in trigonometry: MongoDB does not round each of them correctly. Take
  `$toDouble` of them first.
* the text of a NaN in `$toLower`, `$toUpper` and their relatives, where MongoDB shows a sign that no other operator
  sees. `$toString` has none.
* text that is no UTF-8, and objects in which a name stands twice, where an operator looks into them.
* texts that are no dates of ISO 8601 in `$toDate`, `$convert`, and `$dateFromString` without a `format`: MongoDB takes
  some of them. With a `format`, zones for `%z` that are neither an offset nor `Z`, `UTC` or `GMT`.
* dates before 1970 and after 2037 in a time zone that is named by a place.

What MongoDB evaluates itself is its own answer, and not refused so: filters of what is read (snapshots, and over HTTP
pages, NDJSON and `count`), and over HTTP projections, except where a page is sorted by what its projection hides or
computes. Everything else is decided here: the changes after a snapshot, events, and the projections of both.

A `timezone` is a constant. Its offsets are asked of the server when the first query with it is asked: each mongod
brings its own table, and a name that is not in it is `invalid_filter` at every entrance. Patterns of `$regexMatch`,
`$regexFind` and `$regexFindAll` are constants and hold what [operators.md](operators.md) says; the latter two repeat
nothing that may be empty, such as `(a*)+`. The arguments of `$range` are constants.
"""


def page() -> str:
    """The whole text."""
    assert HEADINGS
    by_heading = sorted(OPERATORS.values(), key=lambda one: (one.heading, one.name))
    served = [
        (heading, " ".join(f"`{one.name}`" for one in some))
        for heading, some in groupby(by_heading, key=lambda one: one.heading)
    ]
    refused = [(f"`{name}`", reason) for name, reason in REFUSED.items()]
    refused += [(f"`$${name}`", reason) for name, reason in SYSTEM.items()]
    bounds = Bounds()
    limits = [
        ("parts of an expression", f"{bounds.nodes:,}: `invalid_filter`"),
        ("its depth", f"{bounds.depth}: `invalid_filter`"),
        ("`$map`, `$filter`, `$reduce` inside of each other", f"{bounds.loops}: `invalid_filter`"),
        ("numbers of a `$range`", f"{bounds.elements:,}: `invalid_filter`"),
        ("steps for one document: a part evaluated in a loop, a KiB read or made", f"{bounds.steps:,}: `too_large`"),
        ("bytes of a value that is made", f"{bounds.bytes:,}: `too_large`"),
    ]
    depends = [
        (", ".join(f"`{name}`" for name in sorted(probe.operators)), f"{known.words} ({known.seen})")
        for probe in PROBES
        if probe.operators & OPERATORS.keys()
        for known in probe.known
    ]
    return "\n".join(
        [
            BEGIN,
            table(("heading", "operators"), served),
            COMPUTED,
            "## Refused\n",
            table(("name", "it"), refused),
            UNSURE,
            "## Bounds\n",
            table(("bound", "over it"), limits),
            "## What depends on the server\n",
            table(("operators", "what they do"), depends),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
