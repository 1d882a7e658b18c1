"""Two users at a real nats-server: who is not the one that is asked for is told so at the start, and does not wait."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pymongo
import pytest

from realtime.core.relay.identity import Identity
from realtime.core.relay.permissions import users
from realtime.errors import ConfigurationError
from tests.nats.servers import one
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY
from tests.relay.following import following, relaying
from tests.relay.processes import SECONDS, Place, place
from tests.replica_set import ReplicaSet
from tests.serving import serving

EPOCH = "0123ABCD"
PUBLISHES = r"publishing t_\w+ to the stream"


@pytest.fixture
async def here(replica_set: ReplicaSet, tmp_path: Path) -> AsyncIterator[tuple[Place, NatsServer]]:
    """A database, and a server with the users of its stream."""
    database = f"t_{uuid.uuid4().hex[:12]}"
    config = users(Identity(EPOCH, database, ""), 'user: relay, password: "r3lay"', 'user: node, password: "n0de"')
    async with one(tmp_path / "nats", f"authorization {{\n{config}\n}}") as server:
        with place(replica_set.uri, database, url(server, "relay:r3lay"), tmp_path) as found:
            yield found, server
    with pymongo.MongoClient[dict[str, object]](replica_set.uri) as client:
        client.drop_database(database)


def url(server: NatsServer, user: str) -> str:
    return f"nats://{user}@127.0.0.1:{server.port}"


@pytest.mark.parametrize("stream_is_there", [True, False])
async def test_a_relay_as_the_nodes_user_ends_and_says_what_it_may_not(
    here: tuple[Place, NatsServer], stream_is_there: bool
) -> None:
    place, server = here
    if stream_is_there:
        await place.relay(REALTIME_EPOCH=EPOCH).says(PUBLISHES)
    place.nats = url(server, "node:n0de")
    other = place.relay(REALTIME_EPOCH=EPOCH)
    assert await asyncio.to_thread(other.process.wait, SECONDS) == 2
    (line,) = [line for line in other.log.splitlines() if line.startswith("realtime: ")]
    assert "does not let user 'node' publish on $JS.API.STREAM.CREATE." in line
    assert "docs/scaling.md#two-users" in line
    assert "n0de" not in other.log.replace("nodes", "")
    assert "nothing can be published" not in other.log


async def test_a_relay_and_a_node_of_another_database_are_refused_what_is_not_theirs(
    here: tuple[Place, NatsServer], replica_set: ReplicaSet
) -> None:
    place, server = here
    place.database = f"{place.database}x"
    relay = place.relay(REALTIME_EPOCH=EPOCH)
    assert await asyncio.to_thread(relay.process.wait, SECONDS) == 2
    assert "does not let user 'relay' publish on $JS.API.STREAM.INFO.realtime-1-" in relay.log
    async with asyncio.timeout(10):
        with pytest.raises(ConfigurationError, match=r"user 'node' publish on \$JS\.API\.STREAM\.INFO\..*two-users"):
            async with serving(replica_set, database=place.database, epoch=EPOCH, nats=url(server, "node:n0de")):
                pass


async def test_a_node_as_the_relays_user_is_refused_at_its_start(
    here: tuple[Place, NatsServer], replica_set: ReplicaSet
) -> None:
    place, server = here
    await place.relay(REALTIME_EPOCH=EPOCH).says(PUBLISHES)
    with pytest.raises(ConfigurationError, match=r"user 'relay' publish on \$JS\.API\.CONSUMER\.CREATE\."):
        async with serving(replica_set, database=place.database, epoch=EPOCH, nats=place.nats):
            pass
    async with serving(replica_set, database=place.database, epoch=EPOCH, nats=url(server, "node:n0de")):
        pass


async def test_what_a_running_node_may_not_is_the_reason_that_clients_hear(tmp_path: Path) -> None:
    """As where permissions were changed below it: not that the relay publishes nothing."""
    config = users(IDENTITY, 'user: relay, password: "r3lay"', 'user: node, password: "n0de"')
    async with (
        one(tmp_path, f"authorization {{\n{config}\n}}") as server,
        relaying(url(server, "relay:r3lay")),
        following(url(server, "relay:r3lay"), start=10) as node,
    ):
        status = await node.says(up=False)
        assert "user 'relay' publish on $JS.API.CONSUMER.CREATE" in (status.reason or "")
