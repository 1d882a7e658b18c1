"""Arrays, element by element: `$map`, `$filter`, `$reduce`, `$zip`, `$range`. Each element is a step for each part."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from realtime.core.bson.values import MISSING
from realtime.core.mql.expressions.arrays import HEADING, array, place
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form
from realtime.core.mql.expressions.numbers import nullish, truthy
from realtime.core.mql.expressions.outcomes import fail, unsure
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.variables import check_name
from realtime.core.mql.language import invalid, unsupported


@form(HEADING, "$map")
def map_of(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """What is made of each element."""
    given = compiler.fields(name, operand, here, needs=("input", "in"), takes=("as",))
    source = compiler.compile(given["input"], f"{here}.input")
    variable = check_name(given.get("as", "this"), f"{here}.as")
    with compiler.loop(name, here), compiler.bound([variable]) as (slot,):
        body = compiler.compile(given["in"], f"{here}.in")
    evaluate, read, cost = body.evaluate, source.evaluate, body.nodes

    def each(scope: Scope) -> Any:
        value = read(scope)
        if nullish(value):
            return None
        elements, made = array(name, value), []
        scope.step(name, cost * len(elements))
        for element in elements:
            scope.variables[slot] = element
            one = evaluate(scope)
            made.append(None if one is MISSING else one)
        return scope.made(name, made)

    return Node(each, nodes=1 + source.nodes + body.nodes)


@form(HEADING, "$filter")
def filter_of(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The elements for which the condition is true, at most `limit` of them."""
    given = compiler.fields(name, operand, here, needs=("input", "cond"), takes=("as", "limit"))
    source = compiler.compile(given["input"], f"{here}.input")
    limit = compiler.compile(given.get("limit"), f"{here}.limit")
    variable = check_name(given.get("as", "this"), f"{here}.as")
    with compiler.loop(name, here), compiler.bound([variable]) as (slot,):
        body = compiler.compile(given["cond"], f"{here}.cond")
    evaluate, read, cost = body.evaluate, source.evaluate, body.nodes

    def each(scope: Scope) -> Any:
        value = read(scope)
        if nullish(value):
            return None
        elements, made = array(name, value), list[Any]()
        if not elements:
            return made
        most = _limit(name, limit.evaluate(scope), len(elements))
        for element in elements:
            scope.step(name, cost)
            scope.variables[slot] = element
            if truthy(evaluate(scope)):
                made.append(element)
                if len(made) == most:
                    break
        return made

    return Node(each, nodes=1 + source.nodes + body.nodes + limit.nodes)


def _limit(name: str, value: Any, elements: int) -> int:
    if nullish(value):
        return elements
    most = place(name, value)
    if most < 1:
        fail(name, "takes a limit above zero")
    return most


@form(HEADING, "$reduce")
def reduce_of(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """One value of all elements, each put to what the ones before it gave."""
    given = compiler.fields(name, operand, here, needs=("input", "initialValue", "in"), takes=())
    source = compiler.compile(given["input"], f"{here}.input")
    initial = compiler.compile(given["initialValue"], f"{here}.initialValue")
    with compiler.loop(name, here), compiler.bound(["this", "value"]) as (this, so_far):
        body = compiler.compile(given["in"], f"{here}.in")
    evaluate, read, begin, cost = body.evaluate, source.evaluate, initial.evaluate, body.nodes

    def each(scope: Scope) -> Any:
        value = read(scope)
        if nullish(value):
            return None
        elements, made = array(name, value), begin(scope)
        scope.step(name, cost * len(elements))
        for element in elements:
            scope.variables[this], scope.variables[so_far] = element, made
            made = scope.made(name, evaluate(scope))
        return made

    return Node(each, nodes=1 + source.nodes + initial.nodes + body.nodes)


@form(HEADING, "$zip")
def zip_of(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The first elements of all arrays, the second ones, and so on."""
    given = compiler.fields(name, operand, here, needs=("inputs",), takes=("useLongestLength", "defaults"))
    inputs, defaults = given["inputs"], given.get("defaults")
    longest = given.get("useLongestLength", False)
    if not isinstance(inputs, list) or not inputs:
        invalid(f"{here}.inputs", "$zip takes a list of at least one array")
    if not isinstance(longest, bool):
        invalid(f"{here}.useLongestLength", "takes true or false")
    if defaults is not None and (not isinstance(defaults, list) or len(defaults) != len(inputs) or not longest):
        invalid(f"{here}.defaults", "takes as many defaults as arrays, with useLongestLength: true")
    parts = [compiler.compile(one, f"{here}.inputs.{index}") for index, one in enumerate(inputs)]
    fills = [compiler.compile(one, f"{here}.defaults.{index}") for index, one in enumerate(defaults or [])]

    def pairs(scope: Scope) -> Any:
        arrays = []
        for part in parts:
            one = part.evaluate(scope)
            if nullish(one):
                return None
            arrays.append(array(name, one))
        filled = [fill.evaluate(scope) for fill in fills] or [None] * len(arrays)
        if any(one is MISSING for one in filled):
            unsure(name, "has a default that is missing")
        if not longest:
            return scope.made(name, [list(one) for one in zip(*arrays, strict=False)])
        rows = zip_longest(*arrays, fillvalue=MISSING)
        made = [[filled[at] if one is MISSING else one for at, one in enumerate(row)] for row in rows]
        return scope.made(name, made)

    everything = [*parts, *fills]
    return compiler.kept(Node(pairs, nodes=1 + sum(part.nodes for part in everything)), everything, here)


@form(HEADING, "$range")
def range_of(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Whole numbers; of constants, so that no document makes it long."""
    shape = Shape(2, 3, makes=True)
    parts = compiler.arguments(name, operand, here, shape)
    if not all(part.constant for part in parts):
        unsupported(name, here, "takes constants here: a document could make it as long as it likes")
    return applied(compiler, name, _counting(compiler.bounds.elements), parts, here, shape)


def _counting(most: int) -> Callable[..., list[int]]:
    def count(*given: Any) -> list[int]:
        start, end, *rest = (place("$range", one) for one in given)
        step = rest[0] if rest else 1
        if step == 0:
            fail("$range", "takes a step that is not 0")
        numbers = range(start, end, step)
        if len(numbers) > most:
            fail("$range", f"makes at most {most} numbers here")
        return list(numbers)

    return count
