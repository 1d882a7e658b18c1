"""The limit of open files is raised at the start, and where it is too low somebody hears of it and of the mend."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.commands import files
from tests.replica_set import ReplicaSet
from tests.serving import process

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
LOW = 1500


@pytest.fixture
def low() -> Iterator[None]:
    """This process, and those that it starts, have a soft limit below the hard one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, HARD))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


@pytest.mark.usefixtures("low")
def test_the_soft_limit_is_raised_to_the_hard_one_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    files.raise_limit(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (HARD, HARD)
    assert [one.getMessage() for one in caplog.records] == [
        f"open files: the limit was raised from {LOW} to {files._shown(HARD)}"
    ]
    files.raise_limit(1)
    assert len(caplog.records) == 1


def test_a_limit_that_cannot_be_raised_is_said_and_counts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_what: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise it")

    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1024, 100_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    files.raise_limit(10_000)
    said = [one.getMessage() for one in caplog.records]
    assert said[0] == "open files: the limit stays at 1024 and cannot be raised to 100000: not allowed to raise it"
    assert "at most 1024 in a process" in said[1]


def test_too_few_files_are_told_with_the_mend() -> None:
    assert files.shortage(10_256, 10_000) is None
    assert files.shortage(resource.RLIM_INFINITY, 10_000) is None
    # An address has no more ports than there are.
    assert files.shortage(66_000, 1_000_000_000) is None
    told = files.shortage(4096, 10_000)
    assert told is not None
    for part in ("at most 4096", "10000 connections", "LimitNOFILE=", "REALTIME_CONNECTIONS_PER_ADDRESS to 3840"):
        assert part in told
    assert "to 1 or less" in str(files.shortage(100, 10_000))


@pytest.mark.usefixtures("low")
async def test_the_service_starts_with_all_the_files_it_may_have(replica_set: ReplicaSet, tmp_path: Path) -> None:
    arguments = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", "t_files")
    async with process("serve", *arguments, home=tmp_path, REALTIME_CONNECTIONS_PER_ADDRESS="1000") as serving:
        assert resource.prlimit(serving.process.pid, resource.RLIMIT_NOFILE) == (HARD, HARD)
    assert sum(f"open files: the limit was raised from {LOW}" in line for line in serving.output) == 1
