"""A completed batch as a message: headers that are small and bounded, and documents of BSON in a payload of parts.

The payload, all parts of a message put together, integers little-endian:

    4 bytes   how many change stream documents; those documents, each of which begins with its own length
    4 bytes   how many collections; for each of them:
        2 bytes   how many bytes its name has; the name, as MongoDB stores it
        1 byte    flags: 1, its images are not complete; 2, images follow
        4 bytes   with flag 2 alone: how many images; those documents

All headers stand on every part, so that whoever reads one part knows what it is of. None has MongoDB's resume token:
the time says where to go on. Nothing that comes from a stream is believed: what is not exactly as `pack` makes it is a
`FormatError`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from realtime.core.bson.stored import text_of, utf8
from realtime.core.live.stepping import EVERY
from realtime.core.upstream.health import Instant

FORMAT: Final = 1
PART_BYTES: Final = 768 * 1024
"""Of one part, headers and payload together: a NATS server takes 1 MiB unless it is told otherwise."""
MESSAGE_BYTES: Final = 128 * 1024 * 1024
"""Of the payload of one message: twice what the feed holds of one moment. JetStream takes 1,000 parts at once."""
NAMES_CHARACTERS: Final = 2048
"""Of the names in one header; where there are more of them, it says so and the payload has them."""
MANY: Final = "*"
"""In place of names: any collection may be inside."""

_FORMAT, _EPOCH, _TIME = "Realtime-Format", "Realtime-Epoch", "Realtime-Time"
_COLLECTIONS, _VOID, _LOST = "Realtime-Collections", "Realtime-Void", "Realtime-Lost"
_PART, _CLOCK = "Realtime-Part", "Realtime-Clock"
_HEADER_OVERHEAD = 16
"""Of each header beside its characters, and of all together: separators, ends of lines, the version line."""
_LEAST_DOCUMENT = 5
_IS_VOID, _HAS_IMAGES = 1, 2
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_EPOCH_TEXT, _TIME_TEXT = re.compile(r"[0-9A-F]{8}"), re.compile(r"[0-9A-F]{16}")
_CLOCK_TEXT = re.compile(r"([0-9A-F]{16})(?:-([0-9A-F]{16}))?")
_PART_TEXT = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
_NAME_TEXT = re.compile(r"(?:[A-Za-z0-9_.-]|%[0-9A-F]{2})+")


class FormatError(Exception):
    """What came from a stream is not a message of ours; the text names the mend where there is one."""


class TooLargeError(Exception):
    """A batch has more bytes than a message may have: its moment is lost."""


@dataclass(frozen=True, slots=True)
class Message:
    """One completed batch: everything up to `time`, images at `time`.

    `events`: documents of the change stream as BSON, in order. `images`: by collection, whole documents exactly at
    `time`: where a collection is named here and not in `void`, whatever the batch left unsaid of its documents was
    read, and what is not among them was not there. `void`: collections whose images were not completed. `collections`:
    all that are named inside, `EVERY` where it may be any. `lost`: a moment at or before `time` could not be kept.
    `clock`: how MongoDB's clock and oplog stood just before, where it is said.
    """

    time: int
    events: tuple[bytes, ...] = ()
    images: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    collections: frozenset[str] = frozenset()
    void: frozenset[str] = frozenset()
    lost: bool = False
    clock: Instant | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What is published as one message of JetStream."""

    headers: dict[str, str]
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes of headers and payload together, a few more than there are."""
        return _size(self.headers) + len(self.payload)


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a part say. `collections` and `void` are None where there are too many for a header."""

    epoch: str
    time: int
    collections: frozenset[str] | None
    void: frozenset[str] | None
    lost: bool
    part: int
    parts: int
    clock: Instant | None = None

    def may_name(self, names: Collection[str]) -> bool:
        """Whether something about one of these collections may be inside; what concerns all is named `EVERY`."""
        return self.collections is None or EVERY in self.collections or not self.collections.isdisjoint(names)


# ---------------------------------------------------------------------------------------------------------------- pack


def pack(message: Message, epoch: str) -> list[Part]:
    """A message as one part, or as several of at most `PART_BYTES`; `TooLargeError` over `MESSAGE_BYTES`."""
    payload = b"".join(_payload(message))
    if len(payload) > MESSAGE_BYTES:
        raise TooLargeError(f"a batch of {len(payload)} bytes, {MESSAGE_BYTES} are allowed")
    headers = _headers(message, epoch)
    room = PART_BYTES - _size(headers | {_PART: "9999/9999"})
    cuts = range(0, max(1, len(payload)), room)
    return [
        Part({**headers, _PART: f"{number}/{len(cuts)}"}, payload[start : start + room])
        for number, start in enumerate(cuts, 1)
    ]


