#!/usr/bin/env bash
# $group by two fields: the classic engine makes one row of a missing field and of an undefined one, shown as whichever
# was read first; the newer engine makes two. By a single field both engines see the difference.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson.raw_bson import RawBSONDocument
from finding import finding
from pymongo import MongoClient

MISSING, UNDEFINED = b"", b"\x06a\0"

def document(key, field):
    body = b"\x10_id\0" + key.to_bytes(4, "little") + field + b"\0"
    return RawBSONDocument((len(body) + 4).to_bytes(4, "little") + body)

def rows(classic, fields, by):
    client.admin.command("setParameter", 1, internalQueryForceClassicEngine=classic)
    docs.delete_many({})
    docs.insert_many([document(key, field) for key, field in enumerate(fields)])
    found = docs.aggregate([{"$sort": {"_id": 1}}, {"$group": {"_id": by}}])
    return sorted("undefined" if b"\x06a\0" in row.raw else "missing" for row in found)

with MongoClient(os.environ["URI"], document_class=RawBSONDocument) as client:
    docs = client.test.docs
    two, orders = {"a": "$a", "b": "$b"}, ([MISSING, UNDEFINED], [UNDEFINED, MISSING])
    finding(
        "the rows of $group by {a, b}, a missing in one document and undefined in the other, in both orders: "
        "newer engine, classic engine",
        expected="two rows by either engine, in whatever order the documents come",
        noted=([["missing", "undefined"]] * 2, [["missing"], ["undefined"]]),
        seen=tuple([rows(classic, fields, two) for fields in orders] for classic in (False, True)),
    )
PY
done
