"""The driver's errors as ours, and the gate through which every request to MongoDB goes."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pymongo
from bson.errors import BSONError, InvalidBSON, InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidName,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from realtime import errors
from realtime.core.mql import ordering, sorting
from realtime.mongo.client import WORKERS

Intent = Literal["read", "write"]

RETRY_AFTER_SECONDS = 2
PING_SECONDS = 1.0
_RESERVED_WORKERS = 4
"""Motor threads that requests never take: for a read of images, snapshot reads, the cluster's clock."""

_TOO_LARGE = frozenset({10334, 17419, 17420})
_TOO_LARGE_MESSAGE = "the document is larger than MongoDB takes (16 MiB)"
_INVALID_WRITE = frozenset(
    {2, 9, 14, 15, 16, 28, 34, 40, 52, 53, 54, 55, 56, 57, 66, 16836, 16837, 10137, 10141, 10147}
)
_NOT_A_COLLECTION = frozenset({73, 166})
"""InvalidNamespace, CommandNotSupportedOnView."""
_NOT_IN_A_TRANSACTION = frozenset({20, 263})
"""IllegalOperation, OperationNotSupportedInTransaction: of a capped collection, or a time series."""
_TIME_SERIES, _INVALID_OPTIONS = "time-series", 72
"""How MongoDB up to 6.0 refuses to delete one document of a time series."""
_AMBIGUOUS, _PARALLEL = 16746, "parallel arrays"
_AT_A_DOCUMENT = re.compile(r"(?:Plan)?Executor error during (?:find command|getMore|aggregation) :: caused by :: ")
"""How MongoDB begins to say that something ended a read under way: a document, where it is none of `_OF_THE_READ`."""
_OF_THE_READ = frozenset({292})
"""QueryExceededMemoryLimitNoDiskUseAllowed."""
_OUT_OF_MEMORY = _OF_THE_READ | {146}
"""What one stage may hold of documents: ExceededMemoryLimit is of one that no disk could help."""
_FIELD = re.compile(r"field: '([^']*)'")
_BUSY = frozenset({24, 46, 112})
"""LockTimeout, LockBusy, WriteConflict: nothing was written, and the same may go through at once."""
_TIMED_OUT = frozenset({50, 262})
_NO_PRIMARY = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
_INTERRUPTED = frozenset({43, 175, 237, 11601})
"""CursorNotFound, QueryPlanKilled (the collection was dropped), CursorKilled, Interrupted."""
_NO_SNAPSHOT = frozenset({239, 246})
_OF_THE_SERVER = _INTERRUPTED | {1, 6, 7, 8, 89, 96, 133, 134, 146, 225, 251, 279, 384, 9001, 14031}
"""What ends a write whatever it writes: InternalError, UnknownError, networks, memory, sessions, OutOfDiskSpace."""
_OF_ONE_WRITE = "Plan executor error during findAndModify :: caused by :: "
"""Where an error is the write's own: of a write that answers with its document, what others have in `writeErrors`."""
_HEAD, _TAIL = 150, 250
"""Characters told of a long reason: MongoDB quotes the whole document in it, before or after what is wrong."""


def translate(error: PyMongoError, intent: Intent) -> errors.ServiceError:
    """A driver error as a row of PROTOCOL section 7. Total: what is not known is a bug of ours, `internal`."""
    maybe = {"maybe_written": True} if intent == "write" else None
    if error.has_error_label("UnknownTransactionCommitResult"):
        return errors.UnavailableError("MongoDB did not confirm", retry_after=RETRY_AFTER_SECONDS, details=maybe)
    if error.has_error_label("TransientTransactionError"):
        # Of an aborted transaction nothing is there.
        return errors.UnavailableError("MongoDB could not do it just now", retry_after=RETRY_AFTER_SECONDS)
    if isinstance(error, InvalidName):
        return errors.UnsupportedCollectionError(f"no name of a collection: {error}")
    if isinstance(error, DuplicateKeyError):
        pattern = (error.details or {}).get("keyPattern")
        details = {"fields": list(pattern)} if pattern else None
        return errors.DuplicateKeyError("a document with this key is there already", details=details)
    if isinstance(error, BulkWriteError):
        return _bulk_error(error, intent)
    if isinstance(error, WTimeoutError):
        return _timed_out("the write was not confirmed by a majority in time", maybe)
    if isinstance(error, WriteConcernError) and error.code not in _INVALID_WRITE:
        return errors.UnavailableError(
            "the write was not confirmed by a majority", retry_after=RETRY_AFTER_SECONDS, details=maybe
        )
    if isinstance(error, ServerSelectionTimeoutError):
        # Nothing was sent, so nothing was written: of a retry the driver raises the first error.
        return errors.UnavailableError("MongoDB has no primary that answers", retry_after=RETRY_AFTER_SECONDS)
    if isinstance(error, ConnectionFailure):
        return errors.UnavailableError("MongoDB does not answer", retry_after=RETRY_AFTER_SECONDS, details=maybe)
    if isinstance(error, ExecutionTimeout):
        return _timed_out("MongoDB took too long", maybe)
    if isinstance(error, OperationFailure):
        return _server_error(error, intent, maybe)
    return errors.InternalError(f"unexpected driver error: {type(error).__name__}")


