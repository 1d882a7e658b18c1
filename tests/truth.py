"""What was acknowledged, and what every document was by that: the checker's own memory, without `realtime`."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
View = dict[str, Document]
CATALOGUE = ("drop", "rename", "dropDatabase")


def name_of(key: Any) -> str:
    """A key's text."""
    return json.dumps(key)


def time_of(position: str) -> int:
    """The cluster time of a position."""
    return int(position[9:], 16)


@dataclass(frozen=True, slots=True)
class Write:
    """One acknowledged change of one document (`document`: after it), or of a collection. Values are JSON values."""

    time: int
    collection: str
    op: str
    key: Any = None
    document: Document | None = None
    transaction: str | None = None
    to: str | None = None


class Truth:
    """Every state of every document by the acknowledged writes."""

    def __init__(self, writes: Iterable[Write], initial: Mapping[str, View] | None = None) -> None:
        self.writes = sorted(writes, key=lambda write: write.time)
        self._states: dict[str, dict[str, tuple[list[int], list[Document | None]]]] = {}
        self._now: dict[str, View] = {}
        self._touches: dict[str, list[tuple[int, str, str | None]]] = {}
        for collection, view in (initial or {}).items():
            for name, document in view.items():
                self._set(collection, name, 0, document)
        for write in self.writes:
            self._take(write)

    def _take(self, write: Write) -> None:
        touches = self._touches.setdefault(write.collection, [])
        if write.op not in CATALOGUE:
            name = name_of(write.key)
            self._set(write.collection, name, write.time, write.document)
            touches.append((write.time, name, write.transaction))
            return
        gone = dict(self._now.get(write.collection, {}))
        moves = [(write.collection, name, None) for name in gone]
        if write.to is not None:
            moves += [(write.to, name, None) for name in self._now.get(write.to, {}) if name not in gone]
            moves += [(write.to, name, document) for name, document in gone.items()]  # type: ignore[misc]  # reason: its default binds it now
        for collection, name, document in moves:
            self._set(collection, name, write.time, document)
            self._touches.setdefault(collection, []).append((write.time, name, None))

    def _set(self, collection: str, name: str, time: int, document: Document | None) -> None:
        times, documents = self._states.setdefault(collection, {}).setdefault(name, ([], []))
        times.append(time)
        documents.append(document)
        now = self._now.setdefault(collection, {})
        if document is None:
            now.pop(name, None)
        else:
            now[name] = document

    def state(self, collection: str, name: str, time: int) -> Document | None:
        """A document at a time."""
        times, documents = self._states.get(collection, {}).get(name, ((), ()))
        index = bisect_right(times, time)
        return documents[index - 1] if index else None

    def states(self, collection: str, name: str, time: int) -> list[Document | None]:
        """Everything a document became at this very time: a transaction may change it more than once."""
        times, documents = self._states.get(collection, {}).get(name, ((), ()))
        return list(documents[bisect_left(times, time) : bisect_right(times, time)])

    def gone_after(self, collection: str, name: str, time: int) -> bool:
        """Whether a document was ever gone at or after a time."""
        times, documents = self._states.get(collection, {}).get(name, ((), ()))
        return any(document is None for document in documents[bisect_left(times, time) :])

    def at(self, collection: str, time: int) -> View:
        """A collection at a time."""
        found = {name: self.state(collection, name, time) for name in self._states.get(collection, {})}
        return {name: document for name, document in found.items() if document is not None}

    def replaced(self, collection: str, after: int, until: int) -> bool:
        """Whether a collection was dropped, renamed or renamed onto between two times, or all of them dropped."""
        return any(
            after < write.time <= until
            and write.op in CATALOGUE
            and (collection in {write.collection, write.to} or write.op == "dropDatabase")
            for write in self.writes
        )

    def touches(self, collection: str, after: int, until: int) -> list[tuple[int, str, str | None]]:
        """Time, key and transaction of what changed after one time and up to another."""
        touches = self._touches.get(collection, [])
        first = bisect_right(touches, after, key=lambda touch: touch[0])
        return touches[first : bisect_right(touches, until, key=lambda touch: touch[0])]
