"""What somebody sees by sets that rules take from other collections, for a request: read with what is asked for.

The sets and the documents are of one time, so an answer is what its reader may have at its position.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from realtime.core.mql.membership import Members
from realtime.core.mql.vision import Vision
from realtime.errors import UnavailableError
from realtime.ports import VoidReadError

log = logging.getLogger("realtime.access")

TRIES = 3
RETRY_AFTER_SECONDS = 1.0
MOST_SAID = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen; `at`: as of this cluster time, at which the documents are to be read; None: at any."""

    vision: Vision
    at: int | None = None


def void() -> UnavailableError:
    """What is answered where a time that was just now can be read no more."""
    return UnavailableError("MongoDB cannot read at the time of the rules: ask again", retry_after=RETRY_AFTER_SECONDS)


async def filled(vision: Vision, reader: Any) -> Seen:
    """What is seen, with its sets read by this `realtime.mongo.snapshot.MongoReader`. Raises `ServiceError` only."""
    for _ in range(TRIES):
        time: int | None = None
        found: dict[bytes, Sequence[Any] | None] = {}
        try:
            for asked in vision.sets:
                snapshot = await reader.members(asked, time)
                time = snapshot.time
                found[asked.key] = _values(asked, snapshot.documents)
        except VoidReadError:
            continue
        return Seen(vision.filled(found), time)
    raise void()


_said: dict[bytes, None] = {}


def _values(asked: Members, documents: Sequence[Any]) -> Sequence[Any] | None:
    values = asked.values(documents)
    if values is not None:
        _said.pop(asked.key, None)
    elif asked.key not in _said:
        # Once, for whoever asks again and again must not fill the log.
        if len(_said) >= MOST_SAID:
            _said.clear()
        _said[asked.key] = None
        log.warning(
            "a set that rules take from %s has more than %d values or documents: what asks for it is false (%s)",
            asked.collection,
            asked.most,
            asked.selection,
        )
    return values
