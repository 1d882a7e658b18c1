"""One error tree: every failure that a client or an operator is told of.

A `ServiceError` is a row of PROTOCOL section 7: its `code` is what the wire carries, `status` what HTTP answers,
`retry` whether the same request may succeed later. `ConfigurationError` ends the start-up with exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class RealtimeError(Exception):
    """Root of the tree; its text is one line that names the mend."""


class ConfigurationError(RealtimeError):
    """The service cannot start as configured; the message says what to change."""


class ServiceError(RealtimeError):
    """A request that is answered with an error of PROTOCOL section 7.

    `retry_after` is in seconds; `details` goes out as it is and must be JSON.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry: ClassVar[bool] = True

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, retry_after: float | None = None):
        super().__init__(message)
        self.message = message
        self.details = dict(details) if details else None
        self.retry_after = retry_after

    def payload(self) -> dict[str, Any]:
        """The fields that an `error` frame and a problem document share."""
        fields: dict[str, Any] = {"code": self.code, "message": self.message, "retry": self.retry}
        if self.retry_after is not None:
            fields["retry_after"] = self.retry_after
        if self.details is not None:
            fields["details"] = self.details
        return fields


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
