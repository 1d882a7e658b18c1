"""Every test here says what it looked at; tests/conftest.py prints the figures after the run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests import second_mongod
from tests.replica_set import TEST_COMMANDS, ReplicaSet
from tests.serving import BY_NATS

Say = Callable[[str], None]

_WALLS = "test_a_moment_that_cannot_be_told_concerns_its_collection_alone_and_the_service_goes_on"
_RESTARTED = "test_after_a_restart_who_resumes_from_before_it_is_answered_and_the_others_miss_nothing"
OTHERWISE_BY_NATS = {
    "test_images_that_cannot_be_read_at_their_time_are_exact_at_a_later_one": "counts reads that a relay saves",
    "test_rows_of_a_view_are_no_images_of_a_collection_of_its_name": "waits for a read that a relay saves",
    f"{_WALLS}[images": "breaks a read that a relay saves",
    "test_one_ancient_position_spoils_nobody_elses_history": "a stream reaches back further than this oplog",
    _RESTARTED: "breaks the decoding of what is read back, which is decoded later from a stream",
}
"""What is not so where services follow a relay (`make test-nats`), and why."""


def _is(item: str, name: str) -> bool:
    """Whether a test is of this name, and where that goes on after a bracket, of this parameter."""
    test, _, parameter = name.partition("[")
    found, _, parameters = item.partition("[")
    return found == test and (not parameter or parameter in parameters)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not BY_NATS:
        return
    left = [item for item in items if any(_is(item.name, name) for name in OTHERWISE_BY_NATS)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Keep a line of figures with the test's report."""
    return lambda line: record_property("figures", line)


@pytest.fixture
async def own_replica_set() -> AsyncIterator[ReplicaSet]:
    """One that nobody else uses, whose oplog rolls within seconds and whose commands can be made to fail."""
    from realtime.mongo import embedded

    arguments = ("--oplogSize", "1", "--syncdelay", "1", *TEST_COMMANDS)
    with tempfile.TemporaryDirectory(prefix="realtime-exact-") as directory:
        async with embedded.running(Path(directory), extra_args=arguments) as mongo:
            yield ReplicaSet(mongo.uri, "embedded", can_fail_commands=True, pid=mongo.pid)


@pytest.fixture
async def newer_replica_set() -> AsyncIterator[ReplicaSet]:
    """One of mongod 6.0.27, which splits events over 16 MB."""
    from realtime.mongo import embedded

    binary = await asyncio.to_thread(second_mongod.fetched)
    with tempfile.TemporaryDirectory(prefix="realtime-exact-") as directory:
        async with embedded.running(Path(directory), binary, extra_args=TEST_COMMANDS) as mongo:
            yield ReplicaSet(mongo.uri, "embedded", can_fail_commands=True, pid=mongo.pid)


NEWER = pytest.param("newer_replica_set", marks=pytest.mark.long("documents of 16 MB again, on another version"))


@pytest.fixture(params=["replica_set", NEWER], ids=["shared", "6.0.27"])
def either_replica_set(request: pytest.FixtureRequest) -> ReplicaSet:
    """The one that the tests share, and one of 6.0.27."""
    found: ReplicaSet = request.getfixturevalue(request.param)
    return found
