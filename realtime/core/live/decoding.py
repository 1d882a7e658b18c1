"""From a document of the change stream to its event: whole, or no more than what names it where nobody asks.

Of a collection that nobody asks for, what comes is kept for those who resume, and for who comes while it is in the
pipe. What it did is needed for that, and which document it concerns; its images are decoded when somebody looks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from bson.raw_bson import RawBSONDocument

from realtime.core.bson import stored
from realtime.core.live.events import ChangeEvent, name_event, parse_event
from realtime.core.live.fragments import Whole

Interest = Callable[[], Collection[str] | None]
"""The collections that anybody asks for; None: all."""

_LEAVES = frozenset({"insert", "update", "delete"})
"""What may be left undecoded. A replacement may give `_id` another type, which only its document says."""
_IMAGES = frozenset({"fullDocument", "fullDocumentBeforeChange", "updateDescription"})


class Decoder:
    """Of one database's change stream."""

    def __init__(self, database: str, interest: Interest | None = lambda: None) -> None:
        """`interest` None: of every event only what names it is decoded, and it keeps its document for others."""
        self._database = database
        self._keeps = interest is None
        self._interest: Interest = interest or frozenset
        self._asked: Collection[str] | None = None
        self._names: re.Pattern[bytes] | None = None

    def look(self) -> None:
        """Learn who asks for what, for the documents of one reply."""
        asked = self._interest()
        if asked != self._asked:
            self._asked = asked
            self._names = None if asked is None else _pattern(asked)

    def event(self, document: RawBSONDocument) -> ChangeEvent | None:
        """The event of a document that is no fragment."""
        raw = document.raw
        if self._keeps:
            return name_event(bytes(raw), _envelope(document), self._database)
        if self._names is not None and self._names.search(raw) is None and document["operationType"] in _LEAVES:
            return name_event(bytes(raw), _envelope(document), self._database)
        return parse_event(stored.decode(raw), self._database, len(raw))

    def put_together(self, whole: Whole) -> ChangeEvent | None:
        """The event of what came in fragments, or of a document that might have."""
        event = parse_event(whole.raw, self._database, whole.size)
        return event if event is None or not self._keeps else replace(event, raw=stored.encode(whole.raw))


def _pattern(names: Collection[str]) -> re.Pattern[bytes]:
    """What the bytes of a document have in them where it names one of these collections, and may have elsewhere too."""
    each = (struct.pack("<i", len(stored.utf8(name)) + 1) + stored.utf8(name) for name in sorted(names))
    # No name at all matches nothing.
    return re.compile(b"\x02coll\0(?:" + b"|".join(map(re.escape, each)) + b")\0" if names else b"(?!)")


def _envelope(document: RawBSONDocument) -> dict[str, Any]:
    return {name: _value(value) for name, value in document.items() if name not in _IMAGES}


def _value(value: Any) -> Any:
    return stored.decode(value.raw) if isinstance(value, RawBSONDocument) else value
