#!/usr/bin/env bash
# Two operators that mean something else in 6.0.27 than in 6.0.5, with no change of any setting between them.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson.decimal128 import Decimal128
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"n": 1, "a": Decimal128("NaN")})
    (row,) = docs.aggregate([{"$project": {"text": {"$toString": {"$divide": ["$n", 3]}}}}])
    clear = docs.count_documents({"a": {"$bitsAllClear": 1}})
    old = os.environ["MONGOD"] == "mongod 6.0.5"
    finding(
        "$toString of 1/3; how many Decimal128 NaN have bit 0 clear",
        expected="the same in every release of 6.0: all digits of the double, and 0, as for a NaN of a double",
        noted=("0.333333", 1) if old else ("0.3333333333333333", 0),
        seen=(row["text"], clear),
    )
PY
done
