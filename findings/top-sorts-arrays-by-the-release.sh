#!/usr/bin/env bash
# $top sorts by an array as one value in 6.0.5, and by its elements in 6.0.27, as $sort does in both.
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
    docs.insert_many([{"_id": "array", "a": [9, 1]}, {"_id": "number", "a": 5}])
    (row,) = docs.aggregate([{"$group": {"_id": None, "r": {"$top": {"sortBy": {"a": 1}, "output": "$_id"}}}}])
    first = next(docs.aggregate([{"$sort": {"a": 1}}]))
    finding(
        "a: [9, 1] and a: 5: the first by $top with sortBy a, and by $sort",
        expected="the array both times, for its least element, in every release of 6.0",
        noted=("number" if os.environ["MONGOD"] == "mongod 6.0.5" else "array", "array"),
        seen=(row["r"], first["_id"]),
    )
PY
done
