#!/usr/bin/env bash
# An update by a pipeline that puts another document in place is `replace` or `update` to a change stream by its length.
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

    def told(length: int) -> str:
        docs.drop()
        docs.insert_one({"_id": 1, "a": 1, "kept": 1, "text": "x" * length})
        given = {"_id": 1, "a": 2, "text": "x" * length}
        with docs.watch() as stream:
            docs.update_one({}, [{"$replaceWith": {"$mergeObjects": [{"$literal": given}, {"kept": "$kept"}]}}])
            event = stream.next()
        return " ".join([event["operationType"], *sorted(event.get("updateDescription", {}).get("updatedFields", {}))])

    finding(
        "the operation of an update whose pipeline is one $replaceWith; of a document with a text of 1 and of 1000",
        expected="replace both times: the document was replaced",
        noted=("replace", "update a kept"),
        seen=(told(1), told(1000)),
    )
PY
done
