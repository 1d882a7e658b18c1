"""The words of the filter language: which operators are compiled, which are refused and why, and how that is said.

docs/operators.md is made from these tables (`python -m tests.operators_page`).
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from realtime.core.bson import ejson
from realtime.errors import InvalidFilterError, UnsupportedOperatorError

LOGICAL: Final = {
    "$and": "every one of a list of filters",
    "$or": "at least one of a list of filters",
    "$nor": "none of a list of filters",
}
BITS: Final = {
    "$bitsAllSet": "all of these bits of a number or of binary data are 1",
    "$bitsAllClear": "all of these bits are 0",
    "$bitsAnySet": "one of these bits is 1",
    "$bitsAnyClear": "one of these bits is 0",
}
COMPARISONS: Final = {
    "$gt": "greater, among values of the operand's type",
    "$gte": "greater or equal",
    "$lt": "less",
    "$lte": "less or equal",
}
FIELD_OPERATORS: Final = {
    "$eq": "equal; numbers by value, null also where there is no such field",
    "$ne": "not equal",
    **COMPARISONS,
    "$in": "equal to one of a list, or matched by a regular expression in it",
    "$nin": "not `$in`",
    "$not": "not these operators, or not this regular expression",
    "$exists": "there is such a field",
    "$type": "of one of these BSON types, by number or name; `number` is all four",
    "$regex": "a regular expression finds something; see below",
    "$options": "options of `$regex`: `i`, `m`, `s`",
    "$mod": "divided by the first number the second one remains",
    "$size": "an array of this length",
    "$all": "an array with all of these, or the one value; also with `$elemMatch`",
    "$elemMatch": "an array with one element that does all of this: operators, or a filter for objects",
    **BITS,
}
COMMENT: Final = "$comment"
EXPRESSION: Final = "$expr"
SCHEMA: Final = "$jsonSchema"
BESIDE_FIELDS: Final = frozenset({COMMENT, EXPRESSION, SCHEMA})
"""What stands where a field could, and is neither a field nor made of filters."""

_CODE = "runs code inside MongoDB"
_GEO = "needs a sphere's geometry, and some of it an index"
_INDEX = "needs an index"
_CHANCE = "is decided by chance, so no view of it could be exact"
REFUSED: Final = {
    "$where": _CODE,
    "$function": _CODE,
    "$accumulator": _CODE,
    "$text": _INDEX,
    "$near": _GEO,
    "$nearSphere": _GEO,
    "$geoNear": _GEO,
    "$geoWithin": _GEO,
    "$geoIntersects": _GEO,
    "$within": _GEO,
    "$sampleRate": _CHANCE,
    "$rand": _CHANCE,
    "$alwaysTrue": "is not in MongoDB's manual",
    "$alwaysFalse": "is not in MongoDB's manual",
    "$ref": "is a field of a DBRef: use a path to it, such as `link.$ref`",
    "$id": "is a field of a DBRef: use a path to it, such as `link.$id`",
    "$db": "is a field of a DBRef: use a path to it, such as `link.$db`",
}
"""By name, with the reason. Every other name is refused as well."""

BSON_TYPES: Final = {
    "double": 1,
    "string": 2,
    "object": 3,
    "array": 4,
    "binData": 5,
    "undefined": 6,
    "objectId": 7,
    "bool": 8,
    "date": 9,
    "null": 10,
    "regex": 11,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
    "int": 16,
    "timestamp": 17,
    "long": 18,
    "decimal": 19,
    "minKey": -1,
    "maxKey": 127,
}
"""What `$type` knows, by MongoDB's numbers."""
NUMBER_TYPES: Final = frozenset({1, 16, 18, 19})


REFERENCE: Final = frozenset({"$ref", "$id", "$db"})
"""The fields of a DBRef: names, although they look like operators."""


def unsupported(name: str, here: str, reason: str | None = None) -> NoReturn:
    """Refuse an operator by name and path; the message says why, and for a name what there is instead."""
    why = reason or REFUSED.get(name)
    message = f"{name}{'' if here == name else f' at {here}'} is not supported" + (f": it {why}" if why else "")
    if reason is None:
        message += f"; what is: {', '.join(sorted({*LOGICAL, *BESIDE_FIELDS, *FIELD_OPERATORS}))}"
    raise UnsupportedOperatorError(message, details={"operator": name, "path": here})


def invalid(here: str, reason: str) -> NoReturn:
    """Refuse what MongoDB would refuse too."""
    raise InvalidFilterError(f"{reason} (at {here or 'the top'})", details={"path": here})


def kind(value: Any) -> str:
    """A value in a message: its type and the beginning of its text."""
    return "null" if value is None else f"{type(value).__name__} {ejson.encode(value).decode()[:40]}"


def is_reference(value: dict[str, Any]) -> bool:
    """A DBRef written as an object: a value, although its names begin with $."""
    return "$ref" in value and "$id" in value


def is_operators(value: Any) -> bool:
    """An object whose first field is an operator; `{}` and a DBRef are values."""
    return isinstance(value, dict) and bool(value) and next(iter(value)).startswith("$") and not is_reference(value)
