"""BSON as MongoDB stores it, to Python values and back: nothing is converted, nothing that MongoDB stores raises.

The driver's decoder is quick, and converts some of what it reads: it makes one object of two kinds of reference, one
value of two names that are equal, null of undefined; and it raises for text that is no UTF-8 or binary data that is
not as long as it says, which other drivers store. So what it read is written again: where that gives the same bytes,
nothing was lost, and elsewhere the document is read here, element by element. Source: bsonspec.org, version 1.1.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.binary import OLD_BINARY_SUBTYPE, Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from bson.errors import BSONError, InvalidBSON, InvalidDocument
from bson.objectid import ObjectId
from bson.regex import Regex

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=dt.UTC,
    uuid_representation=UuidRepresentation.STANDARD,
    # For what is no user's document; those are read by `decode`.
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)
"""How commands are written and their replies are read; documents of users are read by `decode` alone."""

_QUICK = CODEC.with_options(uuid_representation=UuidRepresentation.UNSPECIFIED, unicode_decode_error_handler="strict")


_REFERENCE = b"\x02$ref\0"


class Undefined:
    """The value of the deprecated type of that name; `UNDEFINED_VALUE` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNDEFINED_VALUE"


UNDEFINED_VALUE: Final = Undefined()


class Symbol(str):
    """Text of the deprecated type "symbol", which compares as text."""

    __slots__ = ()


class Broken(str):
    """Stored text that is no UTF-8: each byte that is wrong is a lone surrogate, as `surrogateescape` has it."""

    __slots__ = ()

    @property
    def raw(self) -> bytes:
        """The bytes as stored."""
        return self.encode("utf-8", "surrogateescape")


class BrokenSymbol(Broken):
    """The same of the deprecated type "symbol"."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pointer:
    """The deprecated type "dbPointer": a namespace and an ObjectId."""

    namespace: str
    id: ObjectId


@dataclass(frozen=True, slots=True)
class OddBinary:
    """Binary data of the old subtype 2 whose inner length is not that of its data; `data` is all that is stored."""

    data: bytes


@dataclass(frozen=True, slots=True)
class OddRegex:
    """A regular expression whose text or options the driver's own class cannot hold."""

    pattern: str
    options: str


class Repeated(dict[str, Any]):
    """A sub-document in which a name stands twice: of equal names it has the first; `pairs` are all fields."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, value)
        self.pairs = tuple(pairs)


def repeats(value: Any) -> bool:
    """Whether a name stands twice anywhere in there."""
    if isinstance(value, dict):
        return type(value) is Repeated or any(map(repeats, value.values()))
    return isinstance(value, list) and any(map(repeats, value))


def utf8(text: str) -> bytes:
    """The bytes of a text as stored, those that are no UTF-8 among them."""
    return text.encode("utf-8", "surrogateescape")


def text_of(name: str) -> str:
    """A stored field's name as a value: `Broken` where it is no UTF-8."""
    return name if name.isascii() else _said(utf8(name))


# ---------------------------------------------------------------------------------------------------------- decode


def decode(raw: bytes | memoryview) -> dict[str, Any]:
    """A stored document: its fields in their order, its values as they are. `InvalidBSON` for bytes that are none.

    Of fields with equal names the first counts, which is the one that MongoDB matches, sorts and groups by.
    """
    raw = bytes(raw)
    try:
        document = bson.decode(raw, _QUICK)
        if bson.encode(document, codec_options=_QUICK) == raw:
            return document if _REFERENCE not in raw else _opened_fields(document)
    except (BSONError, UnicodeError, ValueError, OverflowError):
        pass
    return _exactly(raw)


def _opened_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _opened(inner) for name, inner in fields.items()}


def _opened(value: Any) -> Any:
    """The driver's own objects for sub-documents with `$ref` and `$id`, as those sub-documents."""
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        return _opened_fields(value)
    return [_opened(inner) for inner in value] if isinstance(value, list) else value


