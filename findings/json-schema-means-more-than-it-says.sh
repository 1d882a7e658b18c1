#!/usr/bin/env bash
# $jsonSchema: names with dots are paths, patterns for names go by bytes, the order of fields does not count, doubles
# have 15 digits; and what an empty name means differs between releases of 6.0.
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


    def matches(document, schema):
        docs.delete_many({})
        docs.insert_one(document)
        return docs.count_documents({"$jsonSchema": schema})


    text = {"type": "string"}
    finding(
        "a property named a.b is a string, beside a document that has such an object, in an array, and such a name",
        expected="(1, 1, 0): a property is a name, and two of the documents have none of it",
        noted=(0, 0, 1),
        seen=(
            matches({"a": {"b": 1}}, {"properties": {"a.b": text}}),
            matches({"a": [{"b": 1}]}, {"properties": {"a.b": text}}),
            matches({"a.b": 1}, {"properties": {"a.b": text}}),
        ),
    )
    finding(
        "fields whose name matches ^.$ are strings, but e is 1; but \u00e9 is 1",
        expected="(0, 0), as pattern has it for values: one character is one character",
        noted=(0, 1, 1),
        seen=(
            matches({"e": 1}, {"patternProperties": {"^.$": text}}),
            matches({"\u00e9": 1}, {"patternProperties": {"^.$": text}}),
            matches({"a": "\u00e9"}, {"properties": {"a": {"pattern": "^.$"}}}),
        ),
    )
    finding(
        "{x: 1, y: 2} and {y: 2, x: 1}: in enum and find, among unique items",
        expected="(0, 0, 1): find and every index tell them apart",
        noted=(1, 0, 0),
        seen=(
            matches({"a": {"y": 2, "x": 1}}, {"properties": {"a": {"enum": [{"x": 1, "y": 2}]}}}),
            docs.count_documents({"a": {"x": 1, "y": 2}}),
            matches({"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]}, {"properties": {"a": {"uniqueItems": True}}}),
        ),
    )
    finding(
        "0.1 + 0.2 is a multiple of 0.1",
        expected="0: it is 0.30000000000000004",
        noted=1,
        seen=matches({"a": 0.1 + 0.2}, {"properties": {"a": {"multipleOf": 0.1}}}),
    )
    finding(
        "a property without a name is a string, and it is; it has to have x, and is a number",
        expected="(1, 1)",
        noted=(0, 0) if os.environ["MONGOD"] == "mongod 6.0.5" else (1, 1),
        seen=(matches({"": "text"}, {"properties": {"": text}}), matches({"": 1}, {"properties": {"": {"required": ["x"]}}})),
    )
PY
done
