#!/usr/bin/env bash
# One document with a UUID that is not 16 bytes long, which mongod takes, and a change stream cannot get past it.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
replica_set 6.0.5
"$python" <<'PY'
import os
from bson.binary import Binary
from bson.errors import InvalidBSON
from finding import finding
from pymongo import MongoClient

with MongoClient(os.environ["URI"], uuidRepresentation="standard") as client:
    docs = client.test.docs
    seen = []
    with docs.watch() as stream:
        docs.insert_one({"n": 1})
        seen.append(stream.next()["fullDocument"]["n"])
        position = stream.resume_token
    docs.insert_one({"n": 2, "u": Binary(b"short", 4)})
    docs.insert_one({"n": 3})
    for _ in range(2):
        try:
            with docs.watch(resume_after=position) as stream:
                seen.append(stream.next()["fullDocument"]["n"])
                position = stream.resume_token
        except InvalidBSON as error:
            seen.append(str(error))
finding(
    "a watch with uuidRepresentation=standard, resumed twice at a binary of subtype 4 with 5 bytes",
    expected="[1, 2, 3]: what is no UUID stays a Binary; or an error that a resume gets past",
    noted=[1] + ["cannot decode a uuid from a 5-byte payload, expected 16"] * 2,
    seen=seen,
)
PY
