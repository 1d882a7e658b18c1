#!/usr/bin/env bash
# The resume token of a large event that came in fragments, the last of them too, opens only a stream that splits events.
source "$(dirname "$0")/shared/mongod.sh"
python_with pymongo==4.20.1
replica_set 6.0.27
"$python" <<'PY'
import os
from finding import finding
from pymongo import MongoClient
from pymongo.errors import OperationFailure

SPLIT = {"$changeStreamSplitLargeEvent": {}}
IMAGES = {"full_document": "required", "full_document_before_change": "required"}

def opened(docs, token, *stages, **images):
    """The next event's key, or the error's code."""
    try:
        with docs.watch(list(stages), resume_after=token, **images) as stream:
            return stream.next()["documentKey"]["_id"]
    except OperationFailure as error:
        return error.code

with MongoClient(os.environ["URI"]) as client:
    docs = client.test.create_collection("docs", changeStreamPreAndPostImages={"enabled": True})
    docs.insert_one({"_id": 1, "text": "x" * 9_000_000})
    with docs.watch([SPLIT], **IMAGES) as stream:
        docs.update_one({"_id": 1}, {"$set": {"n": 1}})
        fragments = [stream.next()]
        while fragments[-1]["splitEvent"]["fragment"] < fragments[-1]["splitEvent"]["of"]:
            fragments.append(stream.next())
        last = stream.resume_token
    docs.insert_one({"_id": 2})
    seen = (len(fragments) > 1, opened(docs, last, SPLIT, **IMAGES), opened(docs, last, SPLIT), opened(docs, last))
finding(
    "several fragments; from after the last: the same stream, one without images, one that does not split either",
    expected="(True, 2, 2, 2): the large event is over",
    noted=(True, 2, 280, 280),
    seen=seen,
)
PY
