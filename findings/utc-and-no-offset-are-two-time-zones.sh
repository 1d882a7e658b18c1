#!/usr/bin/env bash
# $dateFromString of a text that names its zone fails beside the timezone "UTC", and not beside "+00:00".
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
    docs.insert_one({"text": "2020-01-02T03:00:00+01:00"})
    read = {
        name: {"$dateFromString": {"dateString": "$text", "timezone": zone, "onError": "fails"}}
        for name, zone in (("a", "UTC"), ("b", "+00:00"))
    }
    found = docs.find_one({}, {"_id": 0, **read})
    finding(
        "2020-01-02T03:00:00+01:00 read with the timezone UTC, and with +00:00",
        expected="the same from both",
        noted=["fails", "2020-01-02 02:00:00"],
        seen=[str(found[name]) for name in ("a", "b")],
    )
PY
done
