#!/usr/bin/env bash
# _id cannot be changed, but its number type can; and the change stream names the document by the old one.
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
    docs.insert_one({"_id": 1})
    with docs.watch() as stream:
        docs.replace_one({"_id": 1}, {"_id": 1.0, "n": 2})
        docs.update_one({"_id": 1}, {"$set": {"n": 3}})
        replaced, updated = stream.next(), stream.next()
    keys = replaced["documentKey"]["_id"], replaced["fullDocument"]["_id"], updated["documentKey"]["_id"]
    finding(
        "a replacement with _id 1.0 of the document with _id 1: documentKey, fullDocument, the next documentKey",
        expected="(1, 1, 1), for _id is immutable; or 1.0 wherever one event names it",
        noted="(1, 1.0, 1.0)",
        seen=str(keys),
    )
PY
done
