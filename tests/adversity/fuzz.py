"""Frames that no client should send: each a kind, and the bytes that go over the wire. The same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.adversity.raw_socket import BINARY, TEXT, framed

DEPTH = 100_000
DIGITS = 5_000
LARGE = 10 * 1024 * 1024
MADE_UP = 0x10
"""A reserved bit, which no extension was agreed for."""

TEMPLATES: tuple[dict[str, Any], ...] = (
    {"type": "subscribe", "id": "f", "collection": "fuzz", "filter": {"a": {"$gt": 1}}, "projection": {"a": 1}},
    {"type": "subscribe", "id": "f", "collection": "fuzz", "sort": [["a", 1]], "limit": 5, "throttle": 100},
    {"type": "subscribe", "id": "f", "mode": "events", "collection": "fuzz", "operations": ["insert"]},
    {"type": "subscribe", "id": "f", "collection": "fuzz", "position": "x", "query": "y"},
    {"type": "unsubscribe", "id": "f"},
    {"type": "insert", "id": "f", "collection": "fuzz", "document": {"a": 1}},
    {"type": "replace", "id": "f", "collection": "fuzz", "key": 1, "document": {"a": 1}, "upsert": False},
    {"type": "update", "id": "f", "collection": "fuzz", "key": 1, "update": {"$set": {"a": 1}}, "where": {"a": 2}},
    {"type": "delete", "id": "f", "collection": "fuzz", "key": 1, "where": {"a": 2}},
    {"type": "auth", "id": "f", "token": "t"},
    {"type": "ping", "id": "f", "position": "x"},
)
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1 << 63,
        -(1 << 70),
        "",
        "x" * 70,
        "$where",
        "a.b",
        ".",
        "\x00",
        "é",
        "\U0001f600",
    ),
    *([], [[]], [None], [1, [2, [3]]], {}, {"": 1}, {"$": 1}, {"$where": "1"}, {"$gt": {}}, {"a": {"$in": 1}}),
    *(
        {"$oid": "zz"},
        {"$date": "never"},
        {"$numberLong": "x"},
        {"$regularExpression": {"pattern": "(", "options": ""}},
    ),
    *({"$binary": 5}, {"$minKey": 2}, {"$timestamp": {"t": -1, "i": 0}}, {"$numberDecimal": "1e99999"}, {"$dbRef": 1}),
)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """One, of a kind; a message in parts is one too."""

    kind: str
    data: bytes


def _text(text: str) -> bytes:
    return framed(TEXT, text.encode("utf-8", "surrogatepass"))


def _mutated(dice: random.Random) -> dict[str, Any]:
    frame = json.loads(json.dumps(dice.choice(TEMPLATES)))
    for _ in range(dice.randint(1, 2)):
        name = dice.choice([*frame, "surplus"])
        if dice.random() < 0.15 and name != "surplus":
            del frame[name]
        else:
            frame[name] = dice.choice(ODD)
    return dict(frame)


def _wrong_types(dice: random.Random) -> bytes:
    return _text(json.dumps(_mutated(dice)))


def _deep(dice: random.Random) -> bytes:
    """Closed or not, alone or where a document is expected."""
    opening, closing = dice.choice([("[", "]"), ('{"a":', "}")])
    text = opening * DEPTH
    if dice.random() < 0.5:
        text += "1" + closing * DEPTH
    if dice.random() < 0.5:
        text = f'{{"type":"subscribe","id":"f","collection":"fuzz","filter":{text}}}'
    return _text(text)


def _not_json(dice: random.Random) -> bytes:
    word = dice.choice(["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0x1", "01", "+1", ".5", "'a'", "undefined"])
    place = dice.choice(
        ['{"type":"ping","id":%s}', '{"type":"insert","id":"f","collection":"fuzz","document":{"a":%s}}']
    )
    return _text(place % word)


def _surrogates(dice: random.Random) -> bytes:
    half = dice.choice(["\\ud800", "\\udc00", "\\udfff\\ud800", "x\\udbff"])
    place = dice.choice(
        [
            '{"type":"ping","id":"%s"}',
            '{"type":"insert","id":"f","collection":"fuzz","document":{"%s":1}}',
            '{"type":"subscribe","id":"f","collection":"fuzz","filter":{"a":"%s"}}',
        ]
    )
    return _text(place % half)


def _digits(dice: random.Random) -> bytes:
    number = dice.choice(["", "-"]) + "9" * DIGITS
    place = dice.choice(
        [
            '{"type":"subscribe","id":"f","collection":"fuzz","limit":%s}',
            '{"type":"subscribe","id":"f","collection":"fuzz","filter":{"a":%s}}',
            '{"type":"insert","id":"f","collection":"fuzz","document":{"a":%s}}',
            '{"type":"insert","id":"f","collection":"fuzz","document":{"a":{"$numberLong":"%s"}}}',
            '{"type":"insert","id":"f","collection":"fuzz","document":{"a":{"$numberInt":"%s"}}}',
            '{"type":"insert","id":"f","collection":"fuzz","document":{"a":{"$date":{"$numberLong":"%s"}}}}',
        ]
    )
    return _text(place % number)


def _large(_: random.Random) -> bytes:
    return framed(TEXT, b'{"type":"ping","id":"' + b"x" * LARGE + b'"}')


def _fragments(dice: random.Random) -> bytes:
    """Every byte in a frame of its own."""
    payload = json.dumps(_mutated(dice)).encode()
    parts = [framed(TEXT if n == 0 else 0, payload[n : n + 1], fin=False) for n in range(len(payload) - 1)]
    return b"".join(parts) + framed(0 if parts else TEXT, payload[-1:])


def _binary(dice: random.Random) -> bytes:
    return framed(BINARY, dice.randbytes(dice.randint(0, 300)))


def _garbage(dice: random.Random) -> bytes:
    """Text that is none, in letters of all kinds."""
    letters = '{}[]":,.0123456789eE+-truefalsnu\\ \t$éß\U0001f600'
    return _text("".join(dice.choice(letters) for _ in range(dice.randint(0, 200))))


def _twice(dice: random.Random) -> bytes:
    return _text(dice.choice(['{"type":"ping","id":"f","id":"g"}', '{"type":"ping","type":"auth","id":"f"}']))


def _broken_utf8(dice: random.Random) -> bytes:
    return framed(
        TEXT, b'{"type":"ping","id":"' + dice.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82"]) + b'"}'
    )


def _against_the_rfc(dice: random.Random) -> bytes:
    wrong: list[dict[str, Any]] = [{"opcode": 3}, {"opcode": 11}, {"opcode": 0}, {"opcode": 1, "reserved": MADE_UP}]
    bits = dice.choice([*wrong, {"opcode": 1, "masked": False}, {"opcode": 9, "fin": False}])
    return framed(bits.pop("opcode"), b"{}", **bits)


KINDS: dict[str, tuple[int, Callable[[random.Random], bytes]]] = {
    "wrong types": (600, _wrong_types),
    "garbage": (120, _garbage),
    "not JSON": (60, _not_json),
    "surrogates": (60, _surrogates),
    "digits": (60, _digits),
    "binary": (40, _binary),
    "one-byte fragments": (30, _fragments),
    "twice": (20, _twice),
    "depth": (4, _deep),
    "broken UTF-8": (3, _broken_utf8),
    "against the RFC": (3, _against_the_rfc),
    "10 MB": (1, _large),
}
"""How often of each, by weight. The last ones end their connection."""


def fuzzed(seed: int, count: int) -> list[Fuzzed]:
    """So many, every kind among them."""
    dice = random.Random(seed)
    kinds = [*KINDS, *dice.choices(list(KINDS), [weight for weight, _ in KINDS.values()], k=count - len(KINDS))]
    return [Fuzzed(kind, KINDS[kind][1](dice)) for kind in kinds]
