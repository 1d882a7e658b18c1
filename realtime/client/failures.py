"""Codes of PROTOCOL section 7 as the exceptions of `realtime.errors`, and which ends of a connection are final."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from realtime import errors
from realtime.errors import ServiceError


def _kinds(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for kind in base.__subclasses__():
        # Only the tree itself: an application may have subclasses of its own.
        if kind.__module__ == errors.__name__:
            yield kind
            yield from _kinds(kind)


TOLD = 600
"""Characters of what the service said before it closed, or in place of a handshake."""
_STATUS = "HTTP status"
BY_CODE: dict[str, type[ServiceError]] = {kind.code: kind for kind in _kinds(ServiceError)}


class UnknownCodeError(ServiceError):
    """An error of a newer service; `code` and `retry` are what it said."""

    def __init__(self, code: str, message: str, *, retry: bool, **more: Any) -> None:
        super().__init__(message, **more)
        self.code = code  # type: ignore[misc]  # reason: of the class everywhere else; here the service decides
        self.retry = retry  # type: ignore[misc]  # reason: as above


def failure(frame: Mapping[str, Any]) -> ServiceError:
    """The exception that an `error` frame, or an `unsubscribed` frame with a code, stands for."""
    code, message = str(frame.get("code", "internal")), str(frame.get("message", ""))
    more: dict[str, Any] = {"details": frame.get("details"), "retry_after": frame.get("retry_after")}
    kind = BY_CODE.get(code)
    if kind is None:
        return UnknownCodeError(code, message, retry=bool(frame.get("retry")), **more)
    return kind(message, **more)


CLOSE_UNAUTHENTICATED = 4501
FINAL: dict[int, tuple[type[ServiceError], str]] = {
    1007: (errors.MalformedFrameError, "the service could not read a frame of this client"),
    1009: (errors.TooLargeError, "a frame was too large: write large documents over HTTP"),
    4500: (errors.InvalidRequestError, "this client broke the protocol: is it older than the service?"),
    CLOSE_UNAUTHENTICATED: (
        errors.UnauthenticatedError,
        "the service does not accept this token: give a valid one to connect(token=…)",
    ),
    4503: (errors.ForbiddenError, "the service refuses this client: see its log for the reason"),
    4504: (errors.ForbiddenError, "this client's access was revoked"),
}
ABOUT_TOKENS = frozenset({CLOSE_UNAUTHENTICATED, 4503, 4504})
"""Close codes by which the service refuses who asks: another token may be taken."""
_WANTED = "the service wants a token: give one to connect(token=…)"
REFUSED: dict[int, tuple[type[ServiceError], str]] = {
    401: (errors.UnauthenticatedError, _WANTED),
    403: (errors.ForbiddenError, "the service refuses this host name or origin: see its --allowed-hosts"),
    404: (errors.NotFoundError, "there is no service at this address: check its path prefix"),
}
"""Answers to the handshake that another try does not change."""


def final_close(code: int, reason: str, told: str = "", *, token: bool = True) -> ServiceError | None:
    """Why there is no use in reconnecting after this close code; None where there is.

    `told`: by an `error` before; `token`: whether one was sent.
    """
    kind, text = FINAL.get(code, (errors.ForbiddenError, "the service ended this connection for good"))
    if code == CLOSE_UNAUTHENTICATED and not token:
        text = _WANTED
    if code in FINAL or 4500 <= code <= 4999:
        return kind(f"closed with {code} {reason}".strip() + f": {text}" + (f" ({told})" if told else ""))
    return None


def refused_handshake(status: int, address: str) -> ServiceError | None:
    """Why there is no use in asking again after this HTTP status; None where there is."""
    if status not in REFUSED:
        return None
    kind, text = REFUSED[status]
    return kind(f"{address} answered {status}: {text}")


def answered(status: int, body: bytes | bytearray | None) -> str:
    """A refused handshake in words: its status, and those of a problem document, where its body is one."""
    try:
        problem = json.loads(body or b"")
    except (ValueError, RecursionError):
        problem = None
    words = problem.get("detail") if isinstance(problem, dict) else None
    return f"{_STATUS} {status}" + (f": {words[:TOLD]}" if isinstance(words, str) and words else "")


def nobody(address: str, reason: str) -> ServiceError:
    """No connection came about in time; where somebody answered they are there, and have said why."""
    if reason.startswith(_STATUS):
        return errors.UnavailableError(f"no service at {address} for now ({reason})")
    return errors.UnavailableError(f"no service answers at {address} ({reason}): is `realtime serve` running there?")


def untrusted(address: str, reason: str) -> ServiceError:
    """The certificate is not one that this machine trusts, which another try does not change."""
    return errors.UnavailableError(
        f"the certificate at {address} is not trusted ({reason}): let SSL_CERT_FILE name a file with your own "
        "authority's certificate, or connect by the host name that the certificate is for"
    )


def asked_for(token: str | None) -> ServiceError:
    """The service knows nobody on this connection, which was made with this token, or without one."""
    if token is None:
        return errors.UnauthenticatedError(_WANTED)
    return errors.UnauthenticatedError(
        "the service got no token, though one was sent: a proxy, or a redirect to another host, took it away"
    )
