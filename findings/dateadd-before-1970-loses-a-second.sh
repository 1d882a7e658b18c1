#!/usr/bin/env bash
# $dateAdd of a date before 1970 that has a fraction of a second gives a date that is one second early.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import datetime as dt
import os
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    begin = dt.datetime(1969, 12, 31, 23, 59, 50, 500_000)
    docs.insert_one({"_id": 1, "a": begin, "b": begin.replace(microsecond=0)})
    added = {name: {"$dateAdd": {"startDate": f"${name}", "unit": "minute", "amount": 1}} for name in ("a", "b")}
    found = docs.find_one({}, {"_id": 0, "x": added["a"], "y": added["b"]})
    finding(
        "a minute after half a second past 23:59:50 of 1969, and after 23:59:50 sharp",
        expected="00:00:50.5 and 00:00:50",
        noted=["00:00:49.500000", "00:00:50"],
        seen=[str(found[name].time()) for name in ("x", "y")],
    )
PY
done
