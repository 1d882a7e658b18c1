"""Asks a server how it decides what servers decide differently: at the start, and whenever a stream is opened.

A primary of another version means another stream: the cursor of the old one ends with its server or its connection.
So who asks right after a stream was opened, of the same database, has asked whoever wrote what the stream will bring.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.live.events import to_time
from realtime.core.mql.dialect import PROBES, Answer, Dialect, hear, known_of
from realtime.core.upstream.stream_errors import PASSING
from realtime.errors import UnavailableError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import RETRY_AFTER_SECONDS, short

log = logging.getLogger("realtime.dialect")

Ask = Callable[[Database, Any], Awaitable[None]]
"""Asks the server of a session."""
_CUT_OFF = PASSING | {262, 11601}
"""Elections, shutdowns, ExceededTimeLimit, Interrupted: no answer, and the next try may bring one."""


async def asked(database: Database, session: Any = None) -> dict[str, Answer]:
    """The answer to every probe, by field. Raises `PyMongoError` where nobody answers; a refusal is an answer."""
    return {probe.field: await _answer(database, probe.pipeline, session) for probe in PROBES}


async def _answer(database: Database, pipeline: list[dict[str, Any]], session: Any) -> Answer:
    command = {"aggregate": 1, "pipeline": pipeline, "cursor": {}, "comment": "realtime dialect"}
    try:
        reply = await database.command(command, session=session)
    except OperationFailure as error:
        if error.code in _CUT_OFF:
            raise
        return short(error)
    return frozenset(document["_id"] for document in reply["cursor"]["firstBatch"])


class Attentive:
    """Has the server asked again once a client sees another primary: for who has no stream that ends with the old one.

    A server that was restarted is another one too. Between elections there is none to be asked, and nothing is.
    """

    def __init__(self, client: Client, database: Database, ask: Ask) -> None:
        self._client, self._database, self._ask = client, database, ask
        self._asked: object = None

    async def look(self) -> None:
        """Before anything is told that another one may have written. `UnavailableError` where nobody answers."""
        primary = primary_of(self._client)
        if primary is None or primary == self._asked:
            return
        try:
            async with await self._client.start_session(causal_consistency=False) as session:
                await self._ask(self._database, session)
        except PyMongoError as error:
            raise UnavailableError(short(error), retry_after=RETRY_AFTER_SECONDS) from error
        self._asked = primary


def primary_of(client: Client) -> object:
    """The primary as its client sees it, and its process; None while there is none."""
    for server in client.topology_description.server_descriptions().values():
        if server.is_writable:
            process = (server.topology_version or {}).get("processId")
            return server.address, process
    return None


class Interpreter:
    """Knows the dialect of the server asked last; says so where it is another one, and once where it is odd."""

    def __init__(self, dialect: Dialect, on_change: Callable[[Dialect, int], None]) -> None:
        """`on_change` gets the dialect and a cluster time at which it was spoken."""
        self.dialect = dialect
        self._on_change = on_change
        self._odd: Mapping[str, str] = {}

    async def ask(self, database: Database, session: Any) -> None:
        """Ask the server that a stream of this session was opened on."""
        heard = hear(await asked(database, session), self.dialect)
        for name, words in heard.odd.items():
            if self._odd.get(name) != words:
                log.warning("%s: %s", name, words)
        self._odd = heard.odd
        differs = self.dialect.differs(heard.dialect)
        if differs:
            self.dialect = heard.dialect
            for probe in PROBES:
                if probe.field in differs:
                    known = known_of(probe, heard.dialect)
                    log.warning("the primary decides otherwise now, %s: %s", known.seen, known.words)
            self._on_change(heard.dialect, to_time(session.operation_time))
