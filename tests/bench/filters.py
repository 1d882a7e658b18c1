"""What matching costs, operator by operator: `python -m tests.bench.filters`. CPU time, median of rounds."""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from realtime.core.mql.filters import compile_filter

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OID = ObjectId("5" * 24)
DOCUMENT: dict[str, Any] = {
    "_id": OID,
    "status": "open",
    "total": 42,
    "created": DAY,
    "customer": {"name": "Ada", "address": {"city": "Turin", "zip": "10100"}},
    "tags": ["new", "blue", "large"],
    "items": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 7}],
    "flag": True,
    "nothing": None,
    "size": Int64(2**40),
    "price": Decimal128("19.90"),
    "ratio": 0.25,
    "data": b"\x05\x80",
    **{f"field{number}": number for number in range(7)},
}
"""20 fields, as an order may have them."""

FIVE = {
    "status": "open",
    "total": {"$gte": 10, "$lt": 100},
    "customer.address.city": {"$in": ["Turin", "Milan"]},
    "flag": {"$ne": False},
}
"""Five conditions, all of which are met, so that none ends it early."""

FILTERS: dict[str, dict[str, Any]] = {
    "five conditions": FIVE,
    "{} (nothing asked)": {},
    "$eq, text": {"status": "open"},
    "$eq, number": {"total": 42},
    "$eq, ObjectId": {"_id": OID},
    "$eq, date": {"created": DAY},
    "$eq, Decimal128": {"price": Decimal128("19.9")},
    "$eq, object": {"customer": DOCUMENT["customer"]},
    "$eq, array element": {"tags": "large"},
    "$eq, three names deep": {"customer.address.city": "Turin"},
    "$eq, through an array": {"items.sku": "b"},
    "$ne": {"status": {"$ne": "paid"}},
    "$gt": {"total": {"$gt": 41}},
    "$lte, date": {"created": {"$lte": DAY}},
    "$in of 3": {"status": {"$in": ["new", "open", "paid"]}},
    "$in of 300": {"total": {"$in": list(range(300))}},
    "$nin": {"status": {"$nin": ["new", "paid"]}},
    "$not": {"total": {"$not": {"$gt": 50}}},
    "$exists": {"status": {"$exists": True}},
    "$type": {"total": {"$type": "number"}},
    "$mod": {"total": {"$mod": [7, 0]}},
    "$size": {"tags": {"$size": 3}},
    "$all": {"tags": {"$all": ["new", "large"]}},
    "$elemMatch, values": {"tags": {"$elemMatch": {"$gt": "b", "$lt": "c"}}},
    "$elemMatch, objects": {"items": {"$elemMatch": {"sku": "b", "qty": {"$gt": 5}}}},
    "$bitsAllSet, number": {"size": {"$bitsAllSet": [40]}},
    "$bitsAnySet, data": {"data": {"$bitsAnySet": [15]}},
    "$regex": {"status": {"$regex": "^op"}},
    "$and of 2": {"$and": [{"status": "open"}, {"total": 42}]},
    "$or of 3": {"$or": [{"status": "new"}, {"status": "paid"}, {"status": "open"}]},
    "$nor of 2": {"$nor": [{"status": "new"}, {"status": "paid"}]},
}


def cost(work: Callable[[Any], Any], argument: Any, *, calls: int = 2000, rounds: int = 15) -> float:
    """Microseconds of CPU a call."""
    took = []
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(calls):
            work(argument)
        took.append((time.thread_time() - began) / calls * 1e6)
    return statistics.median(took)


def unit() -> float:
    """A call that looks up a field and compares it: what the machine's own speed is told by."""
    return cost(lambda document: document.get("status") == "open", DOCUMENT)


def main() -> None:
    one = unit()
    sys.stdout.write(f"{'filter':26} {'match µs':>9} {'compile µs':>11} {'x a plain lookup':>17}\n")
    for name, source in FILTERS.items():
        matches = compile_filter(source).matches
        assert matches(DOCUMENT), name
        spent, made = cost(matches, DOCUMENT), cost(compile_filter, source, calls=50, rounds=5)
        sys.stdout.write(f"{name:26} {spent:9.2f} {made:11.1f} {spent / one:17.1f}\n")
    sys.stdout.write(f"{'(a plain lookup)':26} {one:9.2f}\n")


if __name__ == "__main__":
    main()