def _bulk_error(error: BulkWriteError, intent: Intent) -> errors.ServiceError:
    """What was wrong with the first document that was refused, and its place among those given."""
    details = error.details or {}
    refused = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    if not refused:
        return errors.InternalError("unexpected driver error: BulkWriteError")
    of_one = WriteError if details.get("writeErrors") else OperationFailure
    kind = DuplicateKeyError if refused[0].get("code") == 11000 else of_one
    translated = translate(kind(refused[0].get("errmsg", ""), refused[0].get("code"), refused[0]), intent)
    if "index" in refused[0]:
        translated.details = {**(translated.details or {}), "index": refused[0]["index"]}
        translated.message = f"document {refused[0]['index']}: {translated.message}"
    return translated


def _server_error(error: OperationFailure, intent: Intent, maybe: dict[str, Any] | None) -> errors.ServiceError:
    code = error.code or 0
    words = str((error.details or {}).get("errmsg", error))
    message = words.removeprefix(_OF_ONE_WRITE)
    if code in _NO_PRIMARY or error.has_error_label("RetryableWriteError"):
        return errors.UnavailableError("MongoDB has no primary", retry_after=RETRY_AFTER_SECONDS, details=maybe)
    if code == 121:
        return errors.ValidationFailedError(
            "the collection's validator refused the document", details={"reason": message}
        )
    if code in _BUSY:
        return errors.UnavailableError("MongoDB could not do it just now", retry_after=RETRY_AFTER_SECONDS)
    if code in _TIMED_OUT:
        return _timed_out("MongoDB took too long", maybe)
    if code in _TOO_LARGE:
        return errors.TooLargeError(_TOO_LARGE_MESSAGE)
    if code in _OUT_OF_MEMORY and intent == "read":
        return errors.TooLargeError(
            "MongoDB would need more memory for this than it gives one stage (100 MB): match fewer documents, or keep "
            "less of each"
        )
    if code in _NO_SNAPSHOT:
        return errors.UnavailableError("MongoDB has no snapshot to read just now", retry_after=RETRY_AFTER_SECONDS)
    if code in _NOT_A_COLLECTION:
        return errors.UnsupportedCollectionError(message)
    if code in {13, 18}:
        return errors.ForbiddenError("the service's MongoDB account may not do this")
    if _AT_A_DOCUMENT.match(message) and not (code in _OF_THE_SERVER | _OF_THE_READ or _is_of_the_sort(code, message)):
        # A document may be one that its reader must not see: neither its key nor its value is told, nor the code.
        return errors.InvalidDocumentError(
            "a document of the collection makes an expression of the request fail: give it another value there, for "
            'instance by {"$convert": {…, "onError": …}}, $ifNull or $cond'
        )
    of_one = isinstance(error, WriteError) or words.startswith(_OF_ONE_WRITE)
    found = _refused_write(code, message, of_one=of_one) if intent == "write" else _refused_read(code, message)
    return found or errors.InternalError(f"MongoDB refused with code {code}: {message}")


def _is_of_the_sort(code: int, message: str) -> bool:
    return code == _AMBIGUOUS or _PARALLEL in message


def _refused_write(code: int, message: str, *, of_one: bool) -> errors.ServiceError | None:
    """What is wrong with what was to be written; None where that is not what ended it.

    `of_one`: the error is of one write, and not of the command that it came by.
    """
    if code in _NOT_IN_A_TRANSACTION:
        return errors.UnsupportedCollectionError(f"{message}: write its documents one by one, without conditions")
    if code == _INVALID_OPTIONS and _TIME_SERIES in message:
        return errors.UnsupportedCollectionError(message)
    if code in _INVALID_WRITE:
        return errors.InvalidUpdateError(message)
    # Indexes of every kind have codes of their own for values that they do not take, and new ones with every version:
    # what stopped this one write, and is none of the server's own troubles, is in the document.
    if of_one and code not in _OF_THE_SERVER:
        long = len(message) > _HEAD + _TAIL
        reason = f"{message[:_HEAD]} … {message[-_TAIL:]}" if long else message
        return errors.ValidationFailedError(f"MongoDB does not take the document: {reason}", details={"reason": reason})
    return None


def _refused_read(code: int, message: str) -> errors.ServiceError | None:
    """What is wrong with what was asked for; None where that is not what ended it."""
    if code in _INTERRUPTED:
        return errors.UnavailableError("the read was cut off: begin again", retry_after=RETRY_AFTER_SECONDS)
    if code == _AMBIGUOUS:
        field = _FIELD.search(message)
        return ordering.unsortable(sorting.ambiguous(field[1]) if field else message)
    if code in {2, 9, 14, 31249, 31253, 31254}:
        return ordering.unsortable(sorting.PARALLEL) if _PARALLEL in message else errors.InvalidFilterError(message)
    return None


