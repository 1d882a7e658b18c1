#!/usr/bin/env bash
# A field that one stage takes out leaves its place behind, also where a projection hid it: what a later stage sets there
# stands where it was. $mergeObjects makes a new object.
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
    docs.insert_one({"_id": 0, "a": 1, "b": 2})
    again = {"$set": {"a": 9}}

    def names(*stages: dict) -> list[str]:
        (row,) = docs.aggregate([*stages, again])
        return list(row)

    merged = {"$replaceWith": {"$mergeObjects": ["$$ROOT"]}}
    finding(
        "a: 1, b: 2; a hidden and set again; the same with the document made anew between",
        expected="_id, b, a: what is added stands at the end",
        noted=(["_id", "a", "b"], ["_id", "b", "a"]),
        seen=(names({"$project": {"a": 0}}), names({"$project": {"a": 0}}, merged)),
    )
PY
done
