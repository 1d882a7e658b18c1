"""What a stream is of: its names in NATS, and what stands in its metadata, so that nobody follows another one's."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from realtime.core.relay.message import FORMAT, quoted

_PLAIN = frozenset((string.ascii_letters + string.digits + "-").encode())
"""What may stand in the name of a stream, in one word of a subject and in the name of a bucket; "_" is our mark."""
_PREFIX = "realtime-"
_FORMAT, _EPOCH, _DATABASE = f"{_PREFIX}format", f"{_PREFIX}epoch", f"{_PREFIX}database"
_REPLICA_SET, _COLLECTIONS, _IMAGES = f"{_PREFIX}replica-set", f"{_PREFIX}collections", f"{_PREFIX}images"
_SAID = {
    _FORMAT: "format",
    _EPOCH: "epoch",
    _DATABASE: "database",
    _REPLICA_SET: "replica set",
    _COLLECTIONS: "collections",
    _IMAGES: "images",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Of one relay's stream: one database of one replica set in one epoch.

    `collections`: those whose events are in it; None: all. `images`: whether a relay completes any.
    """

    epoch: str
    database: str
    replica_set: str
    collections: frozenset[str] | None = None
    images: bool = True

    @property
    def stream(self) -> str:
        """The stream's name: another format or epoch has another stream."""
        return f"realtime-{FORMAT}-{self.epoch}-{self._quoted}"

    @property
    def subject(self) -> str:
        """What is published to, and all that the stream takes."""
        return f"realtime.{FORMAT}.{self.epoch}.{self._quoted}"

    @property
    def needs(self) -> str:
        """The bucket in which nodes say of which collections they need images."""
        return f"{self.stream}-needs"

    @property
    def lease(self) -> str:
        """The bucket in which relays say who of them publishes."""
        return f"{self.stream}-lease"

    @property
    def _quoted(self) -> str:
        return quoted(self.database, _PLAIN, "_")

    @property
    def metadata(self) -> dict[str, str]:
        """What stands in the stream's metadata."""
        return {
            _FORMAT: str(FORMAT),
            _EPOCH: self.epoch,
            _DATABASE: json.dumps(self.database),
            _REPLICA_SET: json.dumps(self.replica_set),
            _COLLECTIONS: json.dumps(None if self.collections is None else sorted(self.collections)),
            _IMAGES: json.dumps(self.images),
        }

    def differs(self, metadata: Mapping[str, str] | None) -> str | None:
        """For a relay: in what a stream's metadata is not that of this identity; None where it is."""
        return self._other(metadata, self.metadata)

    def refuses(self, metadata: Mapping[str, str] | None) -> str | None:
        """For a node that serves `collections`: why it cannot follow a stream with this metadata; None: it can.

        A stream may have more collections than the node serves, and images or not.
        """
        ours = self.metadata
        lacking = self._lacking((metadata or {}).get(_COLLECTIONS, ""))
        other = self._other(metadata, [name for name in ours if name not in {_COLLECTIONS, _IMAGES}])
        if other is None and lacking:
            return (
                f"the stream {self.stream} lacks {lacking}: give the relay the same collections, or serve those alone"
            )
        return other

    def _other(self, metadata: Mapping[str, str] | None, names: Iterable[str]) -> str | None:
        ours, theirs = self.metadata, metadata or {}
        wrong = [name for name in names if theirs.get(name) != ours[name]]
        if not wrong:
            return None
        said = "; ".join(
            f"its {_SAID[name]} is {theirs.get(name, 'not said')[:200]}, here {ours[name]}" for name in wrong
        )
        return f"the stream {self.stream} is another one's: {said}"

    def _lacking(self, text: str) -> str:
        """The collections that are served here and are not among those of the metadata, as text."""
        try:
            theirs = json.loads(text or "[]")
        except ValueError:
            theirs = []
        if theirs is None:
            return ""
        if self.collections is None:
            return "all collections but its own"
        held = {name for name in theirs if isinstance(name, str)} if isinstance(theirs, list) else set()
        return ", ".join(sorted(self.collections - held))
