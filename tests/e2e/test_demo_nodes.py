"""`realtime demo --nodes 3`: one relay, three nodes that tell the same, and nothing of them is left afterwards."""

from __future__ import annotations

import asyncio
import functools
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.serving import Process, process
from tests.wire import View, wired

SECONDS = 60


async def others(demo: Process) -> list[str]:
    """The addresses of the further nodes, which are said behind that of the first."""
    assert demo.process.stdout is not None
    found: list[str] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < 2:
            line = (await demo.process.stdout.readline()).decode()
            demo.output.append(line)
            found += re.findall(r"^node \d.*: (http://\S+)", line)
    return found


def full(view: View) -> bool:
    return len(view.documents) == 3


async def gone(running: list[psutil.Process]) -> None:
    async with asyncio.timeout(SECONDS):
        while [one for one in running if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
            await asyncio.sleep(0.05)


@pytest.mark.long("seven processes are started, and their end is waited for")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_three_nodes_tell_the_same_by_one_relay_and_end_with_it(tmp_path: Path, end: signal.Signals) -> None:
    data = str(tmp_path / "data")
    async with process("demo", "--nodes", "3", "--port", "0", "--data-dir", data, home=tmp_path) as demo:
        nodes = [demo.url, *await others(demo)]
        running = psutil.Process(demo.process.pid).children(recursive=True)
        said = " ".join(" ".join(one.cmdline()) for one in running)
        assert all(word in said for word in ("realtime relay", "realtime serve", "mongod", "nats-server"))
        async with AsyncExitStack() as stack, httpx.AsyncClient() as http:
            views = []
            for node in nodes:
                wire = await stack.enter_async_context(wired(node))
                views.append((wire, await wire.subscribe("notes")))
            for number, node in enumerate(nodes):
                answer = await http.post(f"{node}v1/collections/notes/documents", json={"_id": number})
                assert answer.status_code == 201, answer.text
            for wire, view in views:
                await wire.when(functools.partial(full, view))
                assert sorted(view.documents) == ["0", "1", "2"]
        demo.process.send_signal(end)
        async with asyncio.timeout(SECONDS):
            assert await demo.process.wait() == (0 if end == signal.SIGTERM else -signal.SIGKILL)
        await gone(running)
    if end == signal.SIGTERM:
        said_by(demo.output)


def said_by(output: list[str]) -> None:
    """Every line of the log says whose it is, and all have said something."""
    logged = [line for line in output if re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", line)]
    named = [re.match(r"(node \d|relay) \| \d{4}-", line) for line in logged]
    assert all(named), [line for line, name in zip(logged, named, strict=True) if name is None]
    assert {name[1] for name in named if name} == {"node 1", "node 2", "node 3", "relay"}
