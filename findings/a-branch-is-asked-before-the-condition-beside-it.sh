#!/usr/bin/env bash
# find() asks a branch with an expression that fails before the plain condition beside it, unless there is an index.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient
from pymongo.errors import OperationFailure

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"x": 2, "z": 0})
    ratio = {"$expr": {"$gt": [{"$divide": [1, "$z"]}, 0]}}

    def asked() -> str:
        try:
            return f"{len(list(docs.find({'x': 1, '$or': [ratio, {'y': 1}]})))} documents"
        except OperationFailure:
            return "fails"

    without = asked()
    docs.create_index("x")
    finding(
        "find where x is 1 and (1 / z > 0 or y is 1), of one document with x: 2 and z: 0; then with an index on x",
        expected="no document either time: x, which stands first and is cheap, decides",
        noted=("fails", "0 documents"),
        seen=(without, asked()),
    )
PY
done
