"""Asks a MongoDB all that `realtime doctor` wants to know, step by step; what is refused is a fact as well."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pymongo import ReadPreference
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from realtime.core.live.events import to_time
from realtime.core.upstream.diagnosis import Engine, Facts
from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.mongo import dialect as dialects
from realtime.mongo import preflight
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import short
from realtime.mongo.reach import oldest_of
from realtime.mongo.snapshot import catalogue

SELECTION_MS = 3000
UNAUTHORIZED = 13
_AUTHENTICATION = frozenset({18, 8000})


async def examine(uri: str, database: str, epoch: str | None) -> Facts:
    """Everything that can be learnt. `ConfigurationError` for a URI that cannot be used; nothing else is raised."""
    client = clients.open_client(uri, app="realtime-doctor")
    facts = Facts(database)
    try:
        facts.hello = await client.admin.command("hello")
        await _learn(client, clients.database_of(client, database), facts, epoch)
    except OperationFailure as error:
        mend = ": check user, password and authSource in the URI" if error.code in _AUTHENTICATION else ""
        raise ConfigurationError(f"MongoDB refuses to be examined ({short(error)}){mend}") from None
    except PyMongoError as error:
        facts.hello, facts.unreachable = None, short(error)
        facts.seeds = {address: await _hello_of(address, uri) for address in _seeds(uri)}
    finally:
        clients.close(client)
    return facts


def _seeds(uri: str) -> list[str]:
    return [f"{host}:{port}" for host, port in parse_uri(uri, warn=False)["nodelist"]]


async def _hello_of(address: str, uri: str) -> dict[str, Any] | None:
    """What one member says of itself, whatever its set is like; it may be asked that without an account."""
    tls = "&tls=true" if parse_uri(uri, warn=False)["options"].get("tls") else ""
    one = clients.open_client(
        f"mongodb://{address}/?directConnection=true&serverSelectionTimeoutMS={SELECTION_MS}{tls}",
        app="realtime-doctor",
    )
    try:
        hello: dict[str, Any] = await one.admin.command("hello", read_preference=ReadPreference.NEAREST)
    except PyMongoError:
        return None
    finally:
        clients.close(one)
    return hello


async def _learn(client: Client, database: Database, facts: Facts, epoch: str | None) -> None:
    facts.version = (await client.admin.command("buildInfo"))["version"]
    facts.compatibility = await _ask(_compatibility, client)
    facts.members = await _ask(_members, client)
    facts.votes = await _ask(_votes, client)
    facts.window, facts.filled = await _oplog(client, database)
    facts.journal_ms = await _ask(_journal, client)
    facts.write_concern = await _ask(_write_concern, client)
    facts.epoch, facts.epoch_is_set = epoch, epoch is not None
    if epoch is None and facts.votes is not None:
        facts.epoch = await preflight.epoch_of(client, database)
    facts.refused = await _steps(client, database, facts)
    facts.answers = await dialects.asked(database)
    facts.engine = await _ask(engine_set, client) or await _ask(engine_seen, database, facts.collections or ())
    facts.may_write = await _ask(_may_write, client, database.name)
    facts.skew = await _skew(client)


async def _ask(question: Callable[..., Awaitable[Any]], *about: Any) -> Any:
    """The answer; None where the account may not ask, or the server does not know."""
    try:
        return await question(*about)
    except OperationFailure:
        return None


async def _compatibility(client: Client) -> str:
    reply = await client.admin.command({"getParameter": 1, "featureCompatibilityVersion": 1})
    return str(reply["featureCompatibilityVersion"]["version"])


async def _members(client: Client) -> list[dict[str, Any]]:
    return list((await client.admin.command("replSetGetStatus"))["members"])


async def _votes(client: Client) -> list[dict[str, Any]]:
    return list((await client.admin.command("replSetGetConfig"))["config"]["members"])


async def _journal(client: Client) -> int:
    return int((await client.admin.command({"getParameter": 1, "journalCommitInterval": 1}))["journalCommitInterval"])


ENGINE_SETTINGS = ("internalQueryForceClassicEngine", "internalQueryFrameworkControl")
"""Of 6.0, and of what came after it."""


async def engine_set(client: Client) -> Engine | None:
    """By the server's settings; None where it has none of those that are known."""
    reply = await client.admin.command({"getParameter": 1, **dict.fromkeys(ENGINE_SETTINGS, 1)})
    found = [reply[name] for name in ENGINE_SETTINGS if name in reply]
    return ("classic" if found[0] in {True, "forceClassicEngine"} else "slots") if found else None


