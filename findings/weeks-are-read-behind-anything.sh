#!/usr/bin/env bash
# $dateFromString with %G, %V or %u passes over whatever stands before the digits; with %Y, %m or %d it fails there.
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
    docs.insert_one({"week": "year 2021, week 18", "day": "year 2021, 5, 3"})
    read = {
        name: {"$dateFromString": {"dateString": f"${name}", "format": form, "onError": "fails"}}
        for name, form in (("week", "%G%V"), ("day", "%Y%m%d"))
    }
    found = docs.find_one({}, {"_id": 0, **read})
    finding(
        "'year 2021, week 18' read by %G%V, and 'year 2021, 5, 3' by %Y%m%d",
        expected="neither is a date by that format",
        noted=["2021-05-03 00:00:00", "fails"],
        seen=[str(found[name]) for name in ("week", "day")],
    )
PY
done
