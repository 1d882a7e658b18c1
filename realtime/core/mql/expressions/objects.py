"""Objects, their fields as arrays, and single fields by any name."""

from __future__ import annotations

from typing import Any

from realtime.core.bson.stored import Repeated, text_of
from realtime.core.bson.values import MISSING
from realtime.core.mql.expressions.arrays import array
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, form, function
from realtime.core.mql.expressions.numbers import nullish, type_name
from realtime.core.mql.expressions.outcomes import fail, unsure
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.texts import text
from realtime.core.mql.language import invalid
from realtime.core.mql.paths import WHOLE, stem

HEADING = "Object"


def document(name: str, value: Any) -> dict[str, Any]:
    """An object; fails where it is none."""
    if not isinstance(value, dict):
        fail(name, f"takes an object, not {type_name(value)}")
    if type(value) is Repeated:
        unsure(name, "has an object in which a name stands twice")
    return value


@function(HEADING, "$objectToArray", Shape(makes=True))
def object_to_array(value: Any) -> Any:
    """Its fields as objects of `k` and `v`."""
    if nullish(value):
        return None
    return [{"k": text_of(name), "v": inner} for name, inner in document("$objectToArray", value).items()]


@function(HEADING, "$arrayToObject", Shape(makes=True))
def array_to_object(value: Any) -> Any:
    """Of pairs, or of objects of `k` and `v`; of equal names the last counts."""
    if nullish(value):
        return None
    elements = array("$arrayToObject", value)
    made: dict[str, Any] = {}
    pairs = bool(elements) and type(elements[0]) is list
    for one in elements:
        key, inner = _pair(one) if pairs else _entry(one)
        if "\0" in text("$arrayToObject", key):
            fail("$arrayToObject", "takes names without NUL")
        made[key] = inner
    return made


def _pair(one: Any) -> tuple[Any, Any]:
    if type(one) is not list or len(one) != 2:
        fail("$arrayToObject", "takes pairs alone, where the first element is one")
    return one[0], one[1]


def _entry(one: Any) -> tuple[Any, Any]:
    if not isinstance(one, dict) or one.keys() != {"k", "v"}:
        fail("$arrayToObject", "takes objects of k and v, or pairs")
    return one["k"], one["v"]


# -------------------------------------------------------------------------------------------------------- single fields


def _name(compiler: Compiler, operator: str, source: Any, here: str) -> str:
    node = compiler.compile(source, here)
    # As it is written: MongoDB refuses what has yet to be computed, of constants too.
    written = not isinstance(source, dict) or next(iter(source), "") in {"$literal", "$const"}
    if not (written and node.constant) or type(node.value) is not str:
        invalid(here, f"{operator} takes a constant name (a name that begins with $ by $literal)")
    return node.value


@form(HEADING, "$getField")
def get_field(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """A field of any name; of the document where there is no `input`."""
    if not (isinstance(operand, dict) and ("field" in operand or not next(iter(operand), "").startswith("$"))):
        operand = {"field": operand, "input": "$$CURRENT"}
    given = compiler.fields(name, operand, here, needs=("field", "input"), takes=())
    field = _name(compiler, name, given["field"], f"{here}.field")
    if given["input"] in ("$$CURRENT", "$$ROOT") and given["input"][2:] not in compiler.names:
        compiler.paths.add(stem(field) if "." not in field else WHOLE)
        source = Node(lambda scope: scope.root)
    else:
        with compiler.unread():
            source = compiler.compile(given["input"], f"{here}.input")
    read = source.evaluate

    def get(scope: Scope) -> Any:
        value = read(scope)
        if nullish(value):
            return MISSING if value is MISSING else None
        return value.get(field, MISSING) if isinstance(value, dict) else MISSING

    return Node(get, nodes=1 + source.nodes)  # MongoDB does not take it for a constant, whatever it is of


@form(HEADING, "$setField", "$unsetField")
def set_field(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """An object with a field of any name set, or taken out."""
    needs = ("field", "input", "value") if name == "$setField" else ("field", "input")
    given = compiler.fields(name, operand, here, needs=needs, takes=())
    field = _name(compiler, name, given["field"], f"{here}.field")
    with compiler.unread():
        source = compiler.compile(given["input"], f"{here}.input")
        value = compiler.compile(given.get("value", "$$REMOVE"), f"{here}.value")

    def put(scope: Scope) -> Any:
        found = source.evaluate(scope)
        if nullish(found):
            return None
        inner, now = document(name, found), value.evaluate(scope)
        if now is MISSING:
            return {one: kept for one, kept in inner.items() if one != field}
        if field in source.taken and field not in inner:
            # MongoDB keeps the place of what is taken out, as long as it is the same object.
            unsure(name, "sets a field that was there, was taken out, and comes back to its place")
        return scope.made(name, {**inner, field: now})

    taken = source.taken | (frozenset() if value.constant and value.value is not MISSING else {field})
    return compiler.kept(Node(put, nodes=1 + source.nodes + value.nodes, taken=taken), [source, value], here)