async def engine_seen(database: Database, collections: Sequence[Mapping[str, Any]]) -> Engine | None:
    """By how a `$group` of a collection that exists would be run; None where there is none."""
    name = next((one["name"] for one in collections if one.get("type", "collection") == "collection"), None)
    if name is None:
        return None
    group: dict[str, Any] = {"$group": {"_id": "$a", "n": {"$sum": "$b"}}}
    asked = {"aggregate": name, "pipeline": [group], "cursor": {}}
    reply = await database.command({"explain": asked, "verbosity": "queryPlanner"})
    return "slots" if reply.get("explainVersion") == "2" else "classic"


async def _write_concern(client: Client) -> dict[str, Any]:
    reply = await client.admin.command("getDefaultRWConcern")
    return dict(reply.get("defaultWriteConcern") or {"w": 1})


async def _oplog(client: Client, database: Database) -> tuple[int | None, float | None]:
    """Seconds that it reaches back, and the share of its size that is used."""
    oldest = await oldest_of(client)
    if oldest is None:
        return None, None
    async with await client.start_session(causal_consistency=False) as session:
        await database.command("ping", session=session)
        window = (to_time(session.operation_time) >> 32) - (oldest >> 32)
    stats = await _ask(client["local"].command, {"collStats": "oplog.rs"})
    filled = None if not stats or not stats.get("maxSize") else stats["size"] / stats["maxSize"]
    return window, filled


async def _steps(client: Client, database: Database, facts: Facts) -> dict[str, str]:
    """What the service does all the time, done once; the reason where it is refused."""
    refused: dict[str, str] = {}
    try:
        await preflight.try_change_stream(database)
    except OperationFailure as error:
        refused["change stream"] = short(error)
    try:
        # Of a collection that is not there: the right to read it is asked for all the same.
        await database.command({"find": "realtime_doctor", "readConcern": {"level": "snapshot"}, "limit": 1})
    except OperationFailure as error:
        refused["snapshot read"] = short(error)
    try:
        facts.collections = await catalogue(database, {})
    except OperationFailure as error:
        refused["collections"] = short(error)
    return refused


async def _may_write(client: Client, database: str) -> bool:
    """Whether the account may insert; where nobody has to log in, anybody may."""
    reply = await client.admin.command({"connectionStatus": 1, "showPrivileges": True})
    info = reply["authInfo"]
    if not info["authenticatedUsers"]:
        return True
    return any(
        "insert" in one["actions"]
        and (one["resource"].get("anyResource") or one["resource"].get("db") in {"", database})
        and one["resource"].get("collection", "") == ""
        for one in info.get("authenticatedUserPrivileges", ())
    )


async def _skew(client: Client) -> float:
    """Seconds that MongoDB's wall clock is ahead of ours, by the middle of a round trip."""
    began = time.time()
    hello = await client.admin.command("hello")
    middle = (began + time.time()) / 2
    return float(hello["localTime"].timestamp() - middle) if hello["localTime"].tzinfo else _naive(hello, middle)


def _naive(hello: dict[str, Any], middle: float) -> float:
    # The driver's own default is UTC without saying so.
    local = hello["localTime"]
    return float((local - local.__class__(1970, 1, 1)).total_seconds() - middle)


async def switch_images(uri: str, database: str, collection: str, *, enabled: bool) -> bool:
    """Let a collection keep pre- and post-images, or not; whether that changed anything.

    `ConfigurationError` where it cannot be had: no such collection, a view, no privilege, no server.
    """
    client = clients.open_client(uri, app="realtime-doctor")
    try:
        found = await catalogue(clients.database_of(client, database), {"name": collection})
        if not found:
            raise ConfigurationError(f"there is no collection {collection} in {database}: create it first")
        before = found[0].get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled", False)
        await client[database].command({"collMod": collection, "changeStreamPreAndPostImages": {"enabled": enabled}})
    except OperationFailure as error:
        mend = f": grant the account dbAdmin on {database}" if error.code == UNAUTHORIZED else ""
        raise ConfigurationError(f"MongoDB refuses it ({short(error)}){mend}") from None
    except PyMongoError as error:
        raise ConfigurationError(f"no MongoDB answers: {short(error)}; check the URI") from None
    finally:
        clients.close(client)
    return bool(before) is not enabled
