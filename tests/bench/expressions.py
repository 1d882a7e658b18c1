"""What expressions cost, operator by operator: `python -m tests.bench.expressions`. CPU time, median of rounds."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from typing import Any

from realtime.core.mql.expressions.compiling import OPERATORS
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.filters import compile_filter
from tests.bench.filters import DOCUMENT, cost, unit
from tests.core.mql.expressions.corners import DATE
from tests.core.mql.expressions.test_corners import CASES

FIVE: dict[str, Any] = {
    "$expr": {
        "$and": [
            {"$gt": [{"$multiply": ["$total", "$ratio"]}, 10]},
            {"$eq": [{"$toLower": "$customer.address.city"}, "turin"]},
        ]
    }
}
"""Five operators, all of which are evaluated, on a document of 20 fields."""


PLAIN: dict[str, Any] = {
    **{name: {name: "$a"} for name in ("$acos", "$asin", "$asinh", "$atan", "$cos", "$tan", "$tanh", "$log10")},
    **{name: {name: "$a"} for name in ("$acosh", "$radiansToDegrees")},
    **{name: {name: "$d"} for name in ("$dayOfMonth", "$month", "$second")},
    **{name: {name: ["$a", "$b"]} for name in ("$gte", "$lte", "$ne")},
    "$let": {"$let": {"vars": {"v": "$a"}, "in": "$$v"}},
    "$literal": {"$literal": 1},
    "$const": {"$const": 1},
    "$size": {"$size": "$l"},
    "$substrBytes": {"$substrBytes": ["$s", 1, 2]},
}
"""For those without a corner, on `VALUES`."""
VALUES: dict[str, Any] = {"_id": 1, "a": 1.0, "b": 2, "d": DATE, "l": [1, 2, 3], "s": "abcdef"}


def by_operator() -> dict[str, list[float]]:
    """Microseconds of one evaluation, for each of the operator's corners that has a value."""
    found: dict[str, list[float]] = defaultdict(list)
    for source, document, _ in CASES:
        if isinstance(source, dict) and len(source) == 1 and next(iter(source)) in OPERATORS:
            found[next(iter(source))].append(
                cost(compile_expression(source).value, {"_id": 1, **document}, calls=100, rounds=5)
            )
    for name, source in PLAIN.items():
        found[name].append(cost(compile_expression(source).value, VALUES, calls=100, rounds=5))
    return found


def main() -> None:
    """Print a table."""
    one = unit()
    found = by_operator()
    sys.stdout.write(f"{'operator':20} {'median, µs':>11} {'dearest':>9} {'plain lookups':>14}\n")
    for name in sorted(found):
        middle = statistics.median(found[name])
        sys.stdout.write(f"{name:20} {middle:11.2f} {max(found[name]):9.2f} {middle / one:14.1f}\n")
    five = min(cost(compile_filter(FIVE).matches, DOCUMENT) for _ in range(3))
    sys.stdout.write(f"{'(five operators)':20} {five:11.2f}\n")


if __name__ == "__main__":
    main()
