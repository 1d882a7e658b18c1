"""A document's key as the last component of a path, and back.

Each key has one path that is given out, and it leads to that key alone. What would not come through clients and
proxies as it is (a control character; nothing, `.` or `..` by itself or between slashes) is said as Extended JSON,
where such characters are escaped; so are all keys that are neither text nor an ObjectId.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from bson.objectid import ObjectId
from fastapi import Path

from realtime.core.bson import ejson
from realtime.core.bson.keys import OPAQUE, shown_key
from realtime.errors import InvalidRequestError
from realtime.web.entrance.paths import component

LITERAL = "$literal"
"""The mark of what JSON has by itself and Extended JSON has no object for: true, false and null. MongoDB stores no key
with a field of such a name."""

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SEGMENTS = frozenset({"", ".", ".."})
"""Between slashes, encoded ones too: what clients and proxies take out of a path."""
_LITERALS = (True, False, None)

Key = Annotated[
    str,
    Path(
        description='`_id`: 24 hex digits are an ObjectId; Extended JSON (`{"$numberInt":"7"}`, `"quoted"`) is that '
        'value, `{"$literal":true}` true (so false and null); anything else is the string',
        examples=["6579f0c2a1b2c3d4e5f60718"],
    ),
]


def key_of(text: str) -> Any:
    """The value that a path's last component stands for."""
    if not text:
        raise _invalid('is missing; the path of the empty string ends with %22%22, which is ""')
    if _OBJECT_ID.fullmatch(text):
        return ObjectId(text)
    if text[0] not in '{"':
        return text
    try:
        key = ejson.decode(text)
    except ejson.EjsonError as error:
        raise _invalid(str(error)) from None
    if isinstance(key, dict) and LITERAL in key:
        return _literal(key)
    if isinstance(key, dict) and OPAQUE in key:
        raise _invalid(
            "a key that JSON cannot say exactly has no path: lists and live queries show its document; to write to it "
            f"use a driver, with the BSON that is in {OPAQUE}"
        )
    return key


def key_text(key: Any) -> str | None:
    """The component from which `key_of` reads the same value; None for a key that JSON cannot say exactly."""
    if isinstance(key, ObjectId):
        return str(key)
    if type(key) is str:
        if _is_plain(key):
            return component(key)
    elif key is None or isinstance(key, bool):
        key = {LITERAL: key}
    elif isinstance(key, int):
        key = {"$numberInt" if -(2**31) <= key < 2**31 else "$numberLong": str(int(key))}
    elif isinstance(key, float):
        key = {"$numberDouble": repr(float(key)).replace("inf", "Infinity").replace("nan", "NaN")}
    elif shown_key(key) is not key:
        return None
    # A slash stands in strings alone; control characters are escaped already, but for DEL.
    return component(ejson.encode(key).decode().replace("/", "\\u002f").replace("\x7f", "\\u007f"))


def _is_plain(key: str) -> bool:
    """Whether this text is read as itself, and comes through clients and proxies as it is."""
    if key[:1] in {"{", '"'} or _OBJECT_ID.fullmatch(key) or _CONTROL.search(key):
        return False
    return _SEGMENTS.isdisjoint(key.split("/"))


def _literal(key: dict[str, Any]) -> bool | None:
    value = key[LITERAL]
    if len(key) != 1 or not any(value is literal for literal in _LITERALS):
        raise _invalid(f"{LITERAL} is of true, false and null alone: any other value stands by itself")
    found: bool | None = value
    return found


def _invalid(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"key: {reason}", details={"field": "key"})