def _exactly(raw: bytes) -> dict[str, Any]:
    try:
        document, end = _document(raw, 0)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise InvalidBSON(f"no BSON document: {error}") from error
    if end != len(raw):
        raise InvalidBSON(f"a document of {end} bytes in {len(raw)}")
    return document


def _document(raw: bytes, start: int) -> tuple[dict[str, Any], int]:
    """The document that begins there, and where it ends."""
    pairs: list[tuple[str, Any]] = []
    end = start + _int32(raw, start)
    at = start + 4
    while raw[at]:
        kind = raw[at]
        name, at = _name(raw, at + 1)
        value, at = _READERS[kind](raw, at)
        pairs.append((name, value))
    if at + 1 != end:
        raise ValueError(f"a document ends at {at + 1}, not at {end}")
    fields = dict(pairs)
    return (fields if len(fields) == len(pairs) else Repeated(pairs)), end


def _array(raw: bytes, start: int) -> tuple[list[Any], int]:
    """By place: MongoDB goes by the order of the elements, whatever they are named."""
    values: list[Any] = []
    end = start + _int32(raw, start)
    at = start + 4
    while raw[at]:
        kind = raw[at]
        value, at = _READERS[kind](raw, raw.index(0, at + 1) + 1)
        values.append(value)
    if at + 1 != end:
        raise ValueError(f"an array ends at {at + 1}, not at {end}")
    return values, end


