"""From a change stream to what cannot read one: `python -m tests.bench.peers.bridge URI DATABASE centrifugo PORT KEY`.

To Centrifugo by its HTTP API over one connection, what one reply of MongoDB's brought in one request (`batch`), which
its documents advise for throughput. Or to stdout (`… lines`): one event a line, for the floor in C.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pymongo

CHANNEL = "orders"


def events(uri: str, database: str, tell: Callable[[list[bytes]], None]) -> None:
    """What one reply brought, again and again; `ready` once the stream is open."""
    documents = pymongo.MongoClient[Any](uri)[database]
    opened = {"aggregate": "orders", "pipeline": [{"$changeStream": {}}], "cursor": {"batchSize": 1000}}
    with documents.client.start_session(causal_consistency=False) as session:
        cursor = documents.command(opened, session=session)["cursor"]["id"]
        sys.stderr.write("ready\n")
        sys.stderr.flush()
        while True:
            more = {"getMore": cursor, "collection": "orders", "batchSize": 1000, "maxTimeMS": 1000}
            found = documents.command(more, session=session)["cursor"]["nextBatch"]
            if found:
                tell([orjson.dumps({"op": one["operationType"], "document": one["fullDocument"]}) for one in found])


def to_centrifugo(port: str, key: str) -> Callable[[list[bytes]], None]:
    line = http.client.HTTPConnection("127.0.0.1", int(port))
    headers = {"Content-Type": "application/json", "X-API-Key": key}

    def tell(told: list[bytes]) -> None:
        commands = b",".join(b'{"publish":{"channel":"%s","data":%s}}' % (CHANNEL.encode(), one) for one in told)
        line.request("POST", "/api/batch", b'{"commands":[%s]}' % commands, headers)
        answer = line.getresponse()
        content = answer.read()
        if answer.status != 200 or b'"error"' in content:
            raise RuntimeError(content)

    return tell


def to_lines(told: list[bytes]) -> None:
    sys.stdout.buffer.write(b"".join(one + b"\n" for one in told))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uri, database, where, *rest = sys.argv[1:]
    events(uri, database, to_centrifugo(*rest) if where == "centrifugo" else to_lines)
