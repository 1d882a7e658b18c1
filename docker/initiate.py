"""Make one replica set of some mongod, once: `initiate.py SET HOST:PORT …`.

Exit 0 when the set has a primary, however often it runs; 1 with one line when it has none in time. From the service's
image because MongoDB's own may lack a shell client.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

WAIT_SECONDS = 120.0
PAUSE_SECONDS = 0.5
ALREADY_INITIALIZED = 23
NODE_NOT_FOUND = 74

T = TypeVar("T")

log = logging.getLogger("initiate")


class NotYetError(Exception):
    """What is still being waited for."""


def initiate(replica_set: str, members: list[str], *, seconds: float = WAIT_SECONDS) -> str:
    """The primary's address. `NotYetError` says what did not come about in `seconds`."""
    deadline = time.monotonic() + seconds
    _until(deadline, lambda: _initiated(replica_set, members))
    return _until(deadline, lambda: _primary(replica_set, members))


def _until(deadline: float, step: Callable[[], T]) -> T:
    """What `step` returns, tried again while it says "not yet"."""
    while True:
        try:
            return step()
        except NotYetError as reason:
            if time.monotonic() > deadline:
                raise
            log.info("%s", reason)
        time.sleep(PAUSE_SECONDS)


def _initiated(replica_set: str, members: list[str]) -> None:
    """Initiate, unless some member has a set already: then the others may be down, and must not be waited for."""
    absent = []
    for member in members:
        try:
            named = _ask(member, "hello").get("setName")
        except PyMongoError as error:
            absent.append(f"{member} does not answer ({_short(error)})")
            continue
        if named == replica_set:
            log.info("%s is a member of %s already", member, replica_set)
            return
        if named:
            raise SystemExit(f"initiate: {member} belongs to another replica set, {named}")
    if absent:
        raise NotYetError("; ".join(absent))
    config = {"_id": replica_set, "members": [{"_id": n, "host": member} for n, member in enumerate(members)]}
    try:
        _ask(members[0], "replSetInitiate", config)
    except OperationFailure as error:
        if error.code == NODE_NOT_FOUND:
            raise NotYetError(f"the members do not see each other ({_short(error)})") from None
        if error.code != ALREADY_INITIALIZED:
            raise SystemExit(f"initiate: {members[0]} refuses ({error.code}): {_short(error)}") from None
    except PyMongoError as error:
        raise NotYetError(f"{members[0]} does not answer ({_short(error)})") from None
    else:
        log.info("initiated %s of %s", replica_set, ", ".join(members))


def _primary(replica_set: str, members: list[str]) -> str:
    """By way of the set itself, so that it is one whose members' names lead somewhere."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        members, replicaSet=replica_set, serverSelectionTimeoutMS=3000, connectTimeoutMS=2000
    )
    with client:
        try:
            return str(client.admin.command("hello")["me"])
        except PyMongoError as error:
            raise NotYetError(f"no primary yet ({_short(error)})") from None


def _ask(member: str, command: str, value: Any = 1) -> dict[str, Any]:
    """A command to this member alone."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        member, directConnection=True, serverSelectionTimeoutMS=2000, connectTimeoutMS=2000, socketTimeoutMS=30_000
    )
    with client:
        return client.admin.command(command, value)


def _short(error: Exception) -> str:
    """The beginning; the driver's text goes on with its timeouts and its view of the topology."""
    return str(error).partition(" (configured timeouts")[0].partition(", Timeout: ")[0][:200]


def main() -> None:
    """Arguments rather than variables: nothing but the service's settings reads the environment."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    replica_set, *members = sys.argv[1:]
    try:
        log.info("%s has a primary: %s", replica_set, initiate(replica_set, members))
    except NotYetError as reason:
        raise SystemExit(f"initiate: gave up after {WAIT_SECONDS:.0f} s: {reason}") from None


if __name__ == "__main__":
    main()
