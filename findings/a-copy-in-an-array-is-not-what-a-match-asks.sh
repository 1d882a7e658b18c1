#!/usr/bin/env bash
# A $match on a path with dots that $set made of another field is asked of that other field, before the $set. Where the
# path leads into an empty array nothing was set, and the document is found all the same.
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
    docs.insert_one({"list": [], "n": 5})
    copied = {"$set": {"list.a": "$n"}}
    computed = {"$set": {"list.a": {"$add": ["$n", 0]}}}
    asked = {"$match": {"list.a": 5}}

    def found(*stages: dict) -> list[dict]:
        return list(docs.aggregate([*stages, {"$unset": "_id"}]))

    finding(
        "list: [], n: 5; list.a set to n, then asked for list.a: 5; the same set to n + 0",
        expected="nothing: there is no list.a",
        noted=([{"list": [], "n": 5}], []),
        seen=(found(copied, asked), found(computed, asked)),
    )
PY
done
