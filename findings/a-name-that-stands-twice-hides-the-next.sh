#!/usr/bin/env bash
# A field that stands twice counts twice against the fields that a projection includes, and hides what comes behind it.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson import encode
from bson.raw_bson import RawBSONDocument
from finding import finding
from pymongo import MongoClient


def document(*pairs):
    """A document with these fields, equal names among them: `bson` writes one field of each name."""
    fields = b"".join(encode({name: value})[4:-1] for name, value in pairs)
    return RawBSONDocument((len(fields) + 5).to_bytes(4, "little") + fields + b"\0")


with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_many(
        [
            document(("_id", "before"), ("v", 5), ("g", 3), ("g", 4)),
            document(("_id", "behind"), ("g", 3), ("g", 4), ("v", 5)),
        ]
    )
    finding(
        "find({}, {g: 1, v: 1}) where g stands twice before v, and behind it",
        expected="v of both",
        noted={"before": True, "behind": False},
        seen={one["_id"]: "v" in one for one in docs.find({}, {"g": 1, "v": 1})},
    )
    finding(
        "the same of documents, with one more name that none of them has",
        expected="as without that name",
        noted={"before": True, "behind": True},
        seen={one["_id"]: "v" in one for one in docs.find({}, {"g": 1, "v": 1, "none": 1})},
    )
PY
done
