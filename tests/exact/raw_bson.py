"""BSON byte by byte, as drivers of all kinds may have stored it: each class of value, each place for it, each odd name.

All of it comes from one source of chance, so that a seed repeats a run. Nothing here asks a driver to encode: what a
driver would refuse or mend is what this is about. Source: bsonspec.org, version 1.1.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple


class Value(NamedTuple):
    """An element without its name: the type byte and what follows the name."""

    type: int
    data: bytes


Make = Callable[[random.Random], Value]

DEEPEST = 180
"""Levels of a document that MongoDB stores."""
LARGEST = 16 * 1024 * 1024 - 100 * 1024
"""Bytes of a large document: 15.9 MB."""

# --------------------------------------------------------------------------------------------------------- the bytes


def int32(number: int) -> bytes:
    return struct.pack("<i", number)


def element(name: bytes, value: Value) -> bytes:
    return bytes([value.type]) + name + b"\0" + value.data


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return int32(len(body) + 5) + body + b"\0"


def fields(**named: Value) -> bytes:
    return document(*(element(name.encode(), value) for name, value in named.items()))


def text(data: bytes) -> Value:
    return Value(0x02, int32(len(data) + 1) + data + b"\0")


def sub(raw: bytes) -> Value:
    return Value(0x03, raw)


def array(*values: Value, names: Iterator[bytes] | None = None) -> Value:
    named = zip(names or (str(index).encode() for index in range(len(values))), values, strict=False)
    return Value(0x04, document(*(element(name, value) for name, value in named)))


def number(value: int) -> Value:
    return Value(0x10, int32(value))


def binary(subtype: int, data: bytes) -> Value:
    return Value(0x05, int32(len(data)) + bytes([subtype]) + data)


def scoped(code: bytes, scope: bytes) -> Value:
    body = text(code).data + scope
    return Value(0x0F, int32(len(body) + 4) + body)


def pointer(namespace: bytes) -> Value:
    """Its id is its namespace: MongoDB compares by the one or by the other, depending on what it stands in."""
    return Value(0x0C, text(namespace).data + namespace.ljust(12, b"\0")[:12])


# -------------------------------------------------------------------------------------------------------- the values

BROKEN = (
    *(
        b"\xff",
        b"\xfe",
        b"\xff\xfe",
        b"a\xffb",
        b"\x80",
        b"\xc0\x80",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(b"\xed\xb3\xbf", b"\xf0\x9f\x98", b"\xc3\xa9\xff", b"\xf8\x88\x80\x80\x80"),
)
"""Text that is no UTF-8: single bytes, overlong, cut off, halves of pairs, past the last code point."""
TEXTS = (
    b"",
    b"a",
    b"ab",
    b"b",
    b"A",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbf\xbd",
    b"5",
    b"$x",
    b"\\xff",
    b"\x7f",
)
WRAPPERS: tuple[tuple[bytes, Value], ...] = (
    *((b"$oid", text(b"zz")), (b"$date", number(5)), (b"$numberLong", text(b"5")), (b"$binary", number(5))),
    *((b"$undefined", Value(0x08, b"\1")), (b"$symbol", text(b"a")), (b"$opaque", text(b"x")), (b"$gt", number(1))),
    *((b"$regularExpression", number(1)), (b"$code", text(b"f")), (b"$minKey", number(1)), (b"$ref", text(b"users"))),
    *(
        (b"$id", number(4)),
        (b"$db", text(b"d")),
        (b"$", number(1)),
        (b"$where", text(b"1")),
        (b"$dbPointer", number(1)),
    ),
)
"""Objects that look like a value of Extended JSON, or like operators."""
BUILT_IN = (b"__proto__", b"constructor", b"toString", b"hasOwnProperty", b"length", b"__class__", b"then")
NAMES: dict[str, tuple[bytes, ...]] = {
    "plain": (b"x", b"y"),
    "with $": tuple(name for name, _ in WRAPPERS),
    "with a dot": (b"a.b", b".", b"a.", b".a", b"a..b", b"v.a"),
    "empty": (b"",),
    "of JavaScript": BUILT_IN,
    "no UTF-8": BROKEN,
    "number": (b"0", b"1", b"01", b"-1", b"18446744073709551616"),
    "other letters": (b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"\xef\xbf\xbd", b"\\xff", b"\n", b" ", b'"', b"\xe2\x80\xa8"),
    "_id below": (b"_id",),
    "long": (b"n" * 3000,),
}

SMALL: tuple[Value, ...] = (number(1), number(5), text(b"a"), Value(0x0A, b""), Value(0x01, struct.pack("<d", 1.5)))


def small(dice: random.Random) -> Value:
    return dice.choice(SMALL)


def named(kind: str) -> Make:
    """An object with one or two names of a kind."""

    def make(dice: random.Random) -> Value:
        names = dict.fromkeys(dice.choice(NAMES[kind]) for _ in range(2))
        return sub(document(*(element(name, small(dice)) for name in names)))

    return make


def repeated(dice: random.Random) -> Value:
    name = dice.choice([b"a", b"a", b"", b"$ref", b"\xff", b"__proto__"])
    middle = [element(b"b", small(dice))] if dice.random() < 0.5 else []
    last = dice.choice([small(dice), sub(fields(a=number(1))), array(number(5))])
    return sub(document(element(name, small(dice)), *middle, element(name, last)))


def reference(*order: bytes) -> Make:
    parts = {b"$ref": text(b"users"), b"$id": number(4), b"$db": text(b"d"), b"x": number(1)}
    return lambda _: sub(document(*(element(name, parts[name]) for name in order)))


def oddly_named_array(dice: random.Random) -> Value:
    names = dice.choice([(b"x", b"y"), (b"", b""), (b"0", b"0"), (b"1", b"0"), (b"\xff", b"\xfe"), (b"7", b"00")])
    return array(small(dice), small(dice), names=iter(names))


def nested(levels: int, inner: Value, name: bytes = b"a") -> Value:
    """Alternately in objects and lists, so many levels of them."""
    for level in range(levels):
        inner = sub(document(element(name, inner))) if level % 2 else array(inner)
    return inner


def packed(kind: int, form: str, *choices: float) -> Make:
    return lambda dice: Value(kind, struct.pack(form, dice.choice(choices)))


def texts(kind: int, choices: tuple[bytes, ...]) -> Make:
    return lambda dice: Value(kind, text(dice.choice(choices)).data)


def binaries(subtype: int, *lengths: int) -> Make:
    return lambda dice: binary(subtype, dice.randbytes(dice.choice(lengths)))


def old_binary(*inner: int) -> Make:
    """The old subtype, whose data has a length of its own; without one where there is none to choose."""

    def make(dice: random.Random) -> Value:
        data = dice.randbytes(dice.choice([0, 1, 3]))
        return binary(2, int32(dice.choice(inner)) + data if inner else data)

    return make


def whole_old_binary(dice: random.Random) -> Value:
    data = dice.randbytes(dice.choice([0, 1, 5]))
    return binary(2, int32(len(data)) + data)


def regexes(patterns: tuple[bytes, ...], options: tuple[bytes, ...]) -> Make:
    return lambda dice: Value(0x0B, dice.choice(patterns) + b"\0" + dice.choice(options) + b"\0")


def odd_decimal(dice: random.Random) -> Value:
    """Not canonical, with payloads, past 34 digits, of both signs."""
    high = dice.choice([0x7C00 << 48 | 5, 0xFC00 << 48 | 1, 0x7E00 << 48, 0x7800 << 48 | 9, 0x6C10 << 48, 0x3041 << 48])
    return Value(0x13, struct.pack("<QQ", dice.choice([0, 1, 2**64 - 1]), high | dice.choice([0, 0x1FFFFFFFFFFFF])))


TAME: dict[str, Make] = {
    "double": packed(0x01, "<d", 0.0, -0.0, 1.0, 5.0, 2.5, -4.0, 1e300, 5e-324, float("inf"), float("-inf")),
    "double, NaN with a payload": lambda dice: Value(
        0x01, struct.pack("<Q", dice.choice([0x7FF8, 0xFFF8, 0x7FF0]) << 48 | dice.choice([1, 2**40]))
    ),
    "string": texts(0x02, TEXTS),
    "string with NUL": texts(0x02, (b"\0", b"a\0b", b"a\0", b"\0\xff")),
    "string, no UTF-8": texts(0x02, BROKEN),
    "object": lambda dice: sub(dice.choice([fields(), fields(a=small(dice)), fields(a=small(dice), b=small(dice))])),
    "object, a name twice": repeated,
    "object, reference": reference(b"$ref", b"$id"),
    "object, reference with $id first": reference(b"$id", b"$ref"),
    "object, reference with more": reference(b"$ref", b"$id", b"$db", b"x"),
    "object, half a reference": lambda dice: reference(dice.choice([b"$ref", b"$id", b"$db"]))(dice),
    "object, like Extended JSON": lambda dice: sub(document(element(*dice.choice(WRAPPERS)))),
    "array": lambda dice: array(*(small(dice) for _ in range(dice.randrange(4)))),
    "array, elements named otherwise": oddly_named_array,
    "array of arrays": lambda dice: array(array(small(dice)), array(), array(array())),
    "undefined": lambda _: Value(0x06, b""),
    "objectId": lambda dice: Value(0x07, dice.choice([b"\0", b"\xff", b"5"]) * 12),
    "bool": packed(0x08, "<?", False, True),
    "date": packed(0x09, "<q", 0, 5, -1, 1_600_000_000_123),
    "date past Python's": packed(0x09, "<q", 2**60, -(2**60), 2**63 - 1, -(2**63), 253_402_300_800_000),
    "null": lambda _: Value(0x0A, b""),
    "regex": regexes((b"a", b"^b", b"", b"a.b"), (b"", b"i", b"im", b"ilmsux")),
    "regex, options out of order": regexes((b"a", b"("), (b"xi", b"q", b"ii", b"gy", b"\xff", b"$")),
    "regex, no UTF-8": regexes(BROKEN, (b"", b"i")),
    "dbPointer": lambda dice: pointer(dice.choice([b"db.c", b"a", b"abc", b"", b"db.c.d"])),
    "dbPointer, no UTF-8": lambda dice: pointer(dice.choice(BROKEN)),
    "code": texts(0x0D, (b"f()", b"", b"a\0b", b"\xc3\xa9")),
    "code, no UTF-8": texts(0x0D, BROKEN),
    "symbol": texts(0x0E, TEXTS),
    "symbol, no UTF-8": texts(0x0E, BROKEN),
    "code with scope": lambda dice: scoped(b"f()", dice.choice([fields(), fields(a=small(dice))])),
    "code with scope, no UTF-8": lambda dice: scoped(dice.choice(BROKEN), document(element(b"\xff", small(dice)))),
    "int": packed(0x10, "<i", 0, 1, 5, -1, 2**31 - 1, -(2**31)),
    "timestamp": packed(0x11, "<Q", 0, 1, 5 << 32, 2**64 - 1, 2**63),
    "long": packed(0x12, "<q", 0, 1, 5, 2**53 + 1, 2**63 - 1, -(2**63)),
    "decimal": lambda dice: Value(
        0x13, struct.pack("<QQ", dice.choice([0, 1, 5, 10, 2**63]), dice.choice([0x3040, 0x303E, 0xB040, 0x7800]) << 48)
    ),
    "decimal, not canonical": odd_decimal,
    "minKey": lambda _: Value(0xFF, b""),
    "maxKey": lambda _: Value(0x7F, b""),
    **{f"object, names {kind}": named(kind) for kind in NAMES if kind != "plain"},
}
BINARIES: dict[str, Make] = {
    "binary 00": binaries(0, 0, 1, 16),
    "binary 01, function": binaries(1, 0, 1, 16),
    "binary 02, old": whole_old_binary,
    "binary 02, inner length wrong": old_binary(7, -1, 2**31 - 1, -(2**31), 2),
    "binary 02, no inner length": old_binary(),
    "binary 03, old UUID": binaries(3, 16),
    "binary 03, of another length": binaries(3, 0, 5, 15, 17),
    "binary 04, UUID": binaries(4, 16),
    "binary 04, of another length": binaries(4, 0, 5, 15, 17, 32),
    "binary 05, MD5": binaries(5, 16),
    "binary 05, of another length": binaries(5, 0, 5, 17),
    "binary 06, encrypted": binaries(6, 0, 1, 17, 40),
    "binary 07, column": binaries(7, 0, 1, 20),
    "binary 08, sensitive": binaries(8, 0, 5),
    "binary 09, vector": lambda dice: binary(
        9, dice.choice([b"", b"\x03\0\x01", b"\x27\0\0", b"\x99\x99", b"\x10\x07"])
    ),
    "binary, reserved": lambda dice: binary(dice.randrange(10, 0x80), dice.randbytes(dice.randrange(18))),
    "binary, a user's": lambda dice: binary(dice.randrange(0x80, 0x100), dice.randbytes(dice.randrange(18))),
}
VALUES: dict[str, Make] = {**TAME, **BINARIES}
"""Every class of value, by what is odd about it."""
CALM = (
    *("double", "double, NaN with a payload", "string", "string with NUL", "string, no UTF-8", "object", "array"),
    *("object, reference", "object, reference with $id first", "array of arrays", "undefined", "objectId", "bool"),
    *("date", "date past Python's", "null", "regex", "regex, options out of order", "regex, no UTF-8", "dbPointer"),
    *("dbPointer, no UTF-8", "code", "code, no UTF-8", "symbol", "symbol, no UTF-8", "code with scope", "int", "long"),
    *("code with scope, no UTF-8", "timestamp", "decimal", "decimal, not canonical", "minKey", "maxKey", *BINARIES),
)
"""What updates by pipeline are made of. Some of the other classes end a mongod there, and have no place in a tree."""

WRONG: dict[str, Make] = {
    "string, longer than its document": lambda _: Value(0x02, int32(500) + b"a\0"),
    "string that does not end in NUL": lambda _: Value(0x02, int32(2) + b"ab"),
    "string of length 0": lambda _: Value(0x02, int32(0)),
    "object of another length": lambda _: sub(int32(13) + fields(a=number(1))[4:]),
    "array of another length": lambda _: Value(0x04, int32(99) + fields(a=number(1))[4:]),
    "binary, longer than its document": lambda _: Value(0x05, int32(2**30) + b"\0x"),
    "binary of length -1": lambda _: Value(0x05, int32(-1) + b"\0"),
    "bool of 2": lambda _: Value(0x08, b"\2"),
    "code with scope of another length": lambda _: Value(0x0F, int32(9) + scoped(b"f()", fields()).data[4:]),
    "type 0x14": lambda _: Value(0x14, int32(1)),
    "type 0x80": lambda _: Value(0x80, b""),
}
"""Bytes that are no BSON. MongoDB refuses most of them, and the rest has to be read like everything that it stores."""

# -------------------------------------------------------------------------------------------------------- the places


def deep(value: Value, dice: random.Random) -> Value:
    """At a level that the document still may have; a value has up to four levels of its own."""
    return nested(dice.choice([20, 99, 100, 101, 130, DEEPEST - 7]), value)


PLACES: dict[str, Callable[[Value, random.Random], Value]] = {
    "field": lambda value, _: value,
    "below": lambda value, _: sub(fields(a=value, n=number(1))),
    "element": lambda value, dice: array(value, small(dice)),
    "object in array": lambda value, dice: array(sub(fields(a=value)), sub(fields(a=small(dice)))),
    "scope": lambda value, _: scoped(b"f()", fields(a=value)),
    "deep": deep,
}
"""What stands at `v` when the value has its place there."""
KEYS = ("_id", "in _id")
BESIDE = "odd name"
ALL_PLACES = (*PLACES, *KEYS, BESIDE)
OTHERWISE = "array, elements named otherwise"
APART = frozenset({(OTHERWISE, "scope")})
"""What is not made: in a scope MongoDB sorts lists by the names of their elements, and everywhere else by place."""


@dataclass(frozen=True, slots=True)
class Made:
    """A document: its class of value and place, its key, and its other elements."""

    kind: str
    place: str
    key: Value
    rest: bytes

    @property
    def raw(self) -> bytes:
        return document(element(b"_id", self.key), self.rest)


class RawBson:
    """Documents and values; every class at every place comes before any of them comes again."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        order = [(kind, place) for kind in VALUES for place in ALL_PLACES if (kind, place) not in APART]
        dice.shuffle(order)
        self._turns = cycle(order)
        self._calm_turns = cycle([(kind, place) for kind, place in order if kind in CALM and place != BESIDE])
        self._kinds = cycle(VALUES)
        self._calm_kinds = cycle(CALM)
        self._names = cycle([name for names in NAMES.values() for name in names])
        self.number = 0

    def placed(self, *, calm: bool = False) -> tuple[str, str, Value]:
        """The next class of value, as what is to stand at `v`, and where in there it has its place."""
        kind = next(self._calm_kinds if calm else self._kinds)
        place = self.dice.choice([place for place in PLACES if (kind, place) not in APART])
        return kind, place, PLACES[place](VALUES[kind](self.dice), self.dice)

    def made(self, *, calm: bool = False) -> Made:
        """The next document, or one that may be updated by pipeline. All have `n` and `g`, which are plain."""
        kind, place = next(self._calm_turns if calm else self._turns)
        return self._of(kind, place, VALUES[kind](self.dice))

    def _of(self, kind: str, place: str, value: Value) -> Made:
        self.number += 1
        key, beside = number(self.number), b""
        if place == "_id":
            key = value
        elif place == "in _id":
            key = sub(document(element(b"u", key), element(b"x", value)))
        elif place == BESIDE:
            beside = element(next(self._names), value)
            if self.dice.random() < 0.2:
                # Not one that stands before `v` may stand: behind it MongoDB's own `$group` would not find `v` any more
                # (findings/a-name-that-stands-twice-hides-the-next.sh).
                beside += element(b"v", value)
        put = PLACES.get(place)
        inner = put(value, self.dice) if put is not None else small(self.dice)
        return Made(kind, place, key, element(b"v", inner) + self._plain() + beside)

    def _plain(self) -> bytes:
        group = element(b"g", number(self.dice.randrange(5)))
        return group + element(b"n", number(self.number))

    def wrong(self) -> Iterator[Made]:
        """No BSON, once at a field and once below one."""
        for kind, make in WRONG.items():
            yield self._of(kind, "field", make(self.dice))
            yield self._of(kind, "below", make(self.dice))

    def large(self) -> Iterator[Made]:
        """15.9 MB of text, of broken text, of binary data, of many fields and of many elements."""
        numbered = (element(b"f%06x" % index, text(b"a" * 1000)) for index in range(LARGEST // 1020))
        filled: dict[str, Value] = {
            "large string": text(b"a" * LARGEST),
            "large string, no UTF-8": text(b"a" * (LARGEST - 1) + b"\xff"),
            "large string, much of it no UTF-8": text(b"\xff" * (LARGEST // 16) + b"a" * (LARGEST * 15 // 16)),
            "large binary": binary(2, b"\xff" * LARGEST),
            "large object": sub(document(*numbered)),
            "large array": array(*([text(b"a" * 1000)] * (LARGEST // 1020))),
        }
        for kind, value in filled.items():
            yield self._of(kind, "field", value)


# ------------------------------------------------------------------------------------------------------- the updates


def operator(name: bytes, path: bytes, value: Value) -> Value:
    return sub(document(element(name, sub(document(element(path, value))))))


def stages(*each: bytes) -> Value:
    return array(*(sub(stage) for stage in each))


def literal(value: Value) -> Value:
    return sub(document(element(b"$literal", value)))


def _stage(name: bytes, value: Value) -> bytes:
    return document(element(name, value))


def _set_field(name: bytes, value: Value, source: Value) -> Value:
    inner = fields(field=literal(text(name)), input=source, value=literal(value))
    return sub(document(element(b"$setField", sub(inner))))


ROOT = text(b"$$ROOT")
UPDATES: dict[str, Callable[[Value], Value]] = {
    "$set": lambda value: operator(b"$set", b"v", value),
    "$set below": lambda value: operator(b"$set", b"v.a", value),
    "$set in a list": lambda value: operator(b"$set", b"v.0", value),
    "$push": lambda value: operator(b"$push", b"w", value),
    "$min": lambda value: operator(b"$min", b"v", value),
    "$unset": lambda _: operator(b"$unset", b"v", text(b"")),
    "$rename": lambda _: operator(b"$rename", b"v", text(b"w")),
    "pipeline $set": lambda value: stages(_stage(b"$set", sub(fields(v=literal(value))))),
    "pipeline $set below": lambda value: stages(_stage(b"$set", sub(document(element(b"v.a", literal(value)))))),
    "pipeline $unset": lambda _: stages(_stage(b"$unset", text(b"v"))),
    "pipeline $ref and $id": lambda value: stages(
        _stage(b"$replaceWith", _set_field(b"$id", value, _set_field(b"$ref", text(b"users"), ROOT)))
    ),
    "pipeline with a dotted name": lambda value: stages(_stage(b"$replaceWith", _set_field(b"a.b", value, ROOT))),
    "replace": lambda value: sub(fields(v=value, n=number(-1), g=number(1))),
}
"""What an update is by what it writes; `replace` keeps the key alone."""


def statement(key: Value, update: Value, *, upsert: bool = False) -> bytes:
    """An element of the command `update`; the key is compared, whatever it looks like."""
    wanted = sub(fields(_id=sub(document(element(b"$eq", key)))))
    return fields(q=wanted, u=update, upsert=Value(0x08, b"\1" if upsert else b"\0"))


def deletion(wanted: Value) -> bytes:
    """An element of the command `delete`, of all that match."""
    return fields(q=wanted, limit=number(0))
