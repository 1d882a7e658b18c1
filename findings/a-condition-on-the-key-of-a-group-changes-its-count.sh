#!/usr/bin/env bash
# A $match on _id behind a $group by a path is asked of the documents before they are grouped. A document without the
# field is of the row null, and is left out where the condition tells null from missing.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version" --setParameter internalQueryForceClassicEngine=true
  "$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_many([{"x": None}, {}, {"x": 1}])
    rows = {"$group": {"_id": "$x", "n": {"$sum": 1}}}
    null = {"$match": {"_id": {"$type": "null"}}}
    equal = {"$match": {"$expr": {"$eq": ["$_id", None]}}}
    computed = {"$group": {"_id": {"$ifNull": ["$x", None]}, "n": {"$sum": 1}}}

    def counts(*stages: dict) -> list[int]:
        return [row["n"] for row in docs.aggregate(list(stages))]

    finding(
        "x: null, no x, x: 1, grouped by x; the row null by its type, by $expr, and grouped by an expression",
        expected="two documents each time: a condition on rows does not change what they count",
        noted=([1], [1], [2]),
        seen=(counts(rows, null), counts(rows, equal), counts(computed, null)),
    )
PY
done
