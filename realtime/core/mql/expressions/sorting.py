"""`$sortArray`: by the elements themselves, or by paths into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.core.bson.values import MISSING, Order, order
from realtime.core.mql.expressions.arrays import HEADING, array
from realtime.core.mql.expressions.compiling import Compiler, Node, compared, form
from realtime.core.mql.expressions.numbers import as_long, nullish
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.language import invalid


@form(HEADING, "$sortArray")
def sort_array(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Sorted; what is equal keeps its order. By paths an array is one value, and not its elements as in `find`."""
    given = compiler.fields(name, operand, here, needs=("input", "sortBy"), takes=())
    source = compiler.compile(given["input"], f"{here}.input")
    pattern = given["sortBy"]
    if isinstance(pattern, dict):
        pairs = [(path, _direction(one, f"{here}.sortBy.{path}")) for path, one in pattern.items()]
        if not pairs or any(not path or path[0] == "$" or ".." in f".{path}." for path, _ in pairs):
            invalid(f"{here}.sortBy", "takes 1, -1, or an object of paths with 1 or -1")
        keys = [(_by_path(path), direction) for path, direction in pairs]
    else:
        keys = [(compared, _direction(pattern, f"{here}.sortBy"))]

    def ordered(scope: Scope) -> Any:
        value = source.evaluate(scope)
        if nullish(value):
            return None
        elements = array(name, value)
        scope.step(name, len(elements) // 4)
        for key, direction in reversed(keys):
            elements = sorted(elements, key=key, reverse=direction < 0)
        return elements

    return compiler.kept(Node(ordered, nodes=1 + source.nodes), [source], here)


def _by_path(path: str) -> Callable[[Any], Order]:
    """The place of an element by the value at a path into it; what it does not have is as null, and so is no object."""
    names = path.split(".")
    steps = [(name, ".".join(names[index:])) for index, name in enumerate(names)]

    def key(element: Any) -> Order:
        node = element if isinstance(element, dict) else MISSING
        for name, rest in steps:
            # A name with dots in it goes before the way through objects.
            found = _field(node, rest)
            if found is not MISSING:
                return order(found)
            node = _field(node, name)
        return order(MISSING)

    return key


def _field(node: Any, name: str) -> Any:
    """A field of an object, or an element of an array by its number."""
    if isinstance(node, dict):
        return node.get(name, MISSING)
    if type(node) is not list or not (name.isascii() and name.isdigit() and len(name) < 10):
        return MISSING
    place = int(name)
    return node[place] if str(place) == name and place < len(node) else MISSING


def _direction(value: Any, here: str) -> int:
    number = as_long(value)
    if number not in {1, -1}:
        invalid(here, "a direction is 1 or -1")
    return int(number or 1)
