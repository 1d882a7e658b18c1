"""The Motor clients: one for all requests, two for the change stream. The only place that makes them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from motor.frameworks import asyncio as motor_asyncio
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo.collation import Collation
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidURI
from pymongo.uri_parser import parse_uri

from realtime.core.bson.stored import CODEC
from realtime.errors import ConfigurationError
from realtime.mongo.monitoring import listeners

Client = Any
"""An `AsyncIOMotorClient`; Motor has no type information."""
Database = Any
"""An `AsyncIOMotorDatabase`."""

RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    # Of the command that goes out: a UUID in a filter, or the key of a document to be read.
    uuid_representation=CODEC.uuid_representation,
    # Of the reply around them, which may quote what is stored where it says what went wrong.
    unicode_decode_error_handler=CODEC.unicode_decode_error_handler,
)
"""For replies whose documents are decoded one by one: sizes stay known and the loop gets its turn in between."""

ANSWERS: CodecOptions[dict[str, Any]] = CODEC.with_options(uuid_representation=UuidRepresentation.UNSPECIFIED)
"""For replies to writes, which quote the value that is there twice; it need be no UUID although its subtype says so."""

EXACTLY = Collation("simple")
"""Of whatever is found by a key or a condition. A collection with a default collation takes "abc" for "ABC" otherwise,
and what was asked of the one is done to the other."""

CLOSE_SECONDS = 0.5

WORKERS: int = motor_asyncio.max_workers
"""Threads that Motor shares between all of its clients."""

_REQUEST_DEFAULTS = {
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 3000,
    "heartbeatFrequencyMS": 2000,
    "socketTimeoutMS": 6000,
    "retryWrites": True,
    "retryReads": True,
}
_FEED_DEFAULTS = {
    **_REQUEST_DEFAULTS,
    # Above the stream's await time, so that only a frozen server runs into it.
    "socketTimeoutMS": 5000,
}
_FOLLOWER_DEFAULTS = {
    **_REQUEST_DEFAULTS,
    # Of many nodes each. Members tell of an election by themselves, and a frozen one is noticed by the relay's silence
    # or by the request that waits: what is heard the less often costs MongoDB that much less.
    "heartbeatFrequencyMS": 10_000,
}
_FEED_FIXED = {"maxPoolSize": 2}
_FAR_FIXED = {
    # The feed's step, one that reads history, and for each the command that stops it.
    "maxPoolSize": 4,
    # MongoDB answers a step when it has found something, or is through with the oplog: that may take minutes. A server
    # that is gone or frozen is found by the driver's heartbeats, which break the connections that wait for it.
    "socketTimeoutMS": 600_000,
}


def open_client(uri: str, *, app: str = "realtime", follower: bool = False) -> Client:
    """The client for reads and writes. The URI's own options win over ours. `follower`: of a node behind a relay."""
    defaults = _FOLLOWER_DEFAULTS if follower else _REQUEST_DEFAULTS
    return _open(uri, app, defaults, {"event_listeners": listeners("requests")})


def open_feed_client(uri: str, *, far: bool = False) -> Client:
    """The feed's own client: its waiting steps must not take connections from requests.

    `far`: for steps that look through a long stretch of the oplog. It connects when it is first used.
    """
    fixed = _FAR_FIXED if far else _FEED_FIXED
    return _open(uri, "realtime-feed", _FEED_DEFAULTS, {**fixed, "event_listeners": listeners("feed", commands=False)})


@asynccontextmanager
async def far_database(uri: str, database: str) -> AsyncIterator[Database]:
    """A database by a far client of its own, as long as the block runs: one that stays costs heartbeats for ever."""
    client = open_feed_client(uri, far=True)
    try:
        yield database_of(client, database)
    finally:
        await asyncio.to_thread(close, client)


def open_database(uri: str, database: str, *, app: str = "realtime") -> tuple[Client, Database]:
    """A client and one of its databases, with the codec that everything here uses."""
    client = open_client(uri, app=app)
    return client, database_of(client, database)


def close(client: Client) -> None:
    """Close a client, waiting `CLOSE_SECONDS` at most: it says goodbye to the server, which may be frozen."""
    thread = threading.Thread(target=client.close, daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)


def database_of(client: Client, database: str) -> Database:
    """A client's database with the codec that everything here uses."""
    return AsyncIOMotorDatabase(client, database, codec_options=CODEC)


def database_in(uri: str) -> str | None:
    """The database that the URI names, if it does."""
    name: str | None = _parse(uri)["database"]
    return name


def _parse(uri: str) -> Any:
    try:
        parsed = parse_uri(uri, warn=False)
    except (InvalidURI, DriverConfigurationError, ValueError, OSError) as error:
        raise _unusable(uri, error) from None
    if "@" in (parsed["database"] or ""):
        raise _unusable(uri, ValueError("an @ after the host")) from None
    return parsed


def _unusable(uri: str, error: Exception) -> ConfigurationError:
    """What is wrong with a URI, in one line. The driver quotes parts of it, and a password may be among them."""
    mend = "it looks like mongodb://user:password@host:27017/?replicaSet=rs0, with user and password percent-encoded"
    words = mend if "@" in uri else f"{' '.join(str(error).split())[:200]}; {mend}"
    return ConfigurationError(f"REALTIME_MONGODB_URI cannot be used: {words}")


def _open(uri: str, app: str, defaults: dict[str, Any], fixed: dict[str, Any]) -> Client:
    given = {name.lower() for name in _parse(uri)["options"]}
    options = {name: value for name, value in defaults.items() if name.lower() not in given}
    if "appname" not in given:
        options["appname"] = app
    try:
        return AsyncIOMotorClient(uri, **{**options, **fixed})
    except (InvalidURI, DriverConfigurationError, ValueError, OSError) as error:
        raise _unusable(uri, error) from None
