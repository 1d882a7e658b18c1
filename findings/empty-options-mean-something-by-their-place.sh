#!/usr/bin/env bash
# {$options: "", $regex: /b/i} finds; the same two in the other order is an error.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson.regex import Regex
from finding import finding
from pymongo import MongoClient
from pymongo.errors import OperationFailure

def answer(condition):
    try:
        return docs.count_documents({"a": condition})
    except OperationFailure as error:
        return error.details["errmsg"]

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"a": "ABC"})
    finding(
        'empty $options before and after $regex: /b/i',
        expected="the same for both: the fields of a condition have no order",
        noted=(1, "options set in both $regex and $options"),
        seen=(
            answer({"$options": "", "$regex": Regex("b", "i")}),
            answer({"$regex": Regex("b", "i"), "$options": ""}),
        ),
    )
PY
done
