"""Document keys: what identifies a document, and how its key is shown.

The JSON text of a key identifies its document, because two keys that MongoDB tells apart have two texts. Where JSON
cannot say a key exactly (text that is no UTF-8, a deprecated type, a name that stands twice) its text would not do:
such a key is shown marked, with its BSON bytes, as `{"$opaque": "…", "shown": "…"}`, and cannot be written to.
"""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Final

from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from realtime.core.bson import ejson, stored
from realtime.core.bson.values import order
from realtime.errors import InvalidRequestError, TooLargeError

OPAQUE: Final = "$opaque"
"""The mark. MongoDB stores no key with a field of such a name, so nothing is mistaken for one."""

KEY_BYTES: Final = 1024 * 1024
"""Of BSON, `{_id: key}`: the longest key that is written from here. A change event has the key, and a resume token that
holds it in hex; a reply has that token twice. From about 4 MB on no reply of MongoDB's has room for the token alone."""
_ALWAYS_EXACT = frozenset(
    {ObjectId, str, int, Int64, float, Decimal128, bool, type(None), dt.datetime, bytes, Binary, uuid.UUID}
)
"""Types whose JSON text says all of a value; text that is no UTF-8 has a type of its own."""


def identity(key: Any) -> str:
    """A document key's JSON text: the same for the same key, another one for every other key."""
    text = ejson.encode(key).decode()
    return text if _exact(key, text) else ejson.encode(_marked(key)).decode()


def shown(document: Mapping[str, Any]) -> bytes:
    """A document's Extended JSON, its `_id` marked where JSON cannot say it exactly."""
    key = document.get("_id")
    if type(key) in _ALWAYS_EXACT:
        return ejson.encode(document)
    return ejson.encode(with_marks(document))


def with_marks(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same document, its `_id` marked where JSON cannot say it exactly."""
    if "_id" not in document:
        return document
    key = document["_id"]
    marked = shown_key(key)
    return document if marked is key else {**document, "_id": marked}


def shown_key(key: Any) -> Any:
    """The key itself, or what is shown in its place."""
    if type(key) in _ALWAYS_EXACT or _exact(key, ejson.encode(key).decode()):
        return key
    return _marked(key)


def check_key(key: Any, field: str = "key") -> None:
    """`InvalidRequestError` for a key that was shown marked: nothing can be written to it from here."""
    if isinstance(key, dict) and OPAQUE in key:
        raise InvalidRequestError(
            f"{field}: a document whose key JSON cannot say exactly is read here and not written: use a driver, with "
            f"the BSON that is in {OPAQUE}",
            details={"field": field},
        )


def check_length(key: Any, field: str = "key") -> None:
    """`TooLargeError` for a key over `KEY_BYTES`, whose change events MongoDB could not send."""
    size = len(stored.encode({"_id": key}))
    if size > KEY_BYTES:
        raise TooLargeError(
            f"{field}: at most {KEY_BYTES} bytes of BSON, this one has {size}: MongoDB cannot send the changes of a "
            "document with a longer key; put it into another field",
            details={"field": field, "count": size, "limit": KEY_BYTES},
        )


def _exact(key: Any, text: str) -> bool:
    if type(key) in _ALWAYS_EXACT:
        return True
    try:
        return order(ejson.decode(text)) == order(key) and not (isinstance(key, dict) and OPAQUE in key)
    except ejson.EjsonError:
        return False


def _marked(key: Any) -> dict[str, Any]:
    raw = stored.encode({"": key})
    # As text: an object may hold what looks like a wrapper and is none, and then the mark itself could not be sent.
    return {OPAQUE: base64.b64encode(raw).decode(), "shown": ejson.encode(key).decode()}
