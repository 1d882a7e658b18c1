#!/usr/bin/env bash
# convertToCapped ends the change stream of its collection, and tells the database's one of a name nobody has used.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"]) as client:
    database = client.test
    database.docs.insert_one({})
    with database.watch(show_expanded_events=True) as every, database.docs.watch() as one:
        database.command("convertToCapped", "docs", size=100_000)
        told = []
        for event in (every.next(), every.next()):
            name = event["ns"]["coll"]
            told.append((event["operationType"], "docs" if name == "docs" else f"…{name[name.index('.'):]}"))
        ends = [one.next()["operationType"] for _ in range(2)]
    finding(
        "convertToCapped in a change stream of the database (with expanded events), and in one of the collection",
        expected="one event that says what was done to docs, as collMod has; the collection's stream goes on",
        noted=(
            [("create", "….convertToCapped.docs"), ("rename", "….convertToCapped.docs")],
            ["rename", "invalidate"],
        ),
        seen=(told, ends),
    )
PY
done
