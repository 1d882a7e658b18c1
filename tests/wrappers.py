"""What is a `$…` wrapper of Extended JSON and what only looks like one: cases for the service and both clients.

The specification's own values (bson/tests/specifications, "Extended JSON v2"), and random near-misses of them.
"""

from __future__ import annotations

import random
from typing import Any

HEX, UUID = "6720a1b2c3d4e5f60718293a", "c8edabc3-f738-4ca3-b68d-ab92a91478a3"

WRAPPERS: list[dict[str, Any]] = [
    {"$oid": HEX},
    {"$oid": HEX.upper()},
    *(
        {"$date": text}
        for text in ("2026-11-22T19:34:15.795Z", "2024-02-29T23:59:59+05:30", "2026-11-22T00:00:00-0130")
    ),
    *({"$date": text} for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.9Z")),
    *({"$date": {"$numberLong": text}} for text in ("0", "-1", "253402300800000", "9223372036854775807")),
    *({"$numberInt": text} for text in ("0", "7", "-7", "2147483647", "-2147483648")),
    *({"$numberLong": text} for text in ("0", "7", "9223372036854775807", "-9223372036854775808")),
    *({"$numberDouble": text} for text in ("0.0", "-0.0", "-1.5e3", "1E-7", "NaN", "Infinity", "-Infinity", "7")),
    *({"$numberDecimal": text} for text in ("1.50", "-0", "0E+9999", ".5", "5.", "NaN", "-Infinity", "inf", "1E-6176")),
    *({"$numberDecimal": text} for text in ("9E+6144", "10E-6177", "1" + "0" * 37, "1" * 34)),
    *({"$binary": {"base64": data, "subType": kind}} for data, kind in (("", "00"), ("AAE=", "4"), ("AAEC", "fF"))),
    {"$uuid": UUID},
    *({"$timestamp": {"t": t, "i": i}} for t, i in ((0, 0), (4294967295, 7))),
    *({"$regularExpression": {"pattern": "^a", "options": options}} for options in ("", "im", "ilmsux")),
    {"$code": "f()"},
    {"$code": "f()", "$scope": {"n": {"$numberInt": "1"}}},
    {"$scope": {}, "$code": "f()"},
    {"$minKey": 1},
    {"$maxKey": 1},
]
NEAR_MISSES: list[dict[str, Any]] = [
    *({"$oid": value} for value in (HEX[1:], f"{HEX}0", f" {HEX}", f"{HEX}\n", 5, None)),
    *(
        {"$date": value}
        for value in (True, 1000, None, "2020-W01-1T00:00:00Z", "20200101T000000Z", "2026-02-29T00:00:00Z")
    ),
    *({"$date": f"2020-01-01T{clock}"} for clock in ("24:00:00Z", "00:00:60Z", "00:00Z", "00:00:00", "00:00:00z")),
    *({"$date": f"2020-01-01T00:00:00{zone}"} for zone in ("-0170", "+01:60", "+2400", "+1", "-00:99")),
    *(
        {"$date": value}
        for value in ("2020-01-01 00:00:00Z", "0000-01-01T00:00:00Z", {"$numberLong": "x"}, {"$numberInt": "1"})
    ),
    *(
        {"$numberInt": value}
        for value in ("zz", "2147483648", "1.0", "0x10", "1_000", "+1", " 1", "01", "-0", "\u0661", 7, "")
    ),
    *({"$numberLong": value} for value in ("0x10", "1_000", "+1", " 1", "\u0661", "9223372036854775808", "1e3", 7, "")),
    *({"$numberDouble": value} for value in ("1_0", "1.2.3", ".5", "5.", "inf", "nan", "+1", "0x1p3", " 1", 1.5, "")),
    *(
        {"$numberDecimal": value}
        for value in ("x", "1_0", "1e99999", "1E-6177", "1" * 35, " 1", "Infinit", "-NaN", "\u0661", 1.5)
    ),
    *({"$binary": {"base64": data, "subType": "00"}} for data in ("!", "AAE", "AAF=", "A A=", "AAE=\n", 5)),
    *({"$binary": {"base64": "AAE=", "subType": kind}} for kind in ("", "100", "0x4", "g", 4)),
    {"$binary": "AAE="},
    {"$binary": {"base64": "AAE="}},
    {"$binary": {"base64": "AAE=", "subType": "0", "x": 1}},
    *({"$uuid": value} for value in (f"urn:uuid:{UUID}", f"{{{UUID}}}", UUID.replace("-", ""), UUID[1:], 5)),
    *({"$timestamp": {"t": t, "i": 0}} for t in (True, -1, 1.5, 4294967296, "1", None)),
    {"$timestamp": {"t": 1}},
    {"$timestamp": {"t": 1, "i": 1, "x": 1}},
    {"$timestamp": 5},
    *({"$regularExpression": {"pattern": "a", "options": options}} for options in ("g", "mi", "ii", None)),
    {"$regularExpression": {"pattern": "a\0", "options": ""}},
    {"$regularExpression": {"pattern": "a"}},
    {"$regularExpression": "a"},
    *({"$code": value} for value in (5, None)),
    {"$code": "f()", "$scope": []},
    {"$code": "f()", "$scope": None},
    {"$code": "f()", "$scope": "x"},
    *({"$scope": {}}, {"$minKey": True}, {"$minKey": 0}, {"$maxKey": "1"}, {"$maxKey": 1.5}),
]
"""One field too wrong each, or alone."""


def near(chance: random.Random) -> dict[str, Any]:
    """A wrapper, or one that is a letter, a type or a field away from being one."""
    made = chance.choice([*WRAPPERS, *NEAR_MISSES])
    for _ in range(chance.choice([0, 1, 1, 2])):
        changed = _changed(made, chance)
        made = changed if isinstance(changed, dict) else made
    return made


def _changed(value: Any, chance: random.Random) -> Any:
    dice = chance.random()
    if isinstance(value, str):
        place, letter = chance.randrange(len(value) + 1), chance.choice("0123456789abcdefT:Z+-._ eE\u0661\u00e9/=$x\n")
        ways = [value[:place] + letter + value[place + 1 :], value[:place] + value[place + 1 :], value[:place] + letter]
        return chance.choice([*ways, value[:place] + letter + value[place:], 1, None, True, {}, [], f" {value}", ""])
    if not isinstance(value, dict) or not value:
        return chance.choice([value, 0, 1, -1, 1.5, True, None, "1", 2**32, 2**32 - 1, {}, [1]])
    name = chance.choice(list(value))
    if dice < 0.75:
        return {**value, name: _changed(value[name], chance)}
    if dice < 0.85:
        return {**value, "x": 1}
    if dice < 0.95:
        return {other: inner for other, inner in value.items() if other != name}
    return dict(reversed(value.items()))
