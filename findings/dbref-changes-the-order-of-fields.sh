#!/usr/bin/env bash
# bson takes any sub-document with $ref and $id for a DBRef, whatever their order, and gives it back in another.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
"$python" <<'PY'
from bson import decode, encode
from finding import finding

stored = encode({"r": {"x": 1, "$id": 5, "$ref": "c"}})
finding(
    "a sub-document {x, $id, $ref} that is decoded and encoded again",
    expected="the same bytes; a DBRef begins with $ref and $id, so this is none",
    noted=("DBRef", False, ["$ref", "$id", "x"]),
    seen=(
        type(decode(stored)["r"]).__name__,
        encode(decode(stored)) == stored,
        list(decode(stored)["r"].as_doc()),
    ),
)
PY
