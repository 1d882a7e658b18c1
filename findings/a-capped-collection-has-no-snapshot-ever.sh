#!/usr/bin/env bash
# "Unable to read from a snapshot due to pending collection catalog changes; please retry the operation": in a capped
# collection that is so for good.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os, time
from finding import finding
from pymongo import MongoClient
from pymongo.errors import OperationFailure

with MongoClient(os.environ["URI"]) as client:
    database = client.test
    database.create_collection("plain")
    database.create_collection("capped", capped=True, size=4096)
    for name in ("plain", "capped"):
        database[name].insert_one({})

    def codes(name):
        """Of five reads in five seconds; 0 for one that is answered."""
        found = []
        for _ in range(5):
            try:
                database.command({"find": name, "readConcern": {"level": "snapshot"}})
                found.append(0)
            except OperationFailure as error:
                found.append(error.code)
            time.sleep(1)
        return found

    seen = {name: codes(name) for name in ("plain", "capped")}
finding(
    "find with read concern snapshot, five times in five seconds, in a plain and in a capped collection",
    expected="0, an answer; or an error that says that capped collections have no snapshots",
    noted={"plain": [0] * 5, "capped": [246] * 5},
    seen=seen,
)
PY
done
