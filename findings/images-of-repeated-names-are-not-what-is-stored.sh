#!/usr/bin/env bash
# An update of a document in which a name stands twice: its post-image is not the document that is stored.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
import bson
from bson.raw_bson import RawBSONDocument
from finding import finding
from pymongo import MongoClient

def element(name, number):
    return b"\x10" + name + b"\0" + number.to_bytes(4, "little")

def document(*pairs):
    body = b"".join(element(name, number) for name, number in pairs)
    return RawBSONDocument((len(body) + 5).to_bytes(4, "little") + body + b"\0")

def pairs(raw):
    """Names and numbers in the order of the bytes, none left out."""
    found, at = [], 4
    while raw[at] == 0x10:
        end = raw.index(b"\0", at + 1)
        found.append((raw[at + 1 : end].decode(), int.from_bytes(raw[end + 1 : end + 5], "little")))
        at = end + 5
    assert raw[at] == 0, "only 32-bit integers were written"
    return found

with MongoClient(os.environ["URI"], document_class=RawBSONDocument) as client:
    database = client.test
    database.create_collection("docs", changeStreamPreAndPostImages={"enabled": True})
    with database.docs.watch(full_document="required") as stream:
        database.docs.insert_one(document((b"_id", 1), (b"a", 1), (b"b", 5), (b"a", 2)))
        stream.next()
        database.docs.update_one({}, {"$set": {"b": 6, "a": 3}})
        image = pairs(stream.next()["fullDocument"].raw)
    stored = pairs(database.docs.find_one().raw)
finding(
    "a document with the names _id, a, b, a after {$set: {b: 6, a: 3}}: as stored, and as its post-image",
    expected="the same twice",
    noted=([("_id", 1), ("a", 3), ("b", 6), ("a", 2)], [("_id", 1), ("a", 3), ("b", 6), ("a", 3)]),
    seen=(stored, image),
)
PY
done
