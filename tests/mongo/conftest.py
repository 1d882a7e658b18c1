"""Databases of the tests' own: on the shared replica set, and on one whose commands may be made to fail."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from realtime import settings
from realtime.mongo import embedded
from realtime.mongo import feed as feeds
from tests.mongo.commands import Documents, breakable, plain
from tests.replica_set import ReplicaSet


@pytest.fixture
def database(replica_set: ReplicaSet) -> Iterator[Documents]:
    with plain(replica_set.uri) as found:
        yield found


@pytest.fixture(scope="module")
async def own_uri() -> AsyncIterator[str]:
    """A replica set whose commands may be made to fail."""
    with tempfile.TemporaryDirectory(prefix="realtime-mongo-") as directory:
        async with breakable(Path(directory)) as uri:
            yield uri


@pytest.fixture
def own(own_uri: str) -> Iterator[Documents]:
    with plain(own_uri) as found:
        yield found


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory; each takes 300 MB, so none is kept."""
    with tempfile.TemporaryDirectory(prefix="realtime-embedded-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def binary() -> Path:
    with tempfile.TemporaryDirectory() as unused:
        return embedded.find_mongod(settings.load().mongod, Path(unused))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits between tries, so that a test of many takes no minute."""
    monkeypatch.setattr(feeds, "BACKOFF_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(feeds, "SLOW_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(feeds, "DEGRADED_AFTER_SECONDS", 0.3)
