"""Conditional: only what is chosen is evaluated."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, form
from realtime.core.mql.expressions.numbers import nullish, truthy
from realtime.core.mql.expressions.outcomes import fail
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.language import invalid

HEADING = "Conditional"
_PARTS = ("if", "then", "else")


@form(HEADING, "$cond")
def cond(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """`[if, then, else]`, or an object of them."""
    if isinstance(operand, dict):
        given = compiler.fields(name, operand, here, needs=_PARTS, takes=())
        operand = [given[one] for one in _PARTS]
    parts = compiler.arguments(name, operand, here, Shape(3, 3))
    if parts[0].constant and not compiler.as_written:
        return parts[1 if truthy(parts[0].value) else 2]
    condition, then, otherwise = (part.evaluate for part in parts)
    node = Node(
        lambda scope: then(scope) if truthy(condition(scope)) else otherwise(scope),
        nodes=1 + sum(part.nodes for part in parts),
    )
    return compiler.folded(node, parts, here)


@form(HEADING, "$ifNull")
def if_null(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The first that is not null, undefined or missing; else the last."""
    parts = compiler.arguments(name, operand, here, Shape(2, None))
    if not compiler.as_written:
        parts = _without_what_does_not_count(parts)
        if len(parts) == 1:
            return parts[0]
    *tried, last = (part.evaluate for part in parts)

    def first(scope: Scope) -> Any:
        for evaluate in tried:
            value = evaluate(scope)
            if not nullish(value):
                return value
        return last(scope)

    return compiler.folded(Node(first, nodes=1 + sum(part.nodes for part in parts)), parts, here)


def _without_what_does_not_count(parts: list[Node]) -> list[Node]:
    """MongoDB's optimizer takes out constants that are null, but a last one, and what is behind another constant."""
    kept: list[Node] = []
    for part in parts[:-1]:
        if not part.constant or not nullish(part.value):
            kept.append(part)
        if part.constant and not nullish(part.value):
            return kept
    return [*kept, parts[-1]]


@form(HEADING, "$switch")
def switch(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The first branch whose case is true, or the default; without one it fails."""
    given = compiler.fields(name, operand, here, needs=("branches",), takes=("default",))
    branches = given["branches"]
    if not isinstance(branches, list) or not branches:
        invalid(here, "$switch takes a list of at least one branch")
    parts: list[Node] = []
    for index, branch in enumerate(branches):
        where = f"{here}.branches.{index}"
        one = compiler.fields(name, branch, where, needs=("case", "then"), takes=())
        parts += [compiler.compile(one["case"], f"{where}.case"), compiler.compile(one["then"], f"{where}.then")]
    default = compiler.compile(given["default"], f"{here}.default") if "default" in given else None
    if not compiler.as_written:
        parts, default = _without_what_is_decided(parts, default)
        if not parts and default is not None:
            return default
    pairs = [(parts[at].evaluate, parts[at + 1].evaluate) for at in range(0, len(parts), 2)]

    def choose(scope: Scope) -> Any:
        for case, then in pairs:
            if truthy(case(scope)):
                return then(scope)
        if default is None:
            fail("$switch", "has no branch for it, and no default")
        return default.evaluate(scope)

    everything = [*parts, *([default] if default is not None else [])]
    return compiler.folded(Node(choose, nodes=1 + sum(part.nodes for part in everything)), everything, here)


def _without_what_is_decided(parts: list[Node], default: Node | None) -> tuple[list[Node], Node | None]:
    """Branches without those whose case is a constant: one that is false is gone, one that is true ends all."""
    kept: list[Node] = []
    for case, then in zip(parts[::2], parts[1::2], strict=True):
        if not case.constant:
            kept += [case, then]
        elif truthy(case.value):
            return kept, then
    return kept, default
