"""What is looked at before serving: every failure is one line that names the mend, never a password, never a trace."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.mongo import embedded, preflight
from realtime.mongo.preflight import Deployment
from tests.mongo.commands import Documents, mongod, now, plain, watch_commands
from tests.mongo.differential import dialect_of
from tests.replica_set import ReplicaSet

SECRET = "pa55word"


@pytest.fixture
def database(replica_set: ReplicaSet) -> Iterator[Documents]:
    with plain(replica_set.uri) as found:
        yield found


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory takes 300 MB, so none is kept."""
    with tempfile.TemporaryDirectory(prefix="realtime-preflight-") as path:
        yield Path(path)


async def inspect(uri: str, name: str = "shop", *, epoch: str | None = None, sharded: bool = False) -> Deployment:
    client, database = clients.open_database(uri, name)
    try:
        return await preflight.inspect(client, database, epoch=epoch, allow_sharded=sharded)
    finally:
        client.close()


async def refused(uri: str, name: str = "shop", *, epoch: str | None = None) -> str:
    """The line that ends the start."""
    with pytest.raises(ConfigurationError) as error:
        await inspect(uri, name, epoch=epoch)
    line = str(error.value)
    assert "\n" not in line
    assert SECRET not in line
    assert error.value.__context__ is None or error.value.__suppress_context__, "no trace of the driver's"
    return line


# --------------------------------------------------------------------------------------------------------- a good one


async def test_a_replica_set_is_described(database: Documents, replica_set: ReplicaSet) -> None:
    before = now(database)
    found = await inspect(replica_set.uri, database.name)
    assert re.fullmatch(r"[0-9A-F]{8}", found.epoch)
    assert before <= found.time <= now(database)
    server = database.client.server_info()
    assert found.version == server["version"]
    assert found.dialect == dialect_of(database["any"])
    assert found.replica_set == database.client.admin.command("hello")["setName"]


