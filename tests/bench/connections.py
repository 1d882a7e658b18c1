"""What a connection costs: `python -m tests.bench.connections [--old TREE] [--many N]`. Real processes and sockets.

`realtime serve` as it is, beside it that of another tree (`git worktree add TREE main`), and plain FastAPI that
accepts and nothing else, with and without a dependency. Every peer sends a browser's headers and a cookie of 2 KB, and
subscribes to the same query. CPU is that of all threads of the server, memory what it holds by itself (`RssAnon`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import uvloop

from realtime.mongo import embedded
from tests.serving import roomy_environment

ROOT = Path(__file__).resolve().parent.parent.parent
FEW, ROUNDS, ROUND, WARM = 500, 10, 2000, 50
MOMENTS, PAUSE_SECONDS = 40, 0.05
AT_ONCE = 100
PING = b"\x89\x04"
"""The head of a ping, which is no text that is sent here."""
HEADERS = (
    "Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
)
COOKIE = f"session={'x' * 2040}"

PLAIN = """
import uvicorn, sys
from fastapi import Depends, FastAPI, WebSocket

app = FastAPI()

async def who(websocket: WebSocket):
    return websocket.headers.get("cookie")

async def serve(websocket):
    await websocket.accept()
    await websocket.send_text('{"type":"welcome","is":"live"}')
    try:
        while True:
            await websocket.receive_text()
    except Exception:
        pass

@app.websocket("/plain/v1/ws")
async def plain(websocket: WebSocket):
    await serve(websocket)

@app.websocket("/depends/v1/ws")
async def depends(websocket: WebSocket, one=Depends(who)):
    await serve(websocket)

config = uvicorn.Config(app, port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools",
                        ws="websockets-sansio", ws_per_message_deflate=False)
uvicorn.Server(config).run()
"""

WITNESS = """
import json, os, socket, sys, time
import pymongo
uri, name, host, port = sys.argv[1:]
orders = pymongo.MongoClient(uri)[name].witnessed
peer = socket.create_connection((host, int(port)))
peer.sendall((f"GET /v1/ws HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
              "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n").encode())
asked = b'{"type":"subscribe","id":"s","mode":"events","collection":"witnessed"}'
held = b""
while b'"welcome"' not in held:
    held += peer.recv(1 << 16)
peer.sendall(bytes((0x81, 0x80 | len(asked))) + bytes(4) + asked)
while b'"live"' not in held:
    held += peer.recv(1 << 16)
print("ready", flush=True)
os.set_blocking(0, False)
worst, count = 0.0, 0
while not sys.stdin.buffer.read(1):
    count += 1
    word, held, began = b'"key":"w%d"' % count, b"", time.monotonic()
    orders.insert_one({"_id": f"w{count}"})
    while word not in held:
        held += peer.recv(1 << 16)
    worst = max(worst, time.monotonic() - began)
print(worst, count, flush=True)
"""


WATCHED = """
import gc, os, signal, sys, time
place, worst, began = sys.argv.pop(1), 0.0, 0.0

def watch(phase, info):
    global worst, began
    if phase == "start":
        began = time.thread_time()
    elif time.thread_time() - began > worst:
        worst = time.thread_time() - began
        with open(place, "w") as file:
            file.write(str(worst))

gc.callbacks.append(watch)
gc.freeze, freeze = lambda: (freeze(), globals().update(worst=0.0)), gc.freeze
signal.signal(signal.SIGUSR1, lambda *_: gc.collect())
from realtime.__main__ import main
main()
"""
"""`realtime`, which writes down how long the collector has taken at most since the service stood, and is told to look
at everything by SIGUSR1.
"""


KEPT = """
from realtime.commands import service

class Nothing:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)

def create(settings, made=service.create_app, **options):
    app = made(settings, **options)
    app.add_middleware(Nothing)
    return app

service.create_app = create
from realtime.__main__ import main
main()
"""
"""`realtime` with middleware of somebody's, so that the task of each connection stays."""


