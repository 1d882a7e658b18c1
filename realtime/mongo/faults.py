"""The driver's errors as ours, and the gate through which every request to MongoDB goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pymongo
from bson.errors import BSONError, InvalidDocument
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidName,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from realtime import errors
from realtime.mongo.client import WORKERS

Intent = Literal["read", "write"]

RETRY_AFTER_SECONDS = 2
_RESERVED_WORKERS = 4
"""Motor threads that requests never take: the feed's step, a read of images, snapshot reads."""

_TOO_LARGE = frozenset({10334, 17419, 17420})
_TOO_LARGE_MESSAGE = "the document is larger than MongoDB takes (16 MiB)"
_INVALID_WRITE = frozenset(
    {2, 9, 14, 15, 16, 28, 34, 40, 52, 53, 54, 55, 56, 57, 66, 16836, 16837, 10137, 10141, 10147}
)
_NOT_A_COLLECTION = frozenset({73, 166})
"""InvalidNamespace, CommandNotSupportedOnView."""
_TIMED_OUT = frozenset({50, 262})
_NO_PRIMARY = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
_INTERRUPTED = frozenset({43, 175, 237, 11601})
"""CursorNotFound, QueryPlanKilled (the collection was dropped), CursorKilled, Interrupted."""
_NO_SNAPSHOT = frozenset({239, 246})


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
    kind = DuplicateKeyError if refused[0].get("code") == 11000 else OperationFailure
    translated = translate(kind(refused[0].get("errmsg", ""), refused[0].get("code"), refused[0]), intent)
    if "index" in refused[0]:
        translated.details = {**(translated.details or {}), "index": refused[0]["index"]}
        translated.message = f"document {refused[0]['index']}: {translated.message}"
    return translated


def _server_error(error: OperationFailure, intent: Intent, maybe: dict[str, Any] | None) -> errors.ServiceError:
    code = error.code or 0
    message = str((error.details or {}).get("errmsg", error))
    if code in _NO_PRIMARY or error.has_error_label("RetryableWriteError"):
        return errors.UnavailableError("MongoDB has no primary", retry_after=RETRY_AFTER_SECONDS, details=maybe)
    if code == 121:
        return errors.ValidationFailedError(
            "the collection's validator refused the document", details={"reason": message}
        )
    if code in _TIMED_OUT:
        return _timed_out("MongoDB took too long", maybe)
    if code in _TOO_LARGE:
        return errors.TooLargeError(_TOO_LARGE_MESSAGE)
    if intent == "read" and code in _INTERRUPTED:
        return errors.UnavailableError("the read was cut off: begin again", retry_after=RETRY_AFTER_SECONDS)
    if code in _NO_SNAPSHOT:
        return errors.UnavailableError("MongoDB has no snapshot to read just now", retry_after=RETRY_AFTER_SECONDS)
    if code in _NOT_A_COLLECTION:
        return errors.UnsupportedCollectionError(message)
    if code in {13, 18}:
        return errors.ForbiddenError("the service's MongoDB account may not do this")
    if intent == "write" and code in _INVALID_WRITE:
        return errors.InvalidUpdateError(message)
    if code in {2, 9, 14, 31249, 31253, 31254}:
        return errors.InvalidFilterError(message)
    return errors.InternalError(f"MongoDB refused with code {code}: {message}")


def _timed_out(message: str, details: dict[str, Any] | None) -> errors.TimedOutError:
    return errors.TimedOutError(message, details=details, retry_after=RETRY_AFTER_SECONDS)


def short(error: PyMongoError) -> str:
    """A driver error as one line for a log: the server's own words where it has some, never its whole reply."""
    words = (getattr(error, "details", None) or {}).get("errmsg", None) or str(error)
    return f"{type(error).__name__}: {words.split(', full error', 1)[0].split(', Timeout:', 1)[0][:200]}"


class Gate:
    """Bounds how many requests are with MongoDB at once and how long each may take; translates what goes wrong."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._free = asyncio.Semaphore(max(1, WORKERS - _RESERVED_WORKERS))

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
        except (InvalidDocument, BSONError, OverflowError) as error:
            raise errors.InvalidRequestError(f"not storable as BSON: {error}") from None
