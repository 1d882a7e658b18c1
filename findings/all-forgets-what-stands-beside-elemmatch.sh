#!/usr/bin/env bash
# Inside $all, operators beside $elemMatch are dropped without a word, also those that do not exist.
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
    docs.insert_one({"a": [1, 5]})
    found = docs.count_documents
    finding(
        "$all with one $elemMatch means more than that $elemMatch",
        expected="(0, 0, 'an error'): no array of two has the size 99, and there is no $nosuch",
        noted=(0, 1, 1),
        seen=(
            found({"a": {"$elemMatch": {"$gt": 3}, "$size": 99}}),
            found({"a": {"$all": [{"$elemMatch": {"$gt": 3}, "$size": 99}]}}),
            found({"a": {"$all": [{"$elemMatch": {"$gt": 3}, "$nosuch": 99}]}}),
        ),
    )
PY
done
