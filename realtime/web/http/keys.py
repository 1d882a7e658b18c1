"""A document's key as the last component of a path, and back."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

from bson.objectid import ObjectId
from fastapi import Path

from realtime.core.bson import ejson
from realtime.errors import InvalidRequestError

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")

Key = Annotated[
    str,
    Path(
        description='`_id`: 24 hex digits are an ObjectId; Extended JSON (`{"$numberInt":"7"}`, `"quoted"`) is that '
        "value; anything else is the string",
        examples=["6579f0c2a1b2c3d4e5f60718"],
    ),
]


def key_of(text: str) -> Any:
    """The value that a path's last component stands for."""
    if _OBJECT_ID.fullmatch(text):
        return ObjectId(text)
    if text[:1] in {"{", '"'}:
        try:
            return ejson.decode(text)
        except ejson.EjsonError as error:
            raise InvalidRequestError(f"key: {error}", details={"field": "key"}) from None
    return text


def key_text(key: Any) -> str | None:
    """How `key_of` reads the same value back; None for true, false, null and "", which have no such text."""
    if isinstance(key, ObjectId):
        return str(key)
    if isinstance(key, str) and key and key[0] not in '{"' and not _OBJECT_ID.fullmatch(key):
        return quote(key, safe="")
    if key is None or isinstance(key, bool) or key == "":
        return None
    if isinstance(key, int):
        key = {"$numberInt" if -(2**31) <= key < 2**31 else "$numberLong": str(key)}
    elif isinstance(key, float):
        key = {"$numberDouble": repr(key).replace("inf", "Infinity").replace("nan", "NaN")}
    return quote(ejson.encode(key).decode(), safe="")
