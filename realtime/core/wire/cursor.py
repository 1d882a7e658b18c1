"""Cursors of pages: where the page before ended, and the filter for what comes after it.

A cursor carries the sort keys' values of the page's last document and a checksum of them and of the query that they
belong to. The filter after it is exact in MongoDB's own order, and each of its branches is one range of an index on
the sort keys followed by `_id`:

    sort a, _id; after (5, X)     a not <= 5    or    a = 5 and _id > X

`a not <= 5` and not `a > 5`, which sees values of 5's own type alone: a value of another type would be left out without
a word. So it turns up, and the page is refused. `_id` may be of any type: $expr compares over all of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from bson.code import Code
from bson.dbref import DBRef
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex

from realtime.core.bson import ejson, keys
from realtime.core.bson.stored import UNDEFINED_VALUE, OddRegex
from realtime.core.bson.values import MISSING, is_nan, order
from realtime.errors import InvalidRequestError

MAX_KEYS = 8
"""Sort keys before `_id`; each is a branch of the filter."""
MAX_CHARACTERS = 4096
_CHECKSUM = 16
_FIELD = {"field": "after"}
_UNSAYABLE = "what JSON cannot say exactly"
_FOREIGN = "after: not a cursor of this query: it goes with the same collection, filter and sort that it came from"

Sort = Mapping[str, int]


def sort_keys(sort: Sort) -> dict[str, int]:
    """The keys up to `_id`, which decides by itself: what follows it never matters."""
    names = list(sort)
    return {path: sort[path] for path in names[: names.index("_id") + 1]}


def cursor(query: bytes, sort: Sort, documents: Sequence[Mapping[str, Any]]) -> str:
    """The cursor after the last of a page's documents; `query` names what the page was asked with.

    Where the page shows that its order cannot be gone on in, the cursor says why, to whoever uses it.
    """
    values = [_value(documents[-1], path) for path in sort_keys(sort)]
    odd = _odd(sort, values, documents)
    if odd is None and keys.shown_key(values[-1]) is not values[-1]:
        odd = "_id", _UNSAYABLE
    if odd is not None:
        return _pack(query, {"path": odd[0], "reason": odd[1]})
    packed = _pack(query, {"values": values})
    return (
        packed if len(packed) <= MAX_CHARACTERS else _pack(query, {"path": "", "reason": "larger than a cursor takes"})
    )


def values_of(text: str, query: bytes, sort: Sort) -> list[Any]:
    """The values that a cursor of this query carries. `InvalidRequestError` for any other text."""
    keys = sort_keys(sort)
    content = _unpack(text, query)
    if isinstance(content, dict) and isinstance(content.get("reason"), str):
        raise _refused(str(content.get("path")), content["reason"])
    # The checksum is no secret: what it covers may have been made by anybody.
    values: Any = content.get("values") if isinstance(content, dict) else None
    if not isinstance(values, list) or len(values) != len(keys) or any(map(_unusable, keys, values)):
        _invalid(_FOREIGN)
    if len(keys) - 1 > MAX_KEYS:
        _invalid(f"after: at most {MAX_KEYS} sort keys before _id")
    return values


def following(selection: dict[str, Any], sort: Sort, values: list[Any]) -> dict[str, Any]:
    """The filter for what matches `selection` and comes after these values, in the order of `sort`."""
    keys = list(sort_keys(sort).items())
    branches = []
    for place, (path, direction) in enumerate(keys):
        parts = [{name: {"$eq": value}} for (name, _), value in zip(keys[:place], values, strict=False)]
        parts.append(_beyond(path, direction, values[place]))
        # The query's own filter goes into each branch, so that MongoDB plans each of them by itself.
        branches.append({"$and": [*([selection] if selection else []), *parts]})
    return branches[0] if len(branches) == 1 else {"$or": branches}


def check(sort: Sort, values: list[Any], documents: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a page whose sort keys are not scalars of the cursor's own types: its order cannot be gone on in."""
    odd = _odd(sort, values, documents)
    if odd is not None:
        raise _refused(*odd)


def _odd(sort: Sort, values: list[Any], documents: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The first sort key that is no scalar of its value's type in some document, and what it is there."""
    for path, value in zip(list(sort_keys(sort))[:-1], values, strict=False):
        bracket = order(value)[0]
        for document in documents:
            found = _value(document, path)
            reason = _unusable(path, found)
            if reason is None and order(found)[0] != bracket:
                reason = "of several types"
            if reason is not None:
                return path, reason
    return None


def _beyond(path: str, direction: int, value: Any) -> dict[str, Any]:
    if path == "_id":
        return {"$expr": {"$gt" if direction == 1 else "$lt": ["$_id", {"$literal": value}]}}
    return {path: {"$not": {"$lte" if direction == 1 else "$gte": value}}}


def _value(document: Mapping[str, Any], path: str) -> Any:
    """What stands at a path; a list where one is on the way."""
    value: Any = document
    for part in path.split("."):
        if isinstance(value, list):
            return value
        value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def _unusable(path: str, value: Any) -> str | None:
    """Why a page cannot be gone on from this value of a sort key; None where it can."""
    if path == "_id":
        return None
    if value is None or value is MISSING or value is UNDEFINED_VALUE:
        return "null or missing"
    if isinstance(value, list):
        return "a list"
    if is_nan(value):
        return "not a number (NaN)"
    if isinstance(value, Mapping | Regex | OddRegex | Code | DBRef | MinKey | MaxKey):
        return "no scalar"
    return None if keys.shown_key(value) is value else _UNSAYABLE


def _refused(path: str, reason: str) -> InvalidRequestError:
    named = f"the sort key {path!r}" if path else "a sort key"
    return InvalidRequestError(
        f"after: {named} is {reason} in a document: `after` serves sorts on _id and on keys that hold scalars of one "
        "type; use skip, or a filter that leaves such documents out",
        details={**_FIELD, "path": path},
    )


def _invalid(message: str) -> NoReturn:
    raise InvalidRequestError(message, details=_FIELD)


def _pack(query: bytes, content: dict[str, Any]) -> str:
    text = ejson.encode(content)
    return base64.urlsafe_b64encode(_checksum(query, text) + text).decode().rstrip("=")


def _unpack(text: str, query: bytes) -> Any:
    if len(text) > MAX_CHARACTERS:
        _invalid(_FOREIGN)
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        content = packed[_CHECKSUM:]
        if packed[:_CHECKSUM] != _checksum(query, content):
            _invalid(_FOREIGN)
        return ejson.decode(content)
    except ValueError:
        _invalid(_FOREIGN)


def _checksum(query: bytes, content: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(query).digest() + content).digest()[:_CHECKSUM]
