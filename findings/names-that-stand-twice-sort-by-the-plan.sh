#!/usr/bin/env bash
# Sub-documents in which a name stands twice: a sort in memory compares the first of them in the second one's place.
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


def nested(key, *pairs):
    """A document whose `a` has these fields, equal names among them: `bson` writes one field of each name."""
    fields = b"".join(encode({name: value})[4:-1] for name, value in pairs)
    inner = (len(fields) + 5).to_bytes(4, "little") + fields + b"\0"
    body = encode({"_id": key})[4:-1] + b"\x03a\0" + inner
    return RawBSONDocument((len(body) + 5).to_bytes(4, "little") + body + b"\0")


with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_many([nested(1, ("x", 1), ("x", 3)), nested(2, ("x", 1), ("x", 2)), nested(3, ("x", 1), ("x", 4))])
    docs.create_index([("a", 1), ("_id", 1)])
    order = docs.find({}, {"_id": 1}).sort([("a", 1), ("_id", 1)])
    finding(
        "find().sort({a: 1, _id: 1}) by an index, and the same in memory",
        expected="one order of both: [2, 1, 3], or [1, 2, 3] if only the first of equal names counts",
        noted={"by an index": [2, 1, 3], "in memory": [1, 2, 3]},
        seen={
            "by an index": [one["_id"] for one in order.clone().hint("a_1__id_1")],
            "in memory": [one["_id"] for one in order.clone().hint({"$natural": 1})],
        },
    )
PY
done