def _timed_out(message: str, details: dict[str, Any] | None) -> errors.TimedOutError:
    return errors.TimedOutError(message, details=details, retry_after=RETRY_AFTER_SECONDS)


def _unreadable(error: InvalidBSON, intent: Intent) -> errors.ServiceError:
    """What a reply means that the driver cannot decode. Of a write only a refusal quotes what others have stored."""
    if intent == "read":
        return errors.InternalError(f"a reply of MongoDB cannot be read: {error}")
    reason = "MongoDB refused the write, and quotes what the driver cannot read: the collection's validator holds it"
    return errors.ValidationFailedError(reason, details={"reason": str(error)})


def short(error: Exception) -> str:
    """An error as one line for a log: the server's own words where it has some, never its whole reply."""
    words = (getattr(error, "details", None) or {}).get("errmsg", None) or str(error)
    return f"{type(error).__name__}: {words.split(', full error', 1)[0].split(', Timeout:', 1)[0][:200]}"


FIRST_SECONDS = 10.0
"""From the first snapshot on: those who come back to a service that was started come within."""


class Gate:
    """Bounds how many requests are with MongoDB at once and how long each may take; translates what goes wrong."""

    def __init__(self, seconds: float, *, spread: float = 0.0) -> None:
        """`spread`: seconds, by chance up to so many, that a crowd of first snapshots waits. Many may start at once."""
        self.seconds = seconds
        self._spread, self._first_until = spread, float("inf")
        places = max(1, WORKERS - _RESERVED_WORKERS)
        self._free, self._snapshots = asyncio.Semaphore(places), asyncio.Semaphore(places)

    @asynccontextmanager
    async def request(self, intent: Intent) -> AsyncIterator[None]:
        """A client's request by the driver's own operations. Raises `ServiceError` only."""
        async with self._bounded(intent), self._free:
            # The driver's own bound covers its retries, and frees its thread.
            with pymongo.timeout(self.seconds):
                yield

    @asynccontextmanager
    async def page(self) -> AsyncIterator[None]:
        """A client's request by raw commands, which carry their own time limit: the driver's would break `getMore`."""
        async with self._bounded("read"), self._free:
            yield

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """A read of the hub's own, by raw commands: it finds a thread even when requests have taken all of theirs."""
        async with self._bounded("read"):
            yield

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """The same of a query that is opened, so many at once as requests, in the order in which they came.

        A thousand that come together would be handed to threads in one turn of the loop, and each be read in front of
        the images that the changes of everybody else wait for.
        """
        await self._apart()
        async with self._bounded("read"), self._snapshots:
            yield

    async def _apart(self) -> None:
        """Of the first ones those that find no place at once wait a while each."""
        if not self._spread:
            return
        now = asyncio.get_running_loop().time()
        self._first_until = min(self._first_until, now + FIRST_SECONDS)
        if self._snapshots.locked() and now < self._first_until:
            await asyncio.sleep(random.uniform(0, self._spread))  # noqa: S311 - spreads reads, no secret

    @asynccontextmanager
    async def _bounded(self, intent: Intent) -> AsyncIterator[None]:
        try:
            # Over the driver's bound by what a wait for one of its threads may take.
            async with asyncio.timeout(self.seconds + 0.3):
                yield
        except TimeoutError:
            maybe = {"maybe_written": True} if intent == "write" else None
            raise errors.UnavailableError(
                "MongoDB does not answer", retry_after=RETRY_AFTER_SECONDS, details=maybe
            ) from None
        except PyMongoError as error:
            raise translate(error, intent) from error
        except DocumentTooLarge:
            raise errors.TooLargeError(_TOO_LARGE_MESSAGE) from None
        except InvalidBSON as error:
            raise _unreadable(error, intent) from error
        except (InvalidDocument, BSONError, OverflowError) as error:
            raise errors.InvalidRequestError(f"not storable as BSON: {error}") from None


def closed(error: Exception) -> bool:
    """Whether a connection was closed in place of an answer, by a server that is there."""
    elsewhere = (NetworkTimeout, NotPrimaryError, ServerSelectionTimeoutError)
    return isinstance(error, AutoReconnect) and not isinstance(error, elsewhere)


async def is_there(database: Any) -> bool:
    """Whether a MongoDB answers a `ping` within `PING_SECONDS`."""
    try:
        async with asyncio.timeout(PING_SECONDS):
            await database.command("ping")
    except (PyMongoError, TimeoutError):
        return False
    return True


def code_and_labels(error: Exception) -> tuple[int | None, list[str]]:
    """The server's code, None for an error of the network, and the label that says a change stream can go on."""
    code = error.code if isinstance(error, OperationFailure) else None
    known = isinstance(error, PyMongoError) and error.has_error_label("ResumableChangeStreamError")
    return code, ["ResumableChangeStreamError"] if known else []
