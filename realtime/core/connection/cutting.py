"""Frames for a connection that said how large a frame it takes: cut to that, or not to be had, and by whose fault.

Who said nothing, or takes what everybody is sent, is none of this module's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import orjson

from realtime.core.live.query import QueryGroup
from realtime.core.wire import protocol
from realtime.errors import InvalidRequestError, TooLargeError

LEAST_FRAME = 4096
"""Bytes: what the service has to say beside documents fits in."""
_NUMBER = re.compile(r"[0-9]{1,18}")


def parse_bound(given: Sequence[str]) -> int | None:
    """What `max_frame` in an address says, in bytes; None where it is not there. `InvalidRequestError`."""
    if not given:
        return None
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]) or int(given[0]) < LEAST_FRAME:
        raise InvalidRequestError(
            f"max_frame: once, the bytes of the largest frame that is taken, at least {LEAST_FRAME}",
            details={"field": "max_frame", "limit": LEAST_FRAME},
        )
    return int(given[0])


def moment(
    kind: Literal["changes", "events"], target: bytes, entries: list[bytes], position: str, usual: int, most: int | None
) -> Iterable[bytes]:
    """`protocol.moment_frames` of at most `most` bytes and `usual`. `TooLargeError`, at once, for one entry over it."""
    if most is None:
        return protocol.moment_frames(kind, target, entries, position, usual)
    frames = list(protocol.moment_frames(kind, target, entries, position, min(usual, most)))
    if max(map(len, frames)) > most:
        raise _too_large(max(entries, key=len), most, "key")
    return frames


def snapshot(subscription_id: str, group: QueryGroup, most: int | None) -> Iterator[bytes]:
    """`protocol.snapshot_frames` of what a group has told, each at most `most` bytes, made when they are asked for.

    `TooLargeError`, at once, for a document over it.
    """
    runs: Iterable[bytes]
    if most is None or most >= group.bounds.frame_bytes:
        runs = largest = group.runs()  # a longer one is a document by itself
    else:
        largest = list(group.result.told())
        runs = (b",".join(run) for run in protocol.split(largest, most))
    if most is not None:
        worst = max(largest, key=len, default=b"")
        if len(next(_frames(subscription_id, [worst], group))) > most:
            raise _too_large(worst, most, "_id")
    return _frames(subscription_id, runs, group)


def _frames(subscription_id: str, runs: Iterable[bytes], group: QueryGroup) -> Iterator[bytes]:
    shows_keys = group.query.shows_keys
    return protocol.snapshot_frames(subscription_id, runs, group.position, shows_keys=shows_keys)


def answer(frame: bytes, most: int | None) -> bytes:
    """A frame of no channel, or the error in its place where it is over `most`: a key alone may be."""
    if most is None or len(frame) <= most:
        return frame
    fields = orjson.loads(frame)
    if fields["type"] in {"error", "unsubscribed"}:
        return orjson.dumps({**fields, "message": fields["message"][:500], "details": {"limit": most}})
    error = TooLargeError(
        f"the answer has {len(frame)} bytes, and this connection takes {most} (max_frame): what was asked was done",
        details={"limit": most, "count": len(frame), "maybe_written": True},
    )
    return protocol.ErrorFrame.of(error, fields.get("id")).encode()


def _too_large(entry: bytes, most: int, key: Literal["key", "_id"]) -> TooLargeError:
    details: dict[str, Any] = {"limit": most, "count": len(entry)}
    fields = orjson.loads(entry)
    if key in fields:
        details["key"] = fields[key]
    return TooLargeError(
        f"{len(entry)} bytes in one entry, and this connection takes frames of {most} (max_frame): leave fields out by "
        "a projection, or take larger frames",
        details=details,
    )
