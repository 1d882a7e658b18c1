"""WebSocket frames (RFC 6455, section 5) of a connection after its handshake: bytes in, what they say out.

A server's side without extensions: peers mask what they send, and what is sent to them is not masked. What breaks the
rules is told by the close code that answers it, and nothing is read after that.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_FRAGMENTS = 65_536
"""Of one message; each costs as much as a frame, and none need hold anything."""
NO_STATUS = 1005
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
TOO_LARGE = 1009
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_FINAL, _RESERVED, _CONTROL, _MASKED = 0x80, 0x70, 0x08, 0x80
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""What may stand in a close frame: registered with IANA, or of a library's or an application's own."""


@dataclass(frozen=True, slots=True)
class Text:
    """A whole message."""

    text: str


@dataclass(frozen=True, slots=True)
class Binary:
    """A whole message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """A frame of a message that goes on."""


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with a pong of this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or nobody's."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer's close frame, to be answered with one of the same payload. `NO_STATUS` where it says no code."""

    code: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer broke a rule, to be answered with this close code."""

    code: int


Incoming = Text | Binary | Fragment | Ping | Pong | Closed | Broken
_FRAGMENT = Fragment()


class FrameReader:
    """`feed` it what comes and `pull` one frame after another. `limit`: bytes of the largest message, which may grow.

    It holds at most one message and what was fed beyond it. After `Closed` and `Broken` there is nothing more.
    """

    __slots__ = ("_at", "_buffer", "_ended", "_fragments", "_is_text", "_message", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._message: bytearray | None = None
        self._fragments = 0
        self._is_text = False
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        if self._ended:
            return
        if not self._buffer:
            self._buffer = data
            return
        if isinstance(self._buffer, bytes):
            self._buffer, self._at = bytearray(self._buffer[self._at :]), 0
        self._buffer += data

    def pull(self) -> Incoming | None:
        """What the next frame says; None where more bytes are needed, or nothing will come any more."""
        buffer, at = self._buffer, self._at
        if len(buffer) - at < 2:
            return self._wait()
        first, second = buffer[at], buffer[at + 1]
        if second < _MASKED or self._breaks_a_rule(first):
            return self._broken(PROTOCOL_ERROR)
        length, begin = second & 0x7F, at + 2
        if length > 125:
            begin += 2 if length == 126 else 8
            if len(buffer) < begin:
                return self._wait()
            length = int.from_bytes(buffer[at + 2 : begin], "big")
        held = 0 if self._message is None else len(self._message)
        if first & _CONTROL:
            if length > 125:
                return self._broken(PROTOCOL_ERROR)
        elif held + length > self.limit:
            return self._broken(TOO_LARGE)
        end = begin + 4 + length
        if len(buffer) < end:
            return self._wait()
        payload = _unmasked(buffer[begin + 4 : end], buffer[begin : begin + 4])
        self._at = end
        if first & _CONTROL:
            return self._control(first & 0x0F, payload)
        return self._data(first & 0x0F, payload, final=first >= _FINAL)

    def _wait(self) -> Incoming | None:
        """Keep what has not been pulled, and no more."""
        if self._at:
            self._buffer, self._at = bytes(self._buffer[self._at :]), 0
        return None

    def _broken(self, code: int) -> Broken:
        self._end()
        return Broken(code)

    def _end(self) -> None:
        self._ended = True
        self._buffer, self._at, self._message = b"", 0, None

    def _breaks_a_rule(self, first: int) -> bool:
        opcode = first & 0x0F
        if first & _RESERVED or opcode not in _OPCODES:
            return True
        if opcode & _CONTROL:
            return first < _FINAL
        # A message is begun once, and only what was begun goes on.
        return (opcode == _CONTINUATION) is (self._message is None)

    def _data(self, opcode: int, payload: bytes, *, final: bool) -> Incoming:
        if opcode != _CONTINUATION:
            self._is_text = opcode == _TEXT
            if final:
                return self._whole(payload)
            self._message, self._fragments = bytearray(), 0
        message = self._message if self._message is not None else bytearray()
        message += payload
        self._fragments += 1
        if self._fragments > MOST_FRAGMENTS:
            return self._broken(TOO_LARGE)
        if not final:
            return _FRAGMENT
        self._message = None
        return self._whole(bytes(message))

    def _whole(self, payload: bytes) -> Incoming:
        if not self._is_text:
            return Binary(payload)
        try:
            return Text(payload.decode())
        except UnicodeDecodeError:
            return self._broken(INVALID_DATA)

    def _control(self, opcode: int, payload: bytes) -> Incoming:
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        wrong = _wrong_close(payload)
        if wrong is not None:
            return self._broken(wrong)
        self._end()
        return Closed(int.from_bytes(payload[:2], "big") if payload else NO_STATUS, payload)


def _wrong_close(payload: bytes) -> int | None:
    """The code that answers a close frame's payload which may not be; None: it may."""
    if not payload:
        return None
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return INVALID_DATA
    if len(payload) < 2 or int.from_bytes(payload[:2], "big") not in _CLOSE_CODES:
        return PROTOCOL_ERROR
    return None


def _unmasked(payload: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """`payload` with `key` over it, again and again; as one number, because a loop takes a hundred times as long."""
    length = len(payload)
    mask = (bytes(key) * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")


# ------------------------------------------------------------------------------------------------------- what goes out


def text_frame(payload: bytes) -> bytes:
    """An unfragmented text frame."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL | _TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_FINAL | _TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL | _TEXT, 127)) + size.to_bytes(8, "big") + payload


def ping_frame(payload: bytes) -> bytes:
    """A ping; `payload` has at most 125 bytes."""
    return bytes((_FINAL | _PING, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    """A pong; `payload` has at most 125 bytes."""
    return bytes((_FINAL | _PONG, len(payload))) + payload


def close_frame(payload: bytes) -> bytes:
    """A close frame with what the peer said in its own."""
    return bytes((_FINAL | _CLOSE, len(payload))) + payload


def closing_frame(code: int, reason: str) -> bytes:
    """A close frame with a code and a reason of at most 123 bytes."""
    return close_frame(code.to_bytes(2, "big") + reason.encode())
