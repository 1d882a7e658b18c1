"""What whoever is under a rule is told of an error: never a word of MongoDB's, and of a model's what they may read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from realtime.errors import (
    DuplicateKeyError,
    InternalError,
    InvalidUpdateError,
    ServiceError,
    UnsupportedCollectionError,
    ValidationFailedError,
)

TAKEN = "a document with this key is there already"
_WORDS: dict[type[ServiceError], str] = {
    DuplicateKeyError: TAKEN,
    InternalError: "MongoDB refused the write",
    InvalidUpdateError: "the update cannot be applied to the document",
    UnsupportedCollectionError: "the collection does not take such a write",
    ValidationFailedError: "the document is none that the collection takes",
}
"""In place of messages that quote MongoDB's."""
_KEPT = frozenset({"maybe_written", "index"})


def redacted(error: ServiceError, shows: Callable[[str], bool]) -> ServiceError:
    """The error as it is told; `shows` says of a dotted path whether it may be read."""
    if isinstance(error.__cause__, PyMongoError | BSONError):
        return _without_words(error)
    complaints = (error.details or {}).get("errors") if isinstance(error, ValidationFailedError) else None
    return error if complaints is None else _cut(error, complaints, shows)


def _without_words(error: ServiceError) -> ServiceError:
    kind = type(error)
    # Which index it was is nothing to whoever does not see the other document; nor is which of several was refused.
    kept = {} if kind is DuplicateKeyError else {k: v for k, v in (error.details or {}).items() if k in _KEPT}
    return kind(_WORDS.get(kind, error.message), details=kept or None, retry_after=error.retry_after)


def _cut(error: ServiceError, complaints: list[dict[str, Any]], shows: Callable[[str], bool]) -> ServiceError:
    """A model's complaints by what may be read. One of the whole document, at no path, may quote any field of it."""
    told = [one for one in complaints if shows(one["path"])]
    if told == complaints:
        return error
    details = {key: value for key, value in (error.details or {}).items() if key in _KEPT}
    words = f"{told[0]['path']}: {told[0]['message']}" if told else _WORDS[ValidationFailedError]
    return ValidationFailedError(words, details={**details, "errors": told} if told else details or None)
