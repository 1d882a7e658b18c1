"""One event as somebody may be told of it: both images are judged, and what is not known is not told.

A share that has a condition sees an image only where that is known: the image itself, or a later one since which
nothing touched what the condition reads. An event of which nothing that is shown changed is none: whether it happened
hangs on what is hidden. So does whether a later image is that of the event, so none is compared with the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import bson

from realtime.core.bson.stored import CODEC
from realtime.core.live.events import ChangeEvent
from realtime.core.mql.filters import stem
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import Share, Vision
from realtime.core.wire.reserved_names import reserved
from realtime.errors import ServiceError

Shares = tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class After:
    """The document of an event as it was at `time`, at the event or later; None: it was gone, or cannot be had.

    `since`: the paths that later events touched until then; None: it may be another document.
    """

    time: int
    document: dict[str, Any] | None
    since: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """What may be told of an event that may be told: the images cut, the paths that an update set and unset.

    `before` None: it is not known, or not seen. `paths` None: what changed is not to be told, only what is there now.
    """

    document: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    paths: tuple[tuple[str, ...], tuple[str, ...]] | None = None


def judge(event: ChangeEvent, vision: Vision, after: After, earlier: Vision | None = None) -> Told | None:
    """What may be told of an event of a document; None: that it happened is not. `after` is of no use to a delete.

    `earlier`: what is seen of the image before, where that is less than of the one after.
    """
    first = vision if earlier is None else earlier
    if event.op == "delete":
        return _departed(event, first)
    seeing = _seeing_after(vision, after)
    document = None if after.document is None else _shown(vision, after.document)
    if not seeing or (after.document is not None and document is None):
        return None
    if event.op == "insert":
        return Told(document)
    seen = _seeing_before(event, vision, seeing)
    if event.before is not None and not seen:
        return Told(document)
    before = None if event.before is None else _shown(vision, event.before)
    if event.before is not None and event.document is not None:
        if _encoded(before) == _encoded(document):
            return None
    elif not _certainly_changed(event, seeing):
        return None
    if earlier is not None:
        before = None if event.before is None else _shown(earlier, event.before)
        seen = _seeing_before(event, earlier, _seeing_after(earlier, after))
    if event.op != "update" or not seen:
        return Told(document, before)
    return Told(document, before, (_named(event.updated, seeing, seen), _named(event.removed, seeing, seen)))


def told_name(event: ChangeEvent, sight: Sight) -> ChangeEvent | None:
    """A `drop`, `rename` or `dropDatabase` with the names that may be read; None: there are none.

    Where one of two names is hidden, what had the other one is gone from where it was: that is a `drop`.
    """
    if event.op == "dropDatabase":
        return event
    here, there = _tells(sight, event.collection), _tells(sight, event.to)
    if event.op == "rename" and here != there:
        name = event.collection if here else event.to
        return replace(event, op="drop", collection=name or "", to=None)
    return event if here else None


def _tells(sight: Sight, name: str | None) -> bool:
    # A name of another database, or of MongoDB's own on the way to another, is nobody's.
    return name is not None and name != "" and not reserved(name) and sight.tells(name)


def _departed(event: ChangeEvent, vision: Vision) -> Told | None:
    if event.before is None:
        return Told() if vision.every_row else None
    before = _shown(vision, event.before)
    return None if before is None else Told(before=before)


def _seeing_after(vision: Vision, after: After) -> Shares:
    """The shares that certainly see the document right after the event."""
    return tuple(share for share in vision.shares if _sees_after(share, after))


def _sees_after(share: Share, after: After) -> bool:
    if after.document is None:
        return share.every_row
    if not _sees(share, after.document):
        return False
    return share.every_row or (after.since is not None and not share.filter.reads(after.since))


def _seeing_before(event: ChangeEvent, vision: Vision, seeing: Shares) -> Shares:
    """The shares that certainly saw the document right before the event."""
    before = event.before
    if before is not None:
        return tuple(share for share in vision.shares if _sees(share, before))
    if event.op == "replace":
        return tuple(share for share in seeing if share.every_row)
    touched = frozenset((*event.updated, *event.removed))
    return tuple(share for share in seeing if share.every_row or not share.filter.reads(touched))


def _certainly_changed(event: ChangeEvent, seeing: Shares) -> bool:
    """Whether something changed that is shown, whatever was there before.

    An update names only what is another value now. What is partly hidden may have changed in that part.
    """
    if any(share.cut.whole for share in seeing):
        return True
    return event.op == "update" and any(_shows(seeing, path) for path in (*event.updated, *event.removed))


def _named(paths: Iterable[str], seeing: Shares, seen: Shares) -> tuple[str, ...]:
    return tuple(path for path in paths if _shows(seeing, path) and _shows(seen, path))


def _shows(shares: Shares, path: str) -> bool:
    """Whether one of them shows all of the path. A number in it may be an element or a name: by either reading."""
    return any(share.cut.shows(path) and share.cut.shows(stem(path)) for share in shares)


def _sees(share: Share, document: dict[str, Any]) -> bool:
    try:
        return share.filter.matches(document)
    except ServiceError:
        return False  # its expression has no value of the document, and what it would say of that is nobody's


def _shown(vision: Vision, document: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return vision.shown(document)
    except ServiceError:
        return None


def _encoded(document: dict[str, Any] | None) -> bytes:
    return bson.encode(document or {}, codec_options=CODEC)
