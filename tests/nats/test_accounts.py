"""Users by a file of credentials, at a real nats-server that knows accounts by an operator's JWT."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from realtime.core.relay.permissions import node_rights, relay_rights
from realtime.errors import ConfigurationError
from realtime.nats import connection as connections
from realtime.nats import stream
from realtime.nats.access import access_of
from realtime.nats.connection import Connection, DeniedError, RefusedError, connect
from realtime.settings import load
from tests.nats.accounts import Accounts
from tests.nats.servers import one
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, LIMITS

SECONDS = 10.0


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
async def server(accounts: Accounts, tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with one(tmp_path / "nats", accounts.config) as server:
        yield server


async def let_in(server: NatsServer, creds: Path, on_error: Callable[[Exception], None] | None = None) -> Connection:
    return await connect(access_of(load(nats=server.url, nats_creds=creds)), "test", on_error=on_error)


async def test_relay_and_node_by_their_files_may_what_they_need_and_a_node_publishes_nothing(
    accounts: Accounts, server: NatsServer, tmp_path: Path
) -> None:
    rights = relay_rights(IDENTITY)
    relay = await let_in(server, accounts.credentials(tmp_path / "relay.creds", [*rights.publish], [*rights.subscribe]))
    state = await stream.ensure(relay, IDENTITY, LIMITS)
    await connections.close(relay)

    rights = node_rights(IDENTITY)
    creds = accounts.credentials(tmp_path / "node.creds", [*rights.publish], [*rights.subscribe])
    denied: asyncio.Queue[Exception] = asyncio.Queue()
    node = await let_in(server, creds, denied.put_nowait)
    found = await stream.look(node, IDENTITY)
    assert found is not None
    assert found.created == state.created
    await node.publish(IDENTITY.subject, b"hello")
    async with asyncio.timeout(SECONDS):
        assert isinstance(await denied.get(), DeniedError)
    await connections.close(node)


async def test_a_file_is_read_as_it_is_at_each_connection_whatever_ends_its_lines(
    accounts: Accounts, server: NatsServer, tmp_path: Path
) -> None:
    """One that was half exchanged while this runs is refused by name: nats-py would look for its JWT for ever."""
    creds = accounts.credentials(tmp_path / "any.creds", [">"], [">"])
    whole = creds.read_text()
    access = access_of(load(nats=server.url, nats_creds=creds))
    for ends in ("\n", "\r\n"):
        creds.write_bytes(whole.replace("\n", ends).encode())
        await connections.close(await connect(access, "test"))
    seed = whole[whole.index("-----BEGIN USER NKEY") :]
    for half in ("", seed, whole.removesuffix(seed)):
        creds.write_text(half)
        with pytest.raises(
            ConfigurationError, match=r"^REALTIME_NATS_CREDS: \S+any\.creds holds not both a user's JWT and its seed"
        ):
            await connect(access, "test")
    creds.write_text(whole)
    await connections.close(await connect(access, "test"))


async def test_a_seed_that_is_none_is_refused_with_the_mend(
    accounts: Accounts, server: NatsServer, tmp_path: Path
) -> None:
    creds = accounts.credentials(tmp_path / "any.creds", [">"], [">"])
    creds.write_text(re.sub(r"\nSU[A-Z2-7]+", "\nSUAAAA", creds.read_text()))
    with pytest.raises(RefusedError, match=r"the seed in the file of REALTIME_NATS_CREDS is none .*have nsc write it"):
        await let_in(server, creds)
