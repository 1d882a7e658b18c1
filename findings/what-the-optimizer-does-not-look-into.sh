#!/usr/bin/env bash
# {$and: [1 divided by 0, false]} is false; inside of $firstN or $getField it fails the whole command.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from bson import Decimal128
from finding import finding
from pymongo import MongoClient
from pymongo.errors import OperationFailure

false = {"$and": [{"$divide": [1, "$zero"]}, False]}
union = {"$setUnion": [[2], "$two"]}

def answer(expression):
    try:
        return list(docs.aggregate([{"$project": {"_id": 0, "value": expression}}]))[0]["value"]
    except OperationFailure:
        return "fails"

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"zero": 0, "two": [Decimal128("2")]})
    finding(
        "$and with a constant false: by itself, in $map, in $firstN, in $getField, in $setField",
        expected="the same: where an expression stands does not change what it is",
        noted=(False, [False], "fails", "fails", "fails"),
        seen=(
            answer(false),
            answer({"$map": {"input": [1], "in": false}}),
            answer({"$firstN": {"n": 1, "input": [false]}}),
            answer({"$getField": {"field": "a", "input": {"a": false}}}),
            answer({"$setField": {"field": "a", "input": {}, "value": false}}),
        ),
    )
    finding(
        "the union of [2] and a field with the decimal 2: by itself, in $sortArray, in $firstN; [2] by way of $sortArray",
        expected="the same element of two that are equal",
        noted=([Decimal128("2")], [Decimal128("2")], [2], [2]),
        seen=(
            answer(union),
            answer({"$sortArray": {"input": union, "sortBy": 1}}),
            answer({"$firstN": {"n": 1, "input": union}}),
            answer({"$setUnion": [{"$sortArray": {"input": [2], "sortBy": 1}}, "$two"]}),
        ),
    )
PY
done
