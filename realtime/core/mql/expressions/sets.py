"""Sets: arrays in which order and repetition do not count; unions and intersections are made in BSON's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from realtime.core.bson.values import Order
from realtime.core.mql.expressions.arrays import array
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, compared, form, function
from realtime.core.mql.expressions.numbers import nullish, truthy
from realtime.core.mql.expressions.outcomes import FailureError, unsure
from realtime.core.mql.language import invalid

HEADING = "Set"
_ANY = Shape(0, None, makes=True, folds="any order", lazy=True)


def _set(elements: list[Any]) -> dict[Order, Any]:
    """By their order the first of equal elements."""
    found: dict[Order, Any] = {}
    for one in elements:
        found.setdefault(compared(one), one)
    return found


def _sorted(found: dict[Order, Any]) -> list[Any]:
    return [found[key] for key in sorted(found)]


@function(HEADING, "$setUnion", _ANY)
def union(values: Iterator[Any]) -> Any:
    """What is in any of them."""
    found: dict[Order, Any] = {}
    for value in values:
        if nullish(value):
            return None
        found = {**_set(array("$setUnion", value)), **found}
    return _sorted(found)


@function(HEADING, "$setIntersection", _ANY)
def intersection(values: Iterator[Any]) -> Any:
    """What is in all of them, as the shortest has it."""
    found: dict[Order, Any] = {}
    for index, value in enumerate(values):
        if nullish(value):
            return None
        elements = _set(array("$setIntersection", value))
        if index == 0:
            found = elements
        else:
            if len(found) > len(elements):
                found, elements = elements, found
            found = {key: one for key, one in found.items() if key in elements}
    return _sorted(found)


@function(HEADING, "$setDifference", Shape(2, 2))
def difference(one: Any, other: Any) -> Any:
    """What is in the first and not in the second, once, in the first one's order."""
    if nullish(one) or nullish(other):
        return None
    elements, without = array("$setDifference", one), set(map(compared, array("$setDifference", other)))
    return [value for key, value in _set(elements).items() if key not in without]


@form(HEADING, "$setEquals")
def set_equals(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Whether they have the same elements; a constant is compared with first, as MongoDB keeps its set."""
    shape = Shape(2, None, folds="kept", lazy=True)
    parts = compiler.arguments(name, operand, here, shape)
    constants = () if compiler.as_written else [part for part in parts if part.constant]
    if any(type(part.value) is not list for part in constants):
        invalid(here, f"{name} fails whatever the document is: takes arrays, and a constant of these is none")
    first = constants[0] if constants else parts[0]
    equal = _equal if first is parts[0] else _equal_to_kept
    return applied(compiler, name, equal, [first, *(part for part in parts if part is not first)], here, shape)


def _equal(values: Iterator[Any]) -> bool:
    first = _members(next(values))
    return all(_members(value) == first for value in values)


def _equal_to_kept(values: Iterator[Any]) -> bool:
    """Not decided where one differs and another fails: MongoDB was seen to do either."""
    first, same = _members(next(values)), True
    try:
        for value in values:
            same = _members(value) == first and same
    except FailureError:
        if same:
            raise
        unsure("$setEquals", "has operands that differ and one that fails")
    return same


def _members(value: Any) -> set[Order]:
    return set(map(compared, array("$setEquals", value)))


@function(HEADING, "$setIsSubset", Shape(2, 2))
def is_subset(one: Any, other: Any) -> bool:
    """Whether all of the first is in the second."""
    return set(map(compared, array("$setIsSubset", one))) <= set(map(compared, array("$setIsSubset", other)))


@function(HEADING, "$allElementsTrue")
def all_true(value: Any) -> bool:
    """Whether every element is true."""
    return all(map(truthy, array("$allElementsTrue", value)))


@function(HEADING, "$anyElementTrue")
def any_true(value: Any) -> bool:
    """Whether an element is true."""
    return any(map(truthy, array("$anyElementTrue", value)))
