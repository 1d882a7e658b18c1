#!/usr/bin/env bash
# An insert that a unique index refuses: where the value in question is a UUID that is not 16 bytes long, what is raised
# is that the reply cannot be decoded, which says nothing of duplicates.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
replica_set 6.0.5
"$python" <<'PY'
import os
from bson.binary import Binary
from finding import finding
from pymongo import MongoClient
from pymongo.errors import PyMongoError

with MongoClient(os.environ["URI"], uuidRepresentation="standard") as client:
    docs = client.test.docs
    docs.create_index("u", unique=True)

    def raised_by_the_second(value):
        docs.insert_one({"u": value})
        try:
            docs.insert_one({"u": value})
        except Exception as error:  # noqa: BLE001
            return type(error).__name__, isinstance(error, PyMongoError)

    seen = [raised_by_the_second(value) for value in (Binary(b"x" * 16, 4), Binary(b"short", 4))]
finding(
    "insert_one twice under a unique index, of a UUID and of a binary of subtype 4 with 5 bytes; uuidRepresentation=standard",
    expected="DuplicateKeyError, an error of PyMongo's, for both",
    noted=[("DuplicateKeyError", True), ("InvalidBSON", False)],
    seen=seen,
)
PY