@dataclass(slots=True)
class Server:
    """A running process."""

    pid: int
    port: int
    path: str = "/v1/ws"
    subscribes: bool = True
    pauses: Path | None = None
    shows: Callable[[], str] = str
    """A line of the handshake's head, ended, for each connection: a token."""

    def cpu(self) -> float:
        """Seconds of all its threads."""
        spent = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                spent += int((thread / "schedstat").read_text().split()[0])
        return spent / 1e9

    def memory(self) -> int:
        """Bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) * 1024


class Peer(asyncio.Protocol):
    """A browser that subscribes and listens."""

    __slots__ = ("_server", "_word", "live", "transport")
    told = 0
    """Changes, to all of them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._word = b'"live"'
        self.live = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        host = f"127.0.0.1:{self._server.port}"
        transport.write(
            f"GET {self._server.path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Origin: http://{host}\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"{HEADERS}{self._server.shows()}Cookie: {COOKIE}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self._server.subscribes and b'"welcome"' in data:
            asked = b'{"type":"subscribe","id":"s","collection":"orders","filter":{"open":true}}'
            self.transport.write(bytes((0x81, 0x80 | len(asked))) + bytes(4) + asked)
        if not self.live.done() and self._word in data:
            self.live.set_result(None)
        Peer.told += data.count(b'"op":"enter"')
        if (at := data.find(PING)) >= 0:
            # Whoever answers none is taken for gone.
            self.transport.write(b"\x8a\x84" + bytes(4) + data[at + 2 : at + 6])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.live.done():
            self.live.set_exception(ConnectionError("ended before it was live"))


async def peers(server: Server, count: int, at_once: int = AT_ONCE) -> list[Peer]:
    """So many, each live, so many at once."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(at_once)

    async def one() -> Peer:
        async with gate:
            _, peer = await loop.create_connection(lambda: Peer(server), "127.0.0.1", server.port)
            await asyncio.wait_for(peer.live, 120)
            return peer

    return await asyncio.gather(*(one() for _ in range(count)))


async def gone(some: list[Peer]) -> None:
    """They leave without a word."""
    for peer in some:
        peer.transport.abort()
    some.clear()
    await asyncio.sleep(1.0)


@dataclass(slots=True)
class Figures:
    """Of one server."""

    name: str
    bytes_each: float = 0
    connect_ms: float = 0
    delivery_us: float = 0
    many_us: float = 0
    many: int = 0
    missed: int = 0
    storm_seconds: float = 0
    storm_lag: float = 0
    rounds: list[int] = field(default_factory=list)
    pause: float = 0

    def row(self) -> str:
        ratio = f"{self.many_us / self.delivery_us:.2f} ({self.many})" if self.many_us else "-"
        growth = f"{self.rounds[-1] / self.rounds[0]:.2f}" if self.rounds else "-"
        lag = f"{self.storm_lag:.2f} s of {self.storm_seconds:.0f}" if self.storm_lag else "-"
        told = f"{self.delivery_us:.1f} µs" if self.delivery_us else "-"
        cells = (f"{self.bytes_each / 1024:6.1f} KB", f"{self.connect_ms:5.2f} ms", f"{told:>8}", f"{ratio:>13}")
        pause = f"{self.pause * 1000:.1f} ms" if self.pause else "-"
        return f"| {self.name:20} | {' | '.join(cells)} | {self.missed:6} | {growth:>6} | {lag:>12} | {pause:>9} |"


COLUMNS = ("", "memory", "connect", "delivery", "18,000 to 500", "missed", "rounds", "storm's lag", "collector")
WIDTHS = (20, 9, 8, 8, 13, 6, 6, 12, 9)
HEAD = "\n".join(
    f"| {' | '.join(f'{cell:{width}}' for cell, width in zip(cells, WIDTHS, strict=True))} |"
    for cells in (COLUMNS, tuple("-" * width for width in WIDTHS))
)


async def connecting(server: Server, figures: Figures) -> None:
    """Memory and CPU of `ROUND` connections, after some that warmed it up."""
    # Few: what they leave behind is room for those who are counted.
    await gone(await peers(server, WARM))
    memory, cpu = server.memory(), server.cpu()
    held = await peers(server, ROUND)
    figures.connect_ms = (server.cpu() - cpu) / ROUND * 1000
    await asyncio.sleep(1.0)
    figures.bytes_each = (server.memory() - memory) / ROUND
    await gone(held)


async def rounds(server: Server, figures: Figures, count: int) -> None:
    """Peers that come and go."""
    for _ in range(count):
        await gone(await peers(server, ROUND))
        figures.rounds.append(server.memory())


async def collecting(server: Server, figures: Figures) -> None:
    """The collector's longest pause with as many as are open."""
    os.kill(server.pid, signal.SIGUSR1)
    async with asyncio.timeout(30):
        await asyncio.sleep(2.0)
        # It looks when the process next does something.
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        await asyncio.sleep(1.0)
    if server.pauses is not None:
        figures.pause = float(server.pauses.read_text())


async def delivering(server: Server, count: int, orders: Any) -> tuple[float, int]:
    """CPU microseconds of a delivery of one change to each of so many, and how many were missed."""
    idle = server.cpu()
    await asyncio.sleep(MOMENTS * PAUSE_SECONDS)
    idle = server.cpu() - idle
    cpu, began = server.cpu(), time.monotonic()
    expected = Peer.told
    for _ in range(MOMENTS):
        await asyncio.to_thread(orders.insert_one, {"_id": random.randbytes(12).hex(), "open": True, "text": "x" * 200})
        expected += count
        # One by one, or two would come in one frame.
        while Peer.told < expected and time.monotonic() - began < 120:
            await asyncio.sleep(PAUSE_SECONDS)
    spent = server.cpu() - cpu - idle * (time.monotonic() - began) / (MOMENTS * PAUSE_SECONDS)
    return spent / (MOMENTS * count) * 1e6, expected - Peer.told


async def storm(server: Server, count: int, uri: str, name: str, figures: Figures) -> list[Peer]:
    """Everybody at once, while somebody else writes and listens, one after the other."""
    arguments = (sys.executable, "-c", WITNESS, uri, name, "127.0.0.1", str(server.port))
    pipe = asyncio.subprocess.PIPE
    witness = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe)
    assert witness.stdout is not None
    assert witness.stdin is not None
    await witness.stdout.readline()
    began = time.monotonic()
    held = await peers(server, count, 2000)
    figures.storm_seconds = time.monotonic() - began
    witness.stdin.write(b"x")
    figures.storm_lag = float((await witness.stdout.readline()).split()[0])
    await witness.wait()
    return held


