"""`realtime serve --workers N`: one port, one embedded MongoDB, figures of all; and nobody outlives the parent."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.commands.workers import sweep
from tests.e2e.test_process import gone, mongods, run
from tests.mongo.commands import until
from tests.serving import Process, process
from tests.wire import Wire, wired

WORKERS = 2
EACH = 3


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def workers_of(service: Process) -> list[int]:
    return [child.pid for child in psutil.Process(service.process.pid).children() if "worker" in child.cmdline()]


def worker_of(wire: Wire, pids: list[int]) -> int:
    """Which process holds the other end of a connection."""
    port = wire.socket.local_address[1]
    for pid in pids:
        if any(one.raddr and one.raddr.port == port for one in psutil.Process(pid).net_connections("tcp")):
            return pid
    raise AssertionError(f"none of {pids} has a connection to port {port}")


async def samples(url: str) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=url) as http:
        text = (await http.get("/metrics")).text
    families = list(text_string_to_metric_families(text))
    return {one.name: one.value for family in families for one in family.samples if not one.labels}


async def crowd(stack: AsyncExitStack, service: Process) -> dict[int, list[Wire]]:
    """Connections by the worker that has them: so many that each has some, once the last of them serves."""
    await until(lambda: len(workers_of(service)) == WORKERS)
    pids = workers_of(service)
    by: dict[int, list[Wire]] = {}
    async with asyncio.timeout(30):
        while len(by) < WORKERS or min(map(len, by.values())) < EACH:
            wire = await stack.enter_async_context(wired(service.url))
            by.setdefault(worker_of(wire, pids), []).append(wire)
    return by


@pytest.mark.long("several whole services, which are killed")
async def test_two_workers_share_port_positions_and_figures_and_one_that_dies_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--port", "0", "--workers", str(WORKERS), "--data-dir", str(data))
    async with process("serve", *options, home=tmp_path) as service, AsyncExitStack() as stack:
        assert len(mongods(data)) >= 1
        async with httpx.AsyncClient(base_url=service.url) as http:
            by = await crowd(stack, service)
            (one, *_), (other, *_) = by.values()
            view = await one.subscribe("orders")
            before = await samples(service.url)
            for number in range(20):
                answer = await http.post("/v1/collections/orders/documents", json={"_id": number})
                assert answer.status_code == 201
            await one.when(lambda: len(view.documents) == 20)
            query = one.of("subscribed")[0]["query"]
            # A position that one worker gave is taken up by the other.
            again = await other.subscribe("orders", position=one.of("live")[0]["position"], query=query)
            await other.when(lambda: len(again.documents) == 20)
            assert other.of("subscribed")[0]["recovered"] is True
            await until_figures(service.url, "realtime_change_events_total", before, 20 * WORKERS)
            assert (await samples(service.url))["realtime_connections"] == sum(map(len, by.values()))
            # kill -9 of one: its clients lose their connection, the others notice nothing, and it comes back.
            dead = worker_of(one, list(by))
            os.kill(dead, signal.SIGKILL)
            for wire in by[dead]:
                await wire.when(lambda wire=wire: wire.closed is not None)  # type: ignore[misc]  # reason: binds it now
            await until(lambda: len(set(workers_of(service)) - set(by)) == 1)
            survivors = [wire for pid, wires in by.items() if pid != dead for wire in wires]
            assert [wire.closed for wire in survivors] == [None] * len(survivors)
            await http.post("/v1/collections/orders/documents", json={"_id": 20})
            await other.when(lambda: len(again.documents) == 21)
            # Until the new one serves as well; the dead one's connections count no more, what it counted does.
            survivors += [wire for wires in (await crowd(stack, service)).values() for wire in wires]
            await until_figures(service.url, "realtime_connections", {}, len(survivors))
        service.process.send_signal(signal.SIGTERM)
        for wire in survivors:
            await wire.when(lambda wire=wire: wire.closed is not None)  # type: ignore[misc]  # reason: binds it now
        async with asyncio.timeout(15):
            assert await service.process.wait() == 0
    assert [wire.closed for wire in survivors] == [(4000, "draining")] * len(survivors)
    said = "".join(service.output)
    assert len(re.findall(r"worker \d started \(process \d+\)", said)) == WORKERS + 1
    assert re.search(rf"worker \d \(process {dead}\) ended by SIGKILL: started again in 0.5 s", said)
    assert len(re.findall(r"embedded MongoDB \S+ at mongodb://", said)) == 1
    await gone(data)


async def until_figures(url: str, name: str, before: dict[str, float], grown: float) -> None:
    """Until the figures of all workers say so; those of another process have no event to await."""
    async with asyncio.timeout(15):
        while (await samples(url))[name] - before.get(name, 0) != grown:
            await asyncio.sleep(0.05)


@pytest.mark.long("several whole services, which are killed")
async def test_kill_9_of_the_parent_takes_workers_and_mongod_along(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--port", "0", "--workers", str(WORKERS), "--data-dir", str(data))
    async with process("serve", *options, home=tmp_path) as service:
        await until(lambda: len(workers_of(service)) == WORKERS)
        pids = workers_of(service)
        figures = list(Path(tempfile.gettempdir()).glob(f"realtime-figures-{service.process.pid}-*"))
        service.process.kill()
        await service.process.wait()
        async with asyncio.timeout(3):
            await until(lambda: not any(map(alive, pids)))
    assert len(pids) == WORKERS
    await gone(data)
    # What it could not remove is removed by the next one.
    assert [path.exists() for path in figures] == [True]
    sweep()
    assert [path.exists() for path in figures] == [False]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--mongodb-uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500"), "no MongoDB answers"),
        (("--workers", "0"), "REALTIME_WORKERS"),
    ],
)
def test_what_keeps_one_worker_from_serving_is_said_once(tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    ended = run("serve", "--port", "0", "--workers", "2", *arguments, home=tmp_path)
    told = [text for text in ended.stderr.splitlines() if text.startswith("realtime: ")]
    assert ended.returncode == 2, ended.stderr
    assert len(told) == 1
    assert line in told[0]
    assert "Traceback" not in ended.stderr


def test_a_worker_by_hand_says_how_it_is_started(tmp_path: Path) -> None:
    ended = run("worker", home=tmp_path)
    assert ended.returncode == 2
    assert "--workers" in ended.stderr
    assert "worker" not in run("--help", home=tmp_path).stdout


@pytest.mark.long("several whole services, which are killed")
async def test_one_killed_while_the_parent_stops_does_not_come_back(tmp_path: Path) -> None:
    options = ("--port", "0", "--workers", str(WORKERS), "--data-dir", str(tmp_path / "data"))
    slow = {"REALTIME_GRACE_SECONDS": "1"}
    async with process("serve", *options, home=tmp_path, **slow) as service:
        await until(lambda: len(workers_of(service)) == WORKERS)
        pids = workers_of(service)
        service.process.send_signal(signal.SIGTERM)
        os.kill(pids[0], signal.SIGKILL)
        async with asyncio.timeout(15):
            assert await service.process.wait() == 0
    said = "".join(service.output)
    assert "started again" not in said
    assert "worker 1 started" in said
