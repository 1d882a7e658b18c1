#!/usr/bin/env bash
# A path through an array lets go of what is no object, and MongoDB shows it so; but where something is computed beside
# it, the next stage still counts and unwinds what is not there.
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
    docs.insert_one({"a": [{"b": 1}, 5], "e": 1})
    count = {"$set": {"n": {"$size": "$a"}}}

    def rows(*stages: dict) -> list[dict]:
        return list(docs.aggregate([*stages, {"$unset": "_id"}]))

    finding(
        "a: [{b: 1}, 5] with a.b shown, its $size; the same with m computed beside it, and unwound",
        expected="one element: the array that is shown has one",
        noted=([{"a": [{"b": 1}], "n": 1}], [{"a": [{"b": 1}], "m": 1, "n": 2}], [{"a": {"b": 1}, "m": 1}, {"m": 1}]),
        seen=(
            rows({"$project": {"a.b": 1}}, count),
            rows({"$project": {"a.b": 1, "m": "$e"}}, count),
            rows({"$project": {"a.b": 1, "m": "$e"}}, {"$unwind": "$a"}),
        ),
    )
PY
done
