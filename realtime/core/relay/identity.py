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
class Refusal:
    """Why a stream is not taken, and what is to be done about it; as text both."""

    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.why}: {self.mend}"


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

    @property
    def absent(self) -> str:
        """That there is no such stream, for a node: database and epoch are in its name, so others' are not seen."""
        return (
            f"NATS has no stream {self.stream}: start a relay of this database (realtime relay --nats …), or is "
            "--database or REALTIME_EPOCH another one than the relay's?"
        )

    def differs(self, metadata: Mapping[str, str] | None) -> Refusal | None:
        """For a relay: in what a stream's metadata is not that of this identity; None where it is."""
        anew = f"give this relay what the stream has, or remove it (nats stream rm {self.stream}) to have it made anew"
        return self._other(metadata, self.metadata, anew)

    def refuses(self, metadata: Mapping[str, str] | None) -> Refusal | None:
        """For a node that serves `collections`: why it cannot follow a stream with this metadata; None: it can.

        A stream may have more collections than the node serves, and images or not.
        """
        ours = self.metadata
        lacking = self._lacking((metadata or {}).get(_COLLECTIONS, ""))
        names = [name for name in ours if name not in {_COLLECTIONS, _IMAGES}]
        other = self._other(metadata, names, "let relay and nodes have the same MongoDB and epoch (REALTIME_EPOCH)")
        if other is None and lacking:
            mend = "give the relay the same collections (REALTIME_COLLECTIONS), or serve those alone"
            return Refusal(f"the stream {self.stream} lacks {lacking}", mend)
        return other

    def _other(self, metadata: Mapping[str, str] | None, names: Iterable[str], mend: str) -> Refusal | None:
        ours, theirs = self.metadata, metadata or {}
        wrong = [name for name in names if theirs.get(name) != ours[name]]
        if not wrong:
            return None
        said = "; ".join(
            f"its {_SAID[name]} is {_worded(theirs.get(name))[:200]}, here {_worded(ours[name])}" for name in wrong
        )
        return Refusal(f"the stream {self.stream} is another one's: {said}", mend)

    def _lacking(self, text: str) -> str:
        """The collections that are served here and are not among those of the metadata, as text."""
        try:
            theirs = json.loads(text or "[]")
        except ValueError:
            theirs = []
        if theirs is None:
            return ""
        if self.collections is None:
            return f"all collections but its own ({_worded(text)[:200]})"
        held = {name for name in theirs if isinstance(name, str)} if isinstance(theirs, list) else set()
        return ", ".join(sorted(self.collections - held))


def _worded(text: str | None) -> str:
    """A value of the metadata for people."""
    if not text:
        return "not said"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if value is None:
        return "all"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else text
