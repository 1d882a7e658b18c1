"""Booleans. MongoDB's optimizer, where it looks, decides `$and` and `$or` by their constants first."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, constant, form, function
from realtime.core.mql.expressions.numbers import truthy
from realtime.core.mql.expressions.scope import Scope

HEADING = "Boolean"


@form(HEADING, "$and", "$or")
def connective(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """True where all are, or one is; the rest is not evaluated once that is known."""
    decides = name == "$or"
    parts = compiler.arguments(name, operand, here, Shape(0, None))
    nodes = 1 + sum(part.nodes for part in parts)
    if not compiler.as_written and any(part.constant and truthy(part.value) is decides for part in parts):
        return constant(decides, nodes)
    evaluates = tuple(part.evaluate for part in parts if compiler.as_written or not part.constant)
    if not evaluates:
        return constant(not decides, nodes)

    def decide(scope: Scope) -> bool:
        for evaluate in evaluates:
            if truthy(evaluate(scope)) is decides:
                return decides
        return not decides

    return Node(decide, nodes=nodes)


@function(HEADING, "$not")
def negation(value: Any) -> bool:
    """The other way round."""
    return not truthy(value)
