"""One error tree: every failure that a client or an operator is told of.

A `ServiceError` is a row of PROTOCOL section 7: its `code` is what the wire carries, `status` what HTTP answers,
`retry` whether the same request may succeed later. `ConfigurationError` ends the start-up with exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class RealtimeError(Exception):
    """Root of the tree; its text is one line that names the mend."""


class ConfigurationError(RealtimeError):
    """The service cannot start as configured; the message says what to change."""


TOLD = 4000
"""Characters of a text that an error tells: names and operators that it quotes may be nearly as long as a frame, twice,
and who takes frames of the usual bound would be thrown out by the answer."""


class ServiceError(RealtimeError):
    """A request that is answered with an error of PROTOCOL section 7.

    `retry_after` is in seconds; `details` goes out as it is and must be JSON. Texts are cut to `TOLD`, but for a key.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry: ClassVar[bool] = True

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, retry_after: float | None = None):
        message = _cut(message)
        super().__init__(message)
        self.message = message
        self.details = (
            {name: value if name == "key" else _cut(value) for name, value in details.items()} if details else None
        )
        self.retry_after = retry_after

    def payload(self) -> dict[str, Any]:
        """The fields that an `error` frame and a problem document share."""
        fields: dict[str, Any] = {"code": self.code, "message": self.message, "retry": self.retry}
        if self.retry_after is not None:
            fields["retry_after"] = self.retry_after
        if self.details is not None:
            fields["details"] = self.details
        return fields


def _cut(value: Any) -> Any:
    """A long text without its middle: what is wrong stands before what is quoted, and the mend behind it."""
    if not isinstance(value, str) or len(value) <= TOLD:
        return value
    return f"{value[: TOLD // 2]} … {value[-TOLD // 4 :]}"


class InternalError(ServiceError):
    """A bug; the message carries the reference under which it was logged."""


class MalformedFrameError(ServiceError):
    """Not JSON, or not a JSON object."""

    code, status, retry = "malformed_frame", 400, False


class UnknownTypeError(ServiceError):
    """A frame type that this protocol does not have."""

    code, status, retry = "unknown_type", 400, False


class InvalidRequestError(ServiceError):
    """A field missing, unknown or of the wrong type; `details.field` names it."""

    code, status, retry = "invalid_request", 422, False


class InvalidFilterError(ServiceError):
    """A filter that MongoDB would refuse as well; `details.path` names the place."""

    code, status, retry = "invalid_filter", 422, False


class InvalidUpdateError(ServiceError):
    """Update operators that cannot be applied."""

    code, status, retry = "invalid_update", 422, False


class UnsupportedOperatorError(ServiceError):
    """An operator that the allow-list does not have; `details` names operator and path."""

    code, status, retry = "unsupported_operator", 422, False


class InvalidDocumentError(ServiceError):
    """A stored document makes an expression fail, in MongoDB too; `details` has key and operator where known."""

    code, status, retry = "invalid_document", 422, False


class UnsupportedValueError(ServiceError):
    """A stored document has a value of which it is not certain here what MongoDB makes; `details` as above."""

    code, status, retry = "unsupported_value", 422, False


class UnsupportedCollectionError(ServiceError):
    """A collection that cannot be served live: the service's own, a view, time series, a default collation."""

    code, status, retry = "unsupported_collection", 422, False


class InvalidPositionError(ServiceError):
    """A position that is unreadable, ahead of now, or of another deployment."""

    code, status, retry = "invalid_position", 410, False


class HistoryLostError(ServiceError):
    """The position is older than what can still be replayed; `details.oldest` is a date where it is known."""

    code, status, retry = "history_lost", 410, False


class UnauthenticatedError(ServiceError):
    """No principal. `reason` is one word for the audit log; the message, for who asks, never holds a token."""

    code, status, retry = "unauthenticated", 401, False

    def __init__(
        self,
        message: str,
        *,
        reason: str = "no_token",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ):
        super().__init__(message, details=details, retry_after=retry_after)
        self.reason = reason


class ForbiddenError(ServiceError):
    """The principal, origin or host may not do this."""

    code, status, retry = "forbidden", 403, False


class NotFoundError(ServiceError):
    """No such document, subscription or path."""

    code, status, retry = "not_found", 404, False


class DuplicateKeyError(ServiceError):
    """A unique index already holds this key."""

    code, status, retry = "duplicate_key", 409, False


class PreconditionFailedError(ServiceError):
    """The document does not match `where`; nothing was written."""

    code, status, retry = "precondition_failed", 412, False


class ValidationFailedError(ServiceError):
    """The collection's own validator refused the document."""

    code, status, retry = "validation_failed", 422, False


class TooLargeError(ServiceError):
    """A document, a body or a result over its limit; `details` gives count and limit."""

    code, status, retry = "too_large", 413, False


class TooManySubscriptionsError(ServiceError):
    """The connection holds `limits.subscriptions` already."""

    code, status, retry = "too_many_subscriptions", 429, False


class RateLimitedError(ServiceError):
    """More waits than may wait."""

    code, status, retry = "rate_limited", 429, True


class UnavailableError(ServiceError):
    """MongoDB has no primary, or the service is not fit to serve."""

    code, status, retry = "unavailable", 503, True


class TimedOutError(ServiceError):
    """No answer in time; `details.maybe_written` where a write may have happened."""

    code, status, retry = "timeout", 504, True


def every_kind() -> tuple[type[ServiceError], ...]:
    """Every row of the table, in the order of this file."""
    return tuple(kind for kind in ServiceError.__subclasses__() if kind.__module__ == __name__)


def no_document(collection: str) -> NotFoundError:
    """The one answer about a document that is not there, or that nobody may know of who asks."""
    return NotFoundError(f"no document with this key in {collection}")


# ------------------------------------------------------------------------------------------- what Pydantic found wrong

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be a string",
    "string_too_short": "must be at least {min_length} long",
    "string_too_long": "must be at most {max_length} long",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "literal_error": "must be {expected}",
    "datetime_type": "must be a date",
    "datetime_parsing": "must be a date",
    "path_type": "must be a path",
}
"""Pydantic's kinds of errors that frames, queries of addresses and settings have, in words for whoever sent them."""


def worded(error: Mapping[str, Any]) -> str:
    """What is wrong by one of Pydantic's errors, to go behind the name of what it is wrong with."""
    words = _WORDS.get(error["type"])
    return error["msg"].removeprefix("Value error, ") if words is None else words.format(**error.get("ctx", {}))


def first_wrong(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The first field that Pydantic found something wrong with, as a dotted path, and what, for a flat model.

    Where a field may be of several types there is an error for each, named by the type: those that came furthest into
    the value count, and no name of a type is shown.
    """
    paths = [(error["loc"][0], *(part for part in error["loc"][1:] if isinstance(part, int))) for error in errors]
    deepest = max((path for path in paths if path[0] == paths[0][0]), key=len)
    found = [error for error, path in zip(errors, paths, strict=True) if path == deepest]
    # A value of the right type that is out of bounds is not told of the other types that it might have had.
    telling = [error for error in found if not error["type"].endswith("_type")] or found
    reasons = dict.fromkeys(map(worded, telling))
    return ".".join(map(str, deepest)), " or ".join(reasons).replace(" or must be ", " or ")
