"""`realtime serve` with rules: a changed file and SIGHUP have them exchanged, by all workers or by none."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.access.issuer import SECRET, signer
from tests.e2e.test_workers import WORKERS, alive, worker_of, workers_of
from tests.mongo.commands import until
from tests.replica_set import ReplicaSet
from tests.serving import Process, process
from tests.wire import View, Wire, wired

SIGNER = signer("HS256")
RULES = "orders:\n  customer: {read: {owner: $user.sub}, insert: true}\n"
HIDDEN = "orders:\n  customer: {read: {owner: $user.sub}, insert: true, fields: {hide: [planted]}}\n"
BAD = "orders:\n  customer: {reads: true}\n"
EACH = 2


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.token(sub='ann', roles=['customer'])}"}


@asynccontextmanager
async def served(replica_set: ReplicaSet, tmp_path: Path, *options: str) -> AsyncIterator[Process]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    auth = {"REALTIME_JWT_SECRET": SECRET, "REALTIME_JWT_AUDIENCE": "shop", "REALTIME_FEED_AWAIT_MS": "100"}
    uri = ("--mongodb-uri", replica_set.uri, "--database", f"t_{tmp_path.name[:20]}")
    given = ("--port", "0", *uri, "--auth", "jwt", "--rules", str(rules), *options)
    async with process("serve", *given, home=tmp_path, **auth) as running:
        yield running


def pids_of(service: Process) -> list[int]:
    """Those that have not ended."""
    with contextlib.suppress(psutil.Error):
        return [pid for pid in workers_of(service) if alive(pid)]
    return []


async def crowd(stack: AsyncExitStack, service: Process) -> list[tuple[Wire, View]]:
    """Subscribed connections, some of each worker."""
    await until(lambda: len(pids_of(service)) == WORKERS)
    by: dict[int, list[Wire]] = {}
    async with asyncio.timeout(60):
        while len(by) < WORKERS or min(map(len, by.values())) < EACH:
            wire = await stack.enter_async_context(wired(service.url, additional_headers=bearer()))
            by.setdefault(worker_of(wire, pids_of(service)), []).append(wire)
    return [(wire, await wire.subscribe("orders")) for wires in by.values() for wire in wires]


async def begun_again(watching: list[tuple[Wire, View]], times: int) -> None:
    for wire, view in watching:
        await wire.when(functools.partial(_begun, wire, view, times), seconds=30)


def _begun(wire: Wire, view: View, times: int) -> bool:
    return len(wire.of("subscribed")) == times and view.live


@pytest.mark.long("several whole services, one of which is killed")
async def test_all_workers_take_other_rules_or_none_and_one_that_died_starts_with_them(
    replica_set: ReplicaSet, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    async with served(replica_set, tmp_path, "--workers", str(WORKERS)) as service, AsyncExitStack() as stack:
        watching = await crowd(stack, service)
        assert len(watching) >= WORKERS * EACH
        rules.write_text(BAD)
        service.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(1.5)
        rules.write_text(HIDDEN)
        service.process.send_signal(signal.SIGHUP)
        await begun_again(watching, 2)
        rules.write_text(RULES)
        await begun_again(watching, 3)
        rules.write_text(HIDDEN)
        await begun_again(watching, 4)
        first = workers_of(service)[0]
        signal_to(first, signal.SIGHUP)
        await asyncio.sleep(0.2)
        assert alive(first), "a worker leaves it to its parent"
        signal_to(first, signal.SIGKILL)
        await until(lambda: not alive(first))
        late = await crowd(stack, service)
        wire, _ = late[0]
        answer = await wire.ask(type="subscribe", id="p", collection="orders", filter={"planted": 1})
        assert answer["code"] == "forbidden"
        for wire, _ in late:
            answer = await wire.ask(type="subscribe", id="q", collection="orders", filter={"planted": 1})
            assert answer["code"] == "forbidden"
    said = "".join(service.output)
    assert f"{rules}:2:" in said, "the bad ones were refused with their line"


def signal_to(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


@pytest.mark.parametrize(
    "by", ["hand", pytest.param("itself", marks=pytest.mark.long("the same by a look at the file"))]
)
async def test_one_process_takes_them_too(replica_set: ReplicaSet, tmp_path: Path, by: str) -> None:
    rules = tmp_path / "rules.yaml"
    async with served(replica_set, tmp_path) as service, wired(service.url, additional_headers=bearer()) as wire:
        view = await wire.subscribe("orders")
        rules.write_text(HIDDEN)
        if by == "hand":
            service.process.send_signal(signal.SIGHUP)
        await begun_again([(wire, view)], 2)
        assert json.loads(wire.raw[-1])["type"] in {"live", "heartbeat"}
