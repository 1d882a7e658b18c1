"""How much the collector looks through while connections come, stay and go: counted in objects, never in seconds."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from realtime.commands.collector import CONNECTIONS, LOOKS, Collector
from tests.replica_set import ReplicaSet
from tests.serving import process

OBJECTS = 40
"""Of one connection, which the collector looks at."""


@pytest.fixture
def one() -> Iterator[Collector]:
    """A collector in this process, which is put back afterwards."""
    before = gc.get_threshold()
    yield Collector()
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.collect()
    gc.freeze()  # as tests/conftest.py has it


class Circle:
    """What reference counting does not free."""

    def __init__(self) -> None:
        self.itself = self


def noting(done: Callable[[], None], seen: list[str]) -> Callable[[], None]:
    """It is done all the same: each later look would go through everything again, a third of a second of it."""

    def noted() -> None:
        seen.append(done.__name__)
        done()

    return noted


def looked_through() -> int:
    """Objects that a full collection goes through."""
    return len(gc.get_objects())


def test_of_a_crowd_no_more_is_looked_through_than_came_since_the_last_freeze(one: Collector) -> None:
    one.begin()
    least, most = looked_through(), 0
    crowd: list[object] = []
    for connections in range(1, 10 * CONNECTIONS + 1):
        crowd.append([[] for _ in range(OBJECTS - 1)])
        if connections % 100 == 0:
            most = max(most, looked_through() - least)
            one.look(connections)
    assert CONNECTIONS * OBJECTS // 2 < most <= (CONNECTIONS + 100) * OBJECTS
    assert len(crowd) == 10 * CONNECTIONS


def test_what_became_garbage_is_freed_before_a_freeze_and_after_the_crowd_has_gone(one: Collector) -> None:
    one.begin()
    early = weakref.ref(Circle())
    one.look(CONNECTIONS)
    assert early() is None
    frozen = Circle()
    one.look(2 * CONNECTIONS)
    late = weakref.ref(frozen)
    del frozen
    gc.collect()
    assert late() is not None
    one.look(CONNECTIONS // 5 + 1)
    assert late() is not None
    one.look(CONNECTIONS // 5)
    assert late() is None


def test_a_number_that_goes_up_and_down_freezes_no_more(one: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    one.begin()
    one.look(4 * CONNECTIONS)
    looks: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(1))
    for connections in (3 * CONNECTIONS, 4 * CONNECTIONS, 2 * CONNECTIONS + 1, 5 * CONNECTIONS - 1) * 10:
        one.look(connections)
    assert looks == []
    one.look(5 * CONNECTIONS)
    assert looks == [1]


def test_crowds_that_come_and_go_are_frozen_each_time_and_all_is_looked_through_once_an_hour(
    one: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for name in ("freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, noting(getattr(gc, name), seen))
    one.begin()
    one.look(CONNECTIONS)
    one.look(0)
    assert seen == ["freeze", "freeze", "freeze", "unfreeze", "freeze"]
    for _ in range(10):
        seen.clear()
        one.look(CONNECTIONS)
        one.look(0)
        assert seen == ["freeze", "freeze"]
    one.look(CONNECTIONS)
    seen.clear()
    for _ in range(LOOKS):
        one.look(CONNECTIONS)
    # Not while a crowd is there.
    assert seen == []
    one.look(CONNECTIONS // 10)
    assert seen.count("unfreeze") == 1
    for _ in range(2 * LOOKS):
        one.look(0)
    assert seen.count("unfreeze") == 1


async def test_the_service_tells_its_collector_how_many_there_are(replica_set: ReplicaSet, tmp_path: Path) -> None:
    """The counts of a process that is its own: metrics have the number of collections."""
    module = tmp_path / "few.py"
    module.write_text(
        "import runpy\nfrom realtime.commands import collector\ncollector.CONNECTIONS = 5\n"
        'runpy.run_module("realtime", run_name="__main__")\n'
    )
    arguments = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", "t_collector")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    async with (
        process("serve", *arguments, home=tmp_path, module="few", PYTHONPATH=path) as serving,
        httpx.AsyncClient(base_url=serving.url) as http,
        AsyncExitStack() as stack,
    ):
        before = await full_collections(http)
        for _ in range(6):
            line = await stack.enter_async_context(connect(serving.url.replace("http", "ws") + "v1/ws"))
            await line.recv()
        async with asyncio.timeout(20):
            while await full_collections(http) == before:
                await asyncio.sleep(0.02)
    assert before >= 1


async def full_collections(http: httpx.AsyncClient) -> float:
    """Of the oldest generation."""
    text = (await http.get("/metrics")).text
    (found,) = [line for line in text.splitlines() if line.startswith('python_gc_collections_total{generation="2"}')]
    return float(found.rpartition(" ")[2])
