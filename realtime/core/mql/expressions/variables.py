"""Variables and literals: `$let`, `$literal`."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.expressions.compiling import Compiler, Node, constant, form
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.language import invalid

HEADING = "Variable"


@form("Literal", "$literal", "$const")
def literal(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """A value as it is."""
    return constant(operand)


def check_name(name: Any, here: str) -> str:
    """The name of a variable, as MongoDB has them; `CURRENT` may be bound anew."""
    if type(name) is not str or not name:
        invalid(here, "a variable has a name")
    if name != "CURRENT":
        first = name[0]
        if not ("a" <= first <= "z" or ord(first) > 127):
            invalid(here, f"{name!r}: the name of a variable begins with a small letter")
        if any(not (one.isascii() and one.isalnum()) and one != "_" and ord(one) < 128 for one in name):
            invalid(here, f"{name!r}: the name of a variable has letters, digits and _")
    return name


@form(HEADING, "$let")
def let(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Names for values, inside of `in`."""
    given = compiler.fields(name, operand, here, needs=("vars", "in"), takes=())
    if not isinstance(given["vars"], dict):
        invalid(f"{here}.vars", "$let takes an object of variables")
    names = [check_name(one, f"{here}.vars") for one in given["vars"]]
    values = [compiler.compile(one, f"{here}.vars.{variable}") for variable, one in given["vars"].items()]
    with compiler.bound(names) as slots:
        inner = compiler.compile(given["in"], f"{here}.in")
    if not slots:
        return inner
    pairs = tuple(zip(slots, (value.evaluate for value in values), strict=True))
    evaluate = inner.evaluate

    def inside(scope: Scope) -> Any:
        for slot, value in pairs:
            scope.variables[slot] = value(scope)
        return evaluate(scope)

    return Node(inside, nodes=1 + inner.nodes + sum(value.nodes for value in values))