def _payload(message: Message) -> Iterator[bytes]:
    yield struct.pack("<I", len(message.events))
    yield from message.events
    names = sorted(named(message), key=utf8)
    yield struct.pack("<I", len(names))
    for name in names:
        encoded, images = utf8(name), message.images.get(name)
        flags = (_IS_VOID if name in message.void else 0) | (0 if images is None else _HAS_IMAGES)
        yield struct.pack("<H", len(encoded)) + encoded + bytes((flags,))
        if images is not None:
            yield struct.pack("<I", len(images))
            yield from images


def named(message: Message) -> frozenset[str]:
    """Every collection that a message names anywhere."""
    return message.collections | message.void | frozenset(message.images)


def _headers(message: Message, epoch: str) -> dict[str, str]:
    headers = {_FORMAT: str(FORMAT), _EPOCH: epoch, _TIME: f"{message.time:016X}"}
    if names := _names(named(message)):
        headers[_COLLECTIONS] = names
    if void := _names(message.void):
        headers[_VOID] = void
    if message.lost:
        headers[_LOST] = "1"
    if (clock := message.clock) is not None:
        headers[_CLOCK] = f"{clock.time:016X}" + ("" if clock.oldest is None else f"-{clock.oldest:016X}")
    return headers


def _names(names: Iterable[str]) -> str:
    """Names as a header has them: what could end a line, a name or a header is written by its bytes."""
    text = ",".join(sorted(quoted(name) for name in names))
    return text if len(text) <= NAMES_CHARACTERS else MANY


def quoted(name: str, plain: Collection[int] = _PLAIN, mark: str = "%") -> str:
    """A name of letters, digits and a few signs that no other name has; the rest by its bytes, each after `mark`."""
    return "".join(chr(byte) if byte in plain else f"{mark}{byte:02X}" for byte in utf8(name))


def _size(headers: Mapping[str, str]) -> int:
    return _HEADER_OVERHEAD + sum(len(name) + len(value) + _HEADER_OVERHEAD for name, value in headers.items())


# ---------------------------------------------------------------------------------------------------------------- peek


def peek(headers: Mapping[str, str] | None) -> Head:
    """What the headers of a part say, without its payload. `FormatError` where they are none of ours."""
    headers = headers or {}
    version = headers.get(_FORMAT, "")
    if version != str(FORMAT):
        raise FormatError(_other_version(version))
    part, parts = _part(headers.get(_PART, ""))
    lost = headers.get(_LOST, "")
    if lost not in {"", "1"}:
        raise FormatError(f"the header {_LOST} is none of a relay's")
    return Head(
        epoch=_matching(_EPOCH_TEXT, _EPOCH, headers),
        time=int(_matching(_TIME_TEXT, _TIME, headers), 16),
        collections=_named(headers, _COLLECTIONS),
        void=_named(headers, _VOID),
        lost=bool(lost),
        part=part,
        parts=parts,
        clock=_clock(headers.get(_CLOCK, "")),
    )


def _clock(text: str) -> Instant | None:
    if not text:
        return None
    match = _CLOCK_TEXT.fullmatch(text)
    if match is None:
        raise FormatError(f"the header {_CLOCK} is none of a relay's")
    return Instant(int(match[1], 16), None if match[2] is None else int(match[2], 16))


def _other_version(version: str) -> str:
    if not version:
        return "a message that no relay of this service made: nothing else may publish here; see who is let to"
    return f"a message of format {version[:20]!r}, and this version reads {FORMAT}: upgrade nodes before relays"


def _matching(pattern: re.Pattern[str], name: str, headers: Mapping[str, str]) -> str:
    value = headers.get(name, "")
    if pattern.fullmatch(value) is None:
        raise FormatError(f"the header {name} is none of a relay's")
    return value


def _part(text: str) -> tuple[int, int]:
    match = _PART_TEXT.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise FormatError(f"the header {_PART} is none of a relay's")
    return int(match[1]), int(match[2])


def _named(headers: Mapping[str, str], name: str) -> frozenset[str] | None:
    text = headers.get(name, "")
    if text in {"", MANY}:
        return frozenset() if not text else None
    names = text.split(",") if len(text) <= NAMES_CHARACTERS else [""]
    if not all(map(_NAME_TEXT.fullmatch, names)):
        raise FormatError(f"the header {name} is none of a relay's")
    return frozenset(map(_unquoted, names))


