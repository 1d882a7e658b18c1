"""Arrays: their elements, parts, and what is made of each element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from realtime.core.bson.values import MISSING
from realtime.core.mql.expressions.comparison import same
from realtime.core.mql.expressions.compiling import Shape, function
from realtime.core.mql.expressions.numbers import as_int, is_number, nullish, type_name
from realtime.core.mql.expressions.outcomes import fail

HEADING = "Array"


def array(name: str, value: Any) -> list[Any]:
    """An array; fails where it is none."""
    if type(value) is not list:
        fail(name, f"takes an array, not {type_name(value)}")
    return value


def place(name: str, value: Any) -> int:
    """A whole number of 32 bits; fails where it is none."""
    number = as_int(value)
    if number is None:
        what = "a number that is not whole, or too large" if is_number(value) else type_name(value)
        fail(name, f"takes a whole number of 32 bits, not {what}")
    return number


@function(HEADING, "$arrayElemAt", Shape(2, 2))
def array_elem_at(value: Any, at: Any) -> Any:
    """By place, from the end below zero; missing past the ends."""
    if nullish(value) or nullish(at):
        return None
    elements, index = array("$arrayElemAt", value), place("$arrayElemAt", at)
    return elements[index] if -len(elements) <= index < len(elements) else MISSING


def _end(name: str, at: int) -> None:
    @function(HEADING, name)
    def end(value: Any) -> Any:
        if nullish(value):
            return None
        elements = array(name, value)
        return elements[at] if elements else MISSING


_end("$first", 0)
_end("$last", -1)


@function(HEADING, "$concatArrays", Shape(0, None, makes=True, folds="ordered", lazy=True))
def concat_arrays(values: Iterator[Any]) -> Any:
    """One after the other."""
    made: list[Any] = []
    for value in values:
        if nullish(value):
            return None
        made += array("$concatArrays", value)
    return made


@function(HEADING, "$size")
def size(value: Any) -> int:
    """How many elements; fails where there is no array."""
    return len(array("$size", value))


@function(HEADING, "$isArray")
def is_array(value: Any) -> bool:
    """Whether it is an array."""
    return type(value) is list


@function(HEADING, "$in", Shape(2, 2))
def is_in(value: Any, among: Any) -> bool:
    """Whether an array has such an element."""
    return any(same(value, one) for one in array("$in", among))


@function(HEADING, "$reverseArray")
def reverse_array(value: Any) -> Any:
    """From the end."""
    return None if nullish(value) else array("$reverseArray", value)[::-1]


@function(HEADING, "$slice", Shape(2, 3))
def slice_of(value: Any, *given: Any) -> Any:
    """The first or last so many, or so many from a place on."""
    if nullish(value) or nullish(given[0]):
        return None
    elements, start = array("$slice", value), place("$slice", given[0])
    if len(given) == 1:
        return elements[:start] if start >= 0 else elements[start:]
    if nullish(given[1]):
        return None
    count = place("$slice", given[1])
    if count <= 0:
        fail("$slice", "takes more than no elements from a place on")
    start = max(0, len(elements) + start) if start < 0 else start
    return elements[start : start + count]


@function(HEADING, "$indexOfArray", Shape(2, 4, lazy=True))
def index_of_array(values: Iterator[Any]) -> Any:
    """The first place of an equal element, or -1."""
    value = next(values)
    if nullish(value):
        return None
    wanted, *given = values
    elements = array("$indexOfArray", value)
    start, end = bounds("$indexOfArray", given, len(elements))
    return next((index for index in range(start, end) if same(elements[index], wanted)), -1)


def bounds(name: str, given: list[Any], length: int) -> tuple[int, int]:
    """From a first place to before a last one."""
    numbers = [place(name, one) for one in given]
    if any(number < 0 for number in numbers):
        fail(name, "takes places that are not below zero")
    start, end = (*numbers, *(0, length)[len(numbers) :])
    return start, min(end, length)
