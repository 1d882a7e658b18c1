"""What may be written: documents without operators, and update operators of an allow-list."""

from __future__ import annotations

from typing import Any, NoReturn

from realtime.core.bson import keys
from realtime.core.bson.ejson import MAX_DEPTH, depth
from realtime.core.mql.filters import Bounds, compile_filter, holds_expression
from realtime.core.mql.language import EXPRESSION, REFERENCE, is_operators
from realtime.errors import InvalidRequestError, InvalidUpdateError, UnsupportedOperatorError

OPERATORS = frozenset(
    {
        "$set",
        "$unset",
        "$setOnInsert",
        "$inc",
        "$mul",
        "$min",
        "$max",
        "$rename",
        "$currentDate",
        "$push",
        "$addToSet",
        "$pop",
        "$pull",
        "$pullAll",
        "$bit",
    }
)
_MODIFIERS = frozenset({"$each", "$position", "$slice", "$sort"})


def check_document(document: Any) -> None:
    """Refuse field names that MongoDB would take for operators, at any depth; `details.field` names the first.

    And a document that is nested deeper than MongoDB stores. `TooLargeError` for an `_id` over `keys.KEY_BYTES`.
    """
    _plain(document, "document")
    if depth(document) > MAX_DEPTH:
        raise InvalidRequestError(f"document: nested deeper than {MAX_DEPTH}", details={"field": "document"})
    if isinstance(document, dict) and "_id" in document:
        keys.check_length(document["_id"], "document._id")


def check_update(update: Any, bounds: Bounds | None = None) -> None:
    """Refuse everything but allow-listed operators on named paths.

    Raises `InvalidUpdateError` or `UnsupportedOperatorError` with the path in `details`.
    """
    if not isinstance(update, dict) or not update:
        _invalid("", 'an update is an object of operators, as {"$set": {…}}')
    for name, fields in update.items():
        if not name.startswith("$"):
            _invalid(
                name,
                f'not an operator: to set fields use {{"$set": {{"{name}": …}}}}, to replace the document use replace',
            )
        if name not in OPERATORS:
            _unsupported(name, name)
        if not isinstance(fields, dict):
            _invalid(name, "takes an object of paths")
        for path, operand in fields.items():
            _check_path(path, f"{name}.{path}")
            _check_operand(name, operand, f"{name}.{path}", bounds)


def _check_path(path: str, here: str) -> None:
    if not path or "\0" in path or any(not part for part in path.split(".")):
        _invalid(here, "an empty path component")
    if "$" in path:
        # `a.$` and `a.$[]` need a query on the array, which a write by key does not have.
        _unsupported(next(part for part in path.split(".") if "$" in part), here)


def _check_operand(name: str, operand: Any, here: str, bounds: Bounds | None) -> None:
    if name == "$pull":
        # A condition on the element: a document of conditions, operators, or a plain value.
        condition = operand if isinstance(operand, dict) and not is_operators(operand) else {"element": operand}
        compile_filter(condition, bounds)
        if any(holds_expression(*one) for one in condition.items()):
            _unsupported(EXPRESSION, f"{here}.{EXPRESSION}")
    elif name == "$currentDate":
        if operand not in (True, {"$type": "date"}, {"$type": "timestamp"}):
            _invalid(here, 'takes true, {"$type": "date"} or {"$type": "timestamp"}')
    elif name == "$bit":
        if not isinstance(operand, dict) or not operand or operand.keys() - {"and", "or", "xor"}:
            _invalid(here, "takes and, or, xor")
    elif name in {"$push", "$addToSet"} and is_operators(operand) and next(iter(operand)) not in REFERENCE:
        for modifier, value in operand.items():
            if modifier not in _MODIFIERS:
                _unsupported(modifier, f"{here}.{modifier}")
            _plain(value, f"{here}.{modifier}")
    else:
        _plain(operand, here)


def _plain(value: Any, here: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            where = f"{here}.{name}"
            if name.startswith("$") and name not in REFERENCE:
                raise InvalidRequestError(f"a stored field cannot start with $ (at {where})", details={"field": where})
            if "\0" in name:
                raise InvalidRequestError("a field name has no NUL character", details={"field": where})
            _plain(inner, where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _plain(inner, f"{here}.{index}")


def _unsupported(name: str, here: str) -> NoReturn:
    known = ", ".join(sorted(OPERATORS))
    raise UnsupportedOperatorError(
        f"{name}{'' if here == name else f' at {here}'} is not supported; what is: {known}",
        details={"operator": name, "path": here},
    )


def _invalid(here: str, reason: str) -> NoReturn:
    raise InvalidUpdateError(f"{reason} (at {here or 'the top'})", details={"path": here})
