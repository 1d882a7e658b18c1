"""A nats-server of a test's own, and relays as processes between it and a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mongo.commands import Documents, plain
from tests.nats_server import NatsServer, nats_server
from tests.relay.processes import Place, place
from tests.replica_set import ReplicaSet


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def documents(replica_set: ReplicaSet) -> Iterator[Documents]:
    with plain(replica_set.uri) as found:
        yield found


@pytest.fixture
def here(replica_set: ReplicaSet, documents: Documents, nats: NatsServer, tmp_path: Path) -> Iterator[Place]:
    with place(replica_set.uri, documents.name, nats.url, tmp_path) as found:
        yield found
