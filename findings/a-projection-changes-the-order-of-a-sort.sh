#!/usr/bin/env bash
# A sort in memory is done after a projection that includes: elements that this lets go do not count any more.
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
    docs.insert_many([{"_id": "mixed", "a": [{"b": 5}, 7]}, {"_id": "four", "a": [{"b": 4}]}])

    def order(projection: dict[str, int] | None) -> list[str]:
        return [one["_id"] for one in docs.find({}, projection).sort("a.b", 1)]

    finding(
        "a: [{b: 5}, 7] and a: [{b: 4}], sorted by a.b; then with the projection {'a.b': 1}",
        expected="one order: what is shown of documents does not change where they stand",
        noted=(["mixed", "four"], ["four", "mixed"]),
        seen=(order(None), order({"a.b": 1})),
    )
PY
done
