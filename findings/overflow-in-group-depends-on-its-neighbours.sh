#!/usr/bin/env bash
# Arithmetic over the range of a long is a double or, in 6.0.5, a Decimal128 in a $group that its newer engine runs.
# 6.0.27 runs the same $group by its older engine, so a patch release changes the type, too.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson.int64 import Int64
from finding import finding
from pymongo import MongoClient

def kind(*stages, field="m"):
    (row,) = docs.aggregate(list(stages))
    return type(row[field]).__name__

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"a": Int64(2**63 - 1)})
    more = {"$add": ["$a", 1]}
    group = {"_id": None, "m": {"$max": more}}
    finding(
        "$add of 1 to the greatest long: in $project, in $group, in $group beside {$first: {$toString: '$a'}}",
        expected="three times float, as the manual has it: an overflow of a long is a double",
        noted=("float", "Decimal128" if os.environ["MONGOD"] == "mongod 6.0.5" else "float", "float"),
        seen=(
            kind({"$project": {"m": more}}),
            kind({"$group": group}),
            kind({"$group": {**group, "text": {"$first": {"$toString": "$a"}}}}),
        ),
    )
PY
done
