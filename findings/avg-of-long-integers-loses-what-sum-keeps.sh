#!/usr/bin/env bash
# Two long integers that differ by one: their $sum is exact, and their $avg is 0 in the classic engine, in the same
# $group. The newer engine has both right. 6.0.27 runs a plain $group by the classic one, 6.0.5 by the newer.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson.int64 import Int64
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_many([{"v": Int64(2**62 + 1)}, {"v": Int64(-(2**62))}])

    def row():
        (found,) = docs.aggregate([{"$group": {"_id": None, "sum": {"$sum": "$v"}, "avg": {"$avg": "$v"}}}])
        return found["sum"], found["avg"]

    first = row()
    client.admin.command("setParameter", 1, internalQueryForceClassicEngine=True)
    finding(
        "$sum and $avg of 2^62 + 1 and -2^62: as the server starts, and by the classic engine",
        expected="the average is half of the sum",
        noted=((1, 0.5 if os.environ["MONGOD"] == "mongod 6.0.5" else 0.0), (1, 0.0)),
        seen=(first, row()),
    )
PY
done