@asynccontextmanager
async def serving(tree: Path, uri: str, name: str, **environment: str) -> AsyncIterator[Server]:
    """`realtime serve` of a tree."""
    options = ("--port", "0", "--mongodb-uri", uri, "--database", name)
    with tempfile.NamedTemporaryFile() as pauses:
        async with _serving(WATCHED, pauses.name, "serve", *options, tree=tree, **environment) as server:
            server.pauses = Path(pauses.name)
            yield server


@asynccontextmanager
async def _serving(script: str, *arguments: str, tree: Path, **environment: str) -> AsyncIterator[Server]:
    async with _process("-c", script, *arguments, tree=tree, **environment) as child:
        assert child.stdout is not None
        async for line in child.stdout:
            if found := re.search(r"live at http://[^:]+:(\d+)", line.decode()):
                drain = asyncio.create_task(child.stdout.read())
                yield Server(child.pid, int(found[1]))
                drain.cancel()
                return
        raise AssertionError("it ended before it served")


@asynccontextmanager
async def plain(path: str) -> AsyncIterator[Server]:
    """FastAPI that accepts, and greets once."""
    port = random.randrange(20_000, 30_000)
    async with _process("-c", PLAIN, str(port), tree=ROOT) as child:
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.1)
        yield Server(child.pid, port, path, subscribes=False)


@asynccontextmanager
async def _process(*arguments: str, tree: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tree,
        env={**os.environ, **roomy_environment(), "PYTHONPATH": str(tree), **environment},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def of_service(name: str, tree: Path, uri: str, asked: argparse.Namespace) -> Figures:
    """Every figure of one build."""
    many, figures, database = asked.many, Figures(name), f"bench_{random.randrange(1 << 40):x}"
    client: pymongo.MongoClient[Any]
    with pymongo.MongoClient(uri) as client:
        try:
            async with serving(tree, uri, database) as server:
                await connecting(server, figures)
                held = await peers(server, FEW)
                figures.delivery_us, figures.missed = await delivering(server, FEW, client[database].orders)
                await gone(held)
                await rounds(server, figures, asked.rounds)
                if many:
                    held, figures.many = await storm(server, many, uri, database, figures), many
                    await collecting(server, figures)
                    figures.many_us, missed = await delivering(server, many, client[database].orders)
                    figures.missed += missed
                    await gone(held)
        finally:
            client.drop_database(database)
    return figures


async def main(asked: argparse.Namespace) -> None:
    """One row for each server."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.stdout.write(f"{HEAD}\n")
    with tempfile.TemporaryDirectory() as place:
        async with embedded.running(Path(place), None) as mongo:
            steps: list[Callable[[], Awaitable[Figures]]] = [
                lambda: of_service("new", ROOT, mongo.uri, asked),
                *([lambda: of_service("old", asked.old, mongo.uri, asked)] if asked.old else []),
                lambda: _kept(mongo.uri),
                lambda: _plainly("FastAPI", "/plain/v1/ws"),
                lambda: _plainly("FastAPI with Depends", "/depends/v1/ws"),
            ]
            for step in steps:
                sys.stdout.write(f"{(await step()).row()}\n")
                sys.stdout.flush()


async def _kept(uri: str) -> Figures:
    figures, database = Figures("new, task stays"), f"bench_{random.randrange(1 << 40):x}"
    options = ("serve", "--port", "0", "--mongodb-uri", uri, "--database", database)
    async with _serving(KEPT, *options, tree=ROOT) as server:
        await connecting(server, figures)
    return figures


async def _plainly(name: str, path: str) -> Figures:
    figures = Figures(name)
    async with plain(path) as server:
        await connecting(server, figures)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.connections")
    parser.add_argument("--old", type=Path, help="the tree of another build")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of {ROUND} that come and go")
    parser.add_argument("--many", type=int, default=18_000, help="sockets at once; 0: none (`ulimit -n` bounds them)")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