def _unquoted(text: str) -> str:
    encoded = re.sub("%(..)", lambda match: chr(int(match[1], 16)), text).encode("latin-1")
    return _name(encoded)


def _name(encoded: bytes) -> str:
    return text_of(encoded.decode("utf-8", "surrogateescape"))


# -------------------------------------------------------------------------------------------------------------- gather


class Gatherer:
    """Parts in the order of the stream to messages; what of a message is there is at most `MESSAGE_BYTES`.

    `skipped` counts parts of messages that are not whole: whose beginning is no longer there, or whose end never came.
    JetStream stores parts one after the other, and a server that was killed between two of them keeps those it had; a
    relay then tells all of it again, from the last message that is whole.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._head: Head | None = None
        self._sequence = 0
        self._payloads: list[bytes] = []
        self._size = 0

    @property
    def amid(self) -> bool:
        """Whether a message has begun whose end has still to come."""
        return self._head is not None

    def reset(self) -> None:
        """Forget what has come of a message: the stream is read again from elsewhere."""
        self._head, self._payloads, self._size = None, [], 0

    def add(self, sequence: int, headers: Mapping[str, str] | None, payload: bytes) -> Message | None:
        """Take the next part; the message that it completes. `FormatError`, and what had begun is forgotten."""
        begun = self._head
        try:
            head = peek(headers)
            if head.part == 1:
                self.skipped += len(self._payloads)
                self.reset()
            elif begun is None:
                self.skipped += 1
                return None
            else:
                self._follows(begun, head, sequence)
            self._keep(payload)
            self._head, self._sequence = head, sequence
            return self._whole(head) if head.part == head.parts else None
        except FormatError:
            self.reset()
            raise

    def _follows(self, begun: Head, head: Head, sequence: int) -> None:
        """That this is the next part of what has begun, and there where it belongs."""
        of_one = (begun.epoch, begun.time, begun.parts, begun.lost) == (head.epoch, head.time, head.parts, head.lost)
        if not of_one or head.part != begun.part + 1 or sequence != self._sequence + 1:
            raise FormatError(
                f"part {head.part} of {head.parts} at {sequence} came after part {begun.part} of {begun.parts} "
                f"at {self._sequence}"
            )

    def _keep(self, payload: bytes) -> None:
        self._size += len(payload)
        if self._size > MESSAGE_BYTES:
            raise FormatError(f"a message of more than {MESSAGE_BYTES} bytes")
        self._payloads.append(payload)

    def _whole(self, head: Head) -> Message:
        reader = _Reader(b"".join(self._payloads))
        self.reset()
        events = reader.documents()
        collections, void, images = reader.collections()
        reader.end()
        if head.collections is not None and head.collections != collections:
            raise FormatError("headers and payload name other collections")
        return Message(head.time, events, images, collections, void, head.lost, head.clock)


class _Reader:
    """A payload, read from its beginning to its end; each length is held to what is there."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._payload[self._at : self._at + size]
        if len(taken) < size:
            raise FormatError(f"a payload of {len(self._payload)} bytes ends amid what it says it has")
        self._at += size
        return taken

    def number(self, code: str) -> int:
        (number,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(number)

    def documents(self) -> tuple[bytes, ...]:
        # No list is made for a number that the payload only claims: it ends where the payload does.
        return tuple(self.document() for _ in range(self.number("I")))

    def document(self) -> bytes:
        size = int.from_bytes(self._payload[self._at : self._at + 4], "little", signed=True)
        if size < _LEAST_DOCUMENT:
            raise FormatError(f"a document of {size} bytes at {self._at} of a payload")
        document = self.take(size)
        if document[-1]:
            raise FormatError(f"a document at {self._at - size} of a payload is not ended")
        return document

    def collections(self) -> tuple[frozenset[str], frozenset[str], dict[str, tuple[bytes, ...]]]:
        """All that are named, those without all of their images, and images."""
        names: set[str] = set()
        void: set[str] = set()
        images: dict[str, tuple[bytes, ...]] = {}
        for number in range(1, self.number("I") + 1):
            name = _name(self.take(self.number("H")))
            flags = self.number("B")
            names.add(name)
            if len(names) < number or flags > _IS_VOID | _HAS_IMAGES:
                raise FormatError("a collection is named twice in a payload, or with flags of another version")
            if flags & _IS_VOID:
                void.add(name)
            if flags & _HAS_IMAGES:
                images[name] = self.documents()
        return frozenset(names), frozenset(void), images

    def end(self) -> None:
        if self._at < len(self._payload):
            raise FormatError(f"{len(self._payload) - self._at} bytes after the end of a payload")
