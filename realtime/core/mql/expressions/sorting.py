"""`$sortArray`: by the elements themselves, or by paths into them."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.expressions.arrays import HEADING, array
from realtime.core.mql.expressions.compiling import Compiler, Node, compared, form
from realtime.core.mql.expressions.numbers import as_long, nullish
from realtime.core.mql.expressions.outcomes import unsure
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.language import invalid
from realtime.core.mql.sorting import UnsortableError, compile_sort


@form(HEADING, "$sortArray")
def sort_array(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Sorted; what is equal keeps its order."""
    given = compiler.fields(name, operand, here, needs=("input", "sortBy"), takes=())
    source = compiler.compile(given["input"], f"{here}.input")
    pattern = given["sortBy"]
    if isinstance(pattern, dict):
        pairs = [(path, _direction(one, f"{here}.sortBy.{path}")) for path, one in pattern.items()]
        if not pairs or any(not path or path[0] == "$" or ".." in f".{path}." for path, _ in pairs):
            invalid(f"{here}.sortBy", "takes 1, -1, or an object of paths with 1 or -1")
        by_paths = compile_sort(pairs)
    else:
        direction = _direction(pattern, f"{here}.sortBy")

    def ordered(scope: Scope) -> Any:
        value = source.evaluate(scope)
        if nullish(value):
            return None
        elements = array(name, value)
        scope.step(name, len(elements) // 4)
        if not isinstance(pattern, dict):
            return sorted(elements, key=compared, reverse=direction < 0)
        try:
            return sorted(elements, key=lambda one: by_paths(one if isinstance(one, dict) else {}))
        except UnsortableError as error:
            unsure(name, str(error))

    return compiler.folded(Node(ordered, nodes=1 + source.nodes), [source], here)


def _direction(value: Any, here: str) -> int:
    number = as_long(value)
    if number not in {1, -1}:
        invalid(here, "a direction is 1 or -1")
    return int(number or 1)
