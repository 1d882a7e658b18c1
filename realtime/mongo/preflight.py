"""What must be true of a deployment before it can be served; each failure is one line that names the mend."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from realtime.core.live.events import to_time
from realtime.core.mql.dialect import Dialect, hear
from realtime.errors import ConfigurationError
from realtime.mongo import dialect as dialects
from realtime.mongo.client import Client, Database

OLDEST_VERSION = (6, 0)
_AUTHENTICATION = frozenset({18, 8000})
_UNAUTHORIZED = 13


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the service needs to know of the MongoDB it serves. `time` is the cluster time to start at."""

    epoch: str
    time: int
    version: str
    replica_set: str
    dialect: Dialect


async def inspect(client: Client, database: Database, *, epoch: str | None, allow_sharded: bool) -> Deployment:
    """Look at the deployment. `ConfigurationError` says what is wrong and how to mend it."""
    try:
        hello = await client.admin.command("hello")
        replica_set = _replica_set(hello, allow_sharded=allow_sharded)
        version = (await client.admin.command("buildInfo"))["version"]
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
            raise ConfigurationError(
                f"MongoDB {version} is too old: snapshot reads and images need 6.0 or newer; upgrade the server"
            )
        time = await _time(client, database)
        await try_change_stream(database)
        dialect = hear(await dialects.asked(database)).dialect
        return Deployment(epoch or await epoch_of(client, database), time, version, replica_set, dialect)
    except ConnectionFailure as error:
        raise ConfigurationError(
            f"no MongoDB answers: {_short(error)}; check REALTIME_MONGODB_URI and that the server runs and has a "
            "primary (rs.status())"
        ) from None
    except OperationFailure as error:
        raise _refused(error, database.name) from None
    except PyMongoError as error:
        raise ConfigurationError(f"MongoDB cannot be used: {_short(error)}") from None


def _replica_set(hello: dict[str, Any], *, allow_sharded: bool) -> str:
    if hello.get("msg") == "isdbgrid":
        if allow_sharded:
            return "sharded"
        raise ConfigurationError(
            "this is a mongos: exactness is not promised on a sharded cluster; connect to a replica set, or accept it "
            "with --allow-sharded"
        )
    if not hello.get("setName"):
        raise ConfigurationError(
            "MongoDB is a standalone server, and change streams need a replica set: start mongod with --replSet rs0 "
            "and run rs.initiate() once (a set of one member is enough)"
        )
    return str(hello["setName"])


async def _time(client: Client, database: Database) -> int:
    async with await client.start_session(causal_consistency=False) as session:
        await database.command("ping", session=session)
        return to_time(session.operation_time)


async def try_change_stream(database: Database) -> None:
    """Open one and close it again; raises what MongoDB has against it."""
    command = {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}
    reply = await database.command(command)
    await database.command({"killCursors": "$cmd.aggregate", "cursors": [reply["cursor"]["id"]]})


async def epoch_of(client: Client, database: Database) -> str:
    """The deployment's history by name: the replica set's own id and the database, hashed to 8 digits."""
    try:
        reply = await client.admin.command("replSetGetConfig")
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        raise ConfigurationError(
            "the account may not read the replica set's id (replSetGetConfig): grant it clusterMonitor on admin, or "
            "name the deployment's history yourself with REALTIME_EPOCH (8 upper-case hex digits, the same on every "
            "node, another one after a restore)"
        ) from None
    identifier = reply["config"]["settings"]["replicaSetId"]
    return hashlib.sha256(f"{identifier}/{database.name}".encode()).hexdigest()[:8].upper()


def _refused(error: OperationFailure, database: str) -> ConfigurationError:
    if error.code in _AUTHENTICATION:
        return ConfigurationError(
            "MongoDB refuses the account: check user, password and authSource in REALTIME_MONGODB_URI"
        )
    if error.code == _UNAUTHORIZED:
        return ConfigurationError(
            f"the account of REALTIME_MONGODB_URI (or nobody, where it names no user) may not open a change stream on "
            f"{database}: grant it readWrite on {database} "
            f'(db.grantRolesToUser("…", [{{role: "readWrite", db: "{database}"}}]))'
        )
    return ConfigurationError(f"MongoDB refuses to be served (code {error.code}): {_short(error)}")


def _short(error: Exception) -> str:
    return str(error).split(", Timeout:", 1)[0][:300]