async def test_the_trial_stream_is_closed_again(
    database: Documents, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    await inspect(replica_set.uri, database.name)
    streams = [one for one in commands.of("aggregate") if "$changeStream" in one["pipeline"][0]]
    assert len(streams) == len(commands.of("killCursors")) == 1
    assert commands.of("killCursors")[0]["cursors"] != [0]


async def test_the_epoch_is_the_same_every_time_and_differs_by_database(replica_set: ReplicaSet) -> None:
    epochs = [(await inspect(replica_set.uri, name)).epoch for name in ("one", "one", "two", "One")]
    assert epochs[0] == epochs[1]
    assert len(set(epochs)) == 3


@pytest.mark.long("starts two mongods")
async def test_the_epoch_outlives_a_restart_and_is_another_one_for_another_replica_set(directory: Path) -> None:
    epochs = []
    for name in ("a", "a", "b"):
        async with embedded.running(directory / name) as mongo:
            epochs.append((await inspect(mongo.uri)).epoch)
    assert epochs[0] == epochs[1]
    assert epochs[1] != epochs[2]


async def test_an_epoch_that_is_given_is_taken(replica_set: ReplicaSet) -> None:
    assert (await inspect(replica_set.uri, epoch="0123ABCD")).epoch == "0123ABCD"


# ------------------------------------------------------------------------------------------------------------- bad ones


async def test_a_standalone_server_is_told_how_to_become_a_replica_set(directory: Path) -> None:
    async with mongod(directory) as address:
        line = await refused(f"mongodb://{address}/")
    assert "standalone" in line
    assert "--replSet" in line
    assert "rs.initiate()" in line


async def test_a_replica_set_that_was_never_initiated_is_told_to_be(directory: Path) -> None:
    async with mongod(directory, "--replSet", "rs0") as address:
        direct = await refused(f"mongodb://{address}/?directConnection=true")
        named = await refused(f"mongodb://{address}/?replicaSet=rs0&serverSelectionTimeoutMS=300")
    assert "rs.initiate()" in direct
    assert "REALTIME_MONGODB_URI" in named
    assert "rs.status()" in named


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
async def test_no_server_is_one_line_with_what_to_check(host: str) -> None:
    line = await refused(f"mongodb://user:{SECRET}@{host}/?serverSelectionTimeoutMS=300")
    assert line.startswith("no MongoDB answers: ")
    assert host in line
    assert "REALTIME_MONGODB_URI" in line
    assert "Topology" not in line
    assert len(line) < 600


async def test_another_replica_sets_name_is_one_line(replica_set: ReplicaSet) -> None:
    host = replica_set.uri.removeprefix("mongodb://").split("/")[0]
    line = await refused(f"mongodb://{host}/?replicaSet=another&serverSelectionTimeoutMS=300")
    assert "REALTIME_MONGODB_URI" in line


async def test_an_old_version_is_refused_by_its_number(
    replica_set: ReplicaSet, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no old server here: the bound is moved instead."""
    version = database.client.server_info()["version"]
    monkeypatch.setattr(preflight, "OLDEST_VERSION", (99, 0))
    assert f"MongoDB {version} is too old" in await refused(replica_set.uri)
    monkeypatch.setattr(preflight, "OLDEST_VERSION", tuple(int(part) for part in version.split(".")[:2]))
    assert (await inspect(replica_set.uri)).version == version


def test_a_mongos_is_refused_unless_allowed() -> None:
    """No mongos here: only what its `hello` says."""
    hello = {"msg": "isdbgrid", "isWritablePrimary": True}
    with pytest.raises(ConfigurationError, match="--allow-sharded"):
        preflight._replica_set(hello, allow_sharded=False)
    assert preflight._replica_set(hello, allow_sharded=True) == "sharded"
    assert preflight._replica_set({"setName": "rs0"}, allow_sharded=True) == "rs0"


# ------------------------------------------------------------------------------------------------------------- accounts

USERS: dict[str, list[dict[str, str]]] = {
    "whole": [{"role": "readWrite", "db": "shop"}, {"role": "clusterMonitor", "db": "admin"}],
    "no-epoch": [{"role": "readWrite", "db": "shop"}],
    "elsewhere": [{"role": "readWrite", "db": "other"}, {"role": "clusterMonitor", "db": "admin"}],
    "nothing": [],
}


@pytest.fixture(scope="module")
async def guarded() -> AsyncIterator[str]:
    """HOST:PORT of a replica set with accounts: nobody does anything without one."""
    with tempfile.TemporaryDirectory(prefix="realtime-preflight-") as directory:
        key = Path(directory) / "key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        async with mongod(Path(directory), "--replSet", "rs0", "--keyFile", str(key)) as address:
            _make_users(address)
            yield address


def _make_users(address: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](address, directConnection=True) as client:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": address}]})
        while not client.admin.command("hello")["isWritablePrimary"]:
            time.sleep(0.05)
        client.admin.command("createUser", "admin", pwd=SECRET, roles=["root"])
    with pymongo.MongoClient[dict[str, Any]](f"mongodb://admin:{SECRET}@{address}/?directConnection=true") as client:
        for name, roles in USERS.items():
            client.admin.command("createUser", name, pwd=SECRET, roles=roles)


def account(address: str, user: str, password: str = SECRET) -> str:
    return f"mongodb://{user}:{password}@{address}/?replicaSet=rs0"


async def test_an_account_with_both_roles_is_served(guarded: str) -> None:
    found = await inspect(account(guarded, "whole"))
    assert re.fullmatch(r"[0-9A-F]{8}", found.epoch)


@pytest.mark.parametrize("user", ["elsewhere", "nothing"])
async def test_an_account_without_change_streams_is_told_which_role_on_which_database(guarded: str, user: str) -> None:
    line = await refused(account(guarded, user))
    assert "change stream on shop" in line
    assert '{role: "readWrite", db: "shop"}' in line


async def test_an_account_that_may_not_read_the_configuration_is_told_of_both_ways_out(guarded: str) -> None:
    line = await refused(account(guarded, "no-epoch"))
    assert "clusterMonitor" in line
    assert "REALTIME_EPOCH" in line
    assert (await inspect(account(guarded, "no-epoch"), epoch="0123ABCD")).epoch == "0123ABCD"


@pytest.mark.parametrize(("user", "password"), [("whole", "wrong"), ("nobody", SECRET)])
async def test_a_wrong_password_or_name_is_told_what_to_check(guarded: str, user: str, password: str) -> None:
    line = await refused(account(guarded, user, password))
    assert "user, password and authSource in REALTIME_MONGODB_URI" in line


async def test_the_wrong_auth_source_is_told_what_to_check(guarded: str) -> None:
    line = await refused(f"{account(guarded, 'whole')}&authSource=shop")
    assert "authSource in REALTIME_MONGODB_URI" in line


async def test_a_uri_without_an_account_is_told_that_one_is_needed(guarded: str) -> None:
    line = await refused(f"mongodb://{guarded}/?replicaSet=rs0")
    assert "REALTIME_MONGODB_URI" in line
    assert "user" in line
