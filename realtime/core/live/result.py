"""What a query group holds, and what its subscribers have been told of it.

A result notes what it changes away from what was told, so that `changes` is the difference from one to the other,
however much lies between them: one batch, a throttled stretch, or a snapshot read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from realtime.core.mql.projection import Projection
from realtime.core.wire import protocol

Encode = Callable[[dict[str, Any]], bytes]
"""How a document is shown: through the projection, as Extended JSON."""


_DIGEST_BYTES = 16


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()


class Watch(Protocol):
    """Who wants to know which documents a result holds."""

    def hold(self, name: str) -> None:
        """It holds this one from now on."""

    def let_go(self, name: str) -> None:
        """It holds this one no longer."""


class Result(Protocol):
    """Documents by identity, in whatever way the query shows them."""

    watch: Watch | None

    @property
    def size(self) -> int:
        """Bytes that are held."""

    @property
    def documents(self) -> Mapping[str, bytes]:
        """What is held that is sent, encoded: documents, spares among them, or rows."""

    @property
    def count(self) -> int:
        """How many documents are held or counted in."""

    @property
    def pending(self) -> bool:
        """Whether what is held may differ from what was told."""

    @property
    def short(self) -> bool:
        """Whether what has to be shown is no longer known: it has to be read again."""

    def names(self) -> Collection[str]:
        """The documents that are held or counted in, by identity."""

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """The document matches and is this now."""

    def drop(self, name: str) -> None:
        """The document does not match, or is gone."""

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """Whether an update of these paths, which the filter does not read, may change anything here."""

    def loaded(self, count: int) -> None:
        """The snapshot of `count` documents has been put."""

    def changes(self) -> list[bytes]:
        """From what was told to what is held, by PROTOCOL 4.1; from now on that is what was told."""

    def told(self) -> Iterable[bytes]:
        """What was told, as a snapshot shows it: a window in its order."""

    def settle(self) -> None:
        """Nobody has been told anything: what is held is what they begin with."""

    def reload(self) -> None:
        """Forget what is held, not what was told: a snapshot is read anew."""


class Documents:
    """Every document that matches, in no order.

    `kept`: their bytes are held. Where they are not, a digest of each tells an update from nothing; what was told is
    not known then.
    """

    __slots__ = ("_fresh", "_projection", "_was", "documents", "size", "watch")

    short = False

    def __init__(self, projection: Projection) -> None:
        self.documents: dict[str, bytes] = {}
        self.size = 0
        self._fresh: dict[str, bytes] | None = None
        self.watch: Watch | None = None
        self._projection = projection
        self._was: dict[str, bytes | None] = {}

    @property
    def kept(self) -> bool:
        """Whether the documents' bytes are held."""
        return self._fresh is None

    @property
    def count(self) -> int:
        """Documents held."""
        return len(self.documents)

    @property
    def pending(self) -> bool:
        """Whether a change has not been told."""
        return bool(self._was)

    def names(self) -> Collection[str]:
        """Those held."""
        return self.documents

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """Hold the document as it is now."""
        self.hold(name, encode(document))

    def hold(self, name: str, encoded: bytes) -> None:
        """Hold what is shown of it."""
        now = encoded if self._fresh is None else _digest(encoded)
        held = self.documents.get(name)
        if held == now:
            return
        if held is None and self.watch is not None:
            self.watch.hold(name)
        self._note(name, held, now)
        self.size += len(now) - (len(held) if held is not None else 0)
        self.documents[name] = now
        if self._fresh is not None:
            self._fresh[name] = encoded

    def drop(self, name: str) -> None:
        """Hold it no longer."""
        held = self.documents.pop(name, None)
        if held is not None:
            self._note(name, held, None)
            self.size -= len(held)
            if self.watch is not None:
                self.watch.let_go(name)

    def _note(self, name: str, held: bytes | None, now: bytes | None) -> None:
        if self._was.setdefault(name, held) == now:
            del self._was[name]  # as it was told

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """What is shown of a held document."""
        return name in self.documents and self._projection.shows(touched)

    def loaded(self, count: int) -> None:
        """Everything that matches has been put."""

    def leaving(self) -> list[str]:
        """Those that the next moment lets go."""
        return [name for name in self._was if name not in self.documents]

    def changes(self) -> list[bytes]:
        """Leaves, then puts."""
        leaves, rest = [], []
        for name, was in self._was.items():
            now = self.documents.get(name)
            if now is None:
                leaves.append(protocol.change_entry("leave", name))
            else:
                encoded = now if self._fresh is None else self._fresh[name]
                rest.append(protocol.change_entry("enter" if was is None else "update", name, encoded))
        self._was.clear()
        if self._fresh is not None:
            self._fresh.clear()
        return leaves + rest

    def forget_bytes(self) -> None:
        """Keep no bytes from here on; nothing is pending."""
        self._fresh = {}
        self.documents = {name: _digest(encoded) for name, encoded in self.documents.items()}
        self.size = _DIGEST_BYTES * len(self.documents)

    def told(self) -> Collection[bytes]:
        """The documents as they were told."""
        if not self._was:
            return self.documents.values()
        told: dict[str, bytes | None] = {**self.documents, **self._was}
        return [encoded for encoded in told.values() if encoded is not None]

    def settle(self) -> None:
        """What is held is what was told."""
        self._was.clear()

    def reload(self) -> None:
        """Hold nothing."""
        for name in list(self.documents):
            self.drop(name)
