"""Exceptions of ours: each is logged under a reference, counted by the wall that held it, and told by its reference.

One that is raised while a single connection is handed a frame ends that connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from realtime import metrics
from realtime.core.connection.outbox import Claim
from realtime.errors import InternalError
from realtime.ports import Sink

log = logging.getLogger("realtime.bugs")

CLOSE_INTERNAL = 1011
"""As RFC 6455 has it: the server met what it did not expect. Clients connect again."""


def bug(wall: str, error: Exception, what: str | None = None) -> InternalError:
    """Log an exception of ours under a reference, and count it at its wall; the error that tells the reference.

    `what` failed, where that says more than the wall.
    """
    reference = metrics.reference()
    metrics.BUGS.labels(wall).inc()
    log.error("%s failed, reference %s", what or wall, reference, exc_info=error, extra={"reference": reference})
    return InternalError(f"a bug; it is logged under {reference}")


def act(action: Callable[[], None]) -> None:
    """Call what waited for something; what it raises concerns nobody else who waited."""
    try:
        action()
    except Exception as error:
        bug("action", error)


def tell(sink: Sink, frame: bytes, claim: Claim | None = None) -> None:
    """Hand a frame to one connection; what goes wrong there ends that connection alone."""
    try:
        sink.send(frame, claim)
    except Exception as error:
        break_off(sink, error)


def break_off(sink: Sink, error: Exception) -> None:
    """A connection has missed a frame, so it must not be told the next one: it is closed, and comes again."""
    bug("connection", error)
    try:
        sink.close(CLOSE_INTERNAL, "internal")
    except Exception as worse:
        bug("connection", worse)
