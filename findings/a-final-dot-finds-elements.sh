#!/usr/bin/env bash
# A path that ends with a dot asks for a field without a name; at an array it finds elements instead.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    kinds = {"nameless field": {"": 1}, "number": 1, "array": [1], "array of nameless": [{"": 1}]}
    docs.insert_many({"_id": name, "a": value} for name, value in kinds.items())
    finding(
        "find({'a.': 1})",
        expected="['array of nameless', 'nameless field'], as any other last name would have it",
        noted=["array", "nameless field"],
        seen=sorted(one["_id"] for one in docs.find({"a.": 1})),
    )
PY
done
