#!/usr/bin/env bash
# nats-py's `flush`, which is to say that the server has all that was sent, writes its question before what waits to go.
source "$(dirname "$0")/shared/mongod.sh"
python_with nats-py==2.16.0
"$python" <<'PY'
import asyncio
from finding import finding
import nats

INFO = b'INFO {"server_id":"X","version":"2.15.1","proto":1,"headers":true,"max_payload":1048576}\r\n'

async def main():
    heard = []

    async def serve(reader, writer):
        writer.write(INFO)
        while line := await reader.readline():
            heard.append(line.split()[0].decode())
            if heard[-1] == "PING":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = await nats.connect(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        orders = set()
        for number in range(20):
            heard.clear()
            await connection.subscribe(f"s{number}")
            await connection.flush()
            await asyncio.sleep(0.05)
            orders.add(" ".join(heard))
        await connection.close()
    return sorted(orders)

finding(
    "what a server hears of `await subscribe(…)` and `await flush()`, 20 times",
    expected=["SUB PING"],
    noted=["PING SUB"],
    seen=asyncio.run(main()),
    packages=("nats-py",),
)
PY
