#!/usr/bin/env bash
# Infinity divided by infinity is "NaN" by $toString, "-NAN" by $toUpper and "-nan" by $substrBytes.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
for version in 6.0.5 6.0.27; do
  replica_set "$version"
  "$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient

none = {"$divide": ["$a", "$a"]}
with MongoClient(os.environ["URI"]) as client:
    docs = client.test.docs
    docs.insert_one({"a": float("inf"), "b": float("nan")})
    [seen] = docs.aggregate([{"$project": {
        "_id": 0,
        "string": {"$toString": none},
        "upper": {"$toUpper": none},
        "part": {"$substrBytes": [none, 0, 9]},
        "stored": {"$toUpper": "$b"},
        "same": {"$eq": [none, "$b"]},
    }}])
    finding(
        "infinity divided by itself: $toString, $toUpper, $substrBytes; a stored NaN by $toUpper; whether they are equal",
        expected="one text of one value, or of values that are equal",
        noted=("NaN", "-NAN", "-nan", "NAN", True),
        seen=tuple(seen[name] for name in ("string", "upper", "part", "stored", "same")),
    )
PY
done
