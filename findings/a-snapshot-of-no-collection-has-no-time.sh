#!/usr/bin/env bash
# A read with read concern snapshot says its cluster time, unless the collection does not exist.
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
    database.create_collection("empty")

    def says_its_time(name):
        reply = database.command({"find": name, "readConcern": {"level": "snapshot"}})
        assert reply["cursor"]["firstBatch"] == []
        return "atClusterTime" in reply["cursor"]

    finding(
        "find with read concern snapshot says atClusterTime: of an empty collection, of one that does not exist",
        expected="(True, True): both say that nothing was there at that time",
        noted=(True, False),
        seen=(says_its_time("empty"), says_its_time("missing")),
    )
PY
done