def _int32(raw: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", raw, at)[0])


def _name(raw: bytes, at: int) -> tuple[str, int]:
    end = raw.index(0, at)
    return raw[at:end].decode("utf-8", "surrogateescape"), end + 1


def _text(raw: bytes, at: int) -> tuple[str, int]:
    size = _int32(raw, at)
    end = at + 4 + size
    if size < 1 or raw[end - 1]:
        raise ValueError(f"a text of {size} bytes that does not end in NUL")
    return _said(raw[at + 4 : end - 1]), end


def _said(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Broken(data.decode("utf-8", "surrogateescape"))


def _symbol(raw: bytes, at: int) -> tuple[str, int]:
    text, end = _text(raw, at)
    return (BrokenSymbol if isinstance(text, Broken) else Symbol)(text), end


def _binary(raw: bytes, at: int) -> tuple[Any, int]:
    size, subtype = _int32(raw, at), raw[at + 4]
    end = at + 5 + size
    if size < 0:
        raise ValueError(f"binary data of {size} bytes")
    data = raw[at + 5 : end]
    if subtype == OLD_BINARY_SUBTYPE:
        whole = size >= 4 and _int32(data, 0) == size - 4
        return (Binary(data[4:], subtype) if whole else OddBinary(data)), end
    return (data if subtype == 0 else Binary(data, subtype)), end


def _regex(raw: bytes, at: int) -> tuple[Any, int]:
    middle = raw.index(0, at)
    end = raw.index(0, middle + 1)
    pattern, options = _said(raw[at:middle]), raw[middle + 1 : end].decode("utf-8", "surrogateescape")
    plain = not isinstance(pattern, Broken) and options == "".join(sorted(set(options) & set("ilmsux")))
    return (Regex(pattern, options) if plain else OddRegex(pattern, options)), end + 1


def _pointer(raw: bytes, at: int) -> tuple[Pointer, int]:
    namespace, at = _text(raw, at)
    return Pointer(namespace, ObjectId(raw[at : at + 12])), at + 12


def _code(raw: bytes, at: int) -> tuple[Code, int]:
    text, end = _text(raw, at)
    return Code(text), end


def _scoped(raw: bytes, at: int) -> tuple[Code, int]:
    text, start = _text(raw, at + 4)
    scope, end = _document(raw, start)
    if end != at + _int32(raw, at):
        raise ValueError(f"code with its scope ends at {end}, not at {at + _int32(raw, at)}")
    return Code(text, scope), end


def _fixed(size: int, kind: int) -> Callable[[bytes, int], tuple[Any, int]]:
    """A value of fixed length, by the driver."""
    head = struct.pack("<i", size + 7) + bytes([kind, 0])

    def read(raw: bytes, at: int) -> tuple[Any, int]:
        value = bson.decode(head + raw[at : at + size] + b"\0", _QUICK)[""]
        return value, at + size

    return read


_READERS: Final[dict[int, Callable[[bytes, int], tuple[Any, int]]]] = {
    0x02: _text,
    0x03: _document,
    0x04: _array,
    0x05: _binary,
    0x06: lambda _, at: (UNDEFINED_VALUE, at),
    0x0B: _regex,
    0x0C: _pointer,
    0x0D: _code,
    0x0E: _symbol,
    0x0F: _scoped,
    **{kind: _fixed(8, kind) for kind in (0x01, 0x09, 0x11, 0x12)},
    **{kind: _fixed(0, kind) for kind in (0x0A, 0x7F, 0xFF)},
    0x07: _fixed(12, 0x07),
    0x08: _fixed(1, 0x08),
    0x10: _fixed(4, 0x10),
    0x13: _fixed(16, 0x13),
}
"""By the element's type byte: the value that begins there, and where it ends."""

# ---------------------------------------------------------------------------------------------------------- encode


def encode(document: Mapping[str, Any]) -> bytes:
    """What `decode` reads back as the same values; it writes what the driver cannot. `InvalidDocument` for no BSON."""
    # The driver takes some of the types above for what they are derived from.
    if not _is_odd(document):
        try:
            return bson.encode(document, codec_options=CODEC)
        except (BSONError, UnicodeError):
            pass
    return _encode_document(document)


def _is_odd(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return any(map(_is_odd, value.values()))
    if kind is list:
        return any(map(_is_odd, value))
    return kind in _WRITERS or kind is Repeated or (kind is Code and value.scope is not None and _is_odd(value.scope))


def _encode_document(document: Mapping[str, Any]) -> bytes:
    pairs = document.pairs if isinstance(document, Repeated) else document.items()
    body = b"".join(_element(utf8(name), value) for name, value in pairs)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(name: bytes, value: Any) -> bytes:
    if b"\0" in name:
        # It would end there, and the rest be read as values.
        raise InvalidDocument("a field name has no NUL character")
    kind, data = _written(value)
    return bytes([kind]) + name + b"\0" + data


def _written(value: Any) -> tuple[int, bytes]:
    if isinstance(value, dict):
        return 0x03, _encode_document(value)
    if isinstance(value, list):
        return 0x04, _encode_document({str(index): inner for index, inner in enumerate(value)})
    if isinstance(value, Code):
        if value.scope is None:
            return 0x0D, _encode_text(value)
        scoped = _encode_text(value) + _encode_document(value.scope)
        return 0x0F, struct.pack("<i", len(scoped) + 4) + scoped
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    element = bson.encode({"": value}, codec_options=CODEC)
    return element[4], element[6:-1]


def _encode_text(text: str) -> bytes:
    data = utf8(text)
    return struct.pack("<i", len(data) + 1) + data + b"\0"


_WRITERS: Final[dict[type, Callable[[Any], tuple[int, bytes]]]] = {
    Undefined: lambda _: (0x06, b""),
    Symbol: lambda value: (0x0E, _encode_text(value)),
    Broken: lambda value: (0x02, _encode_text(value)),
    BrokenSymbol: lambda value: (0x0E, _encode_text(value)),
    Pointer: lambda value: (0x0C, _encode_text(value.namespace) + value.id.binary),
    OddBinary: lambda value: (0x05, struct.pack("<iB", len(value.data), OLD_BINARY_SUBTYPE) + value.data),
    OddRegex: lambda value: (0x0B, utf8(value.pattern) + b"\0" + utf8(value.options) + b"\0"),
}
