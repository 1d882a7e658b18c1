"""Accumulators as expressions: of their arguments, or of the elements of the only one."""

from __future__ import annotations

import math
from bisect import insort_right
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from operator import itemgetter
from typing import Any

from bson.int64 import Int64

from realtime.core.bson.values import Order
from realtime.core.mql.expressions.arrays import array
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, compared, form
from realtime.core.mql.expressions.numbers import (
    CONTEXT,
    DECIMAL,
    DOUBLE,
    LONG,
    NONE,
    as_double,
    as_long,
    decimal128,
    int_or_long,
    is_number,
    kind_of,
    nullish,
)
from realtime.core.mql.expressions.objects import document
from realtime.core.mql.expressions.outcomes import fail
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.summing import DoubleDouble

HEADING = "Accumulator"
Values = list[Any]


def _accumulator(name: str, of: Callable[[Values], Any], folds: str = "nothing") -> None:
    shape = Shape(0, None, makes=name == "$mergeObjects", folds=folds)

    def call(*values: Any) -> Any:
        return of(values[0] if len(values) == 1 and type(values[0]) is list else list(values))

    @form(HEADING, name)
    def accumulate(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
        parts = compiler.arguments(name, operand, here, shape)
        # Of a single one the elements may be meant: it goes into no other one, and no other one into it.
        return applied(compiler, name, call, parts, here, shape if len(parts) > 1 else replace(shape, folds="nothing"))


def _total(values: Values) -> tuple[DoubleDouble, Decimal, int, int]:
    """The sum of doubles and whole numbers, of decimals, the widest kind, and how many numbers there are."""
    total, decimals, kind, count = DoubleDouble(), Decimal(0), NONE, 0
    for value in values:
        one = kind_of(value)
        if one == NONE:
            continue
        kind, count = max(kind, one), count + 1
        if one == DECIMAL:
            decimals = CONTEXT.add(decimals, value.to_decimal())
        else:
            total.add(value, one)
    return total, decimals, kind, count


def sum_of(values: Values) -> Any:
    """Of the numbers among them."""
    total, decimals, kind, _ = _total(values)
    if kind == DECIMAL:
        return decimal128(CONTEXT.add(decimals, total.decimal()))
    if kind != DOUBLE and (exact := total.long()) is not None:
        return Int64(exact) if kind == LONG else int_or_long(exact)
    return total.double()


def average_of(values: Values) -> Any:
    """Of the numbers among them, null without one."""
    total, decimals, kind, count = _total(values)
    if not count:
        return None
    if kind == DECIMAL:
        return decimal128(CONTEXT.divide(CONTEXT.add(decimals, total.decimal()), Decimal(count)))
    return total.double() / count


def _extreme(better: Callable[[Any, Any], bool]) -> Callable[[Values], Any]:
    def extreme(values: Values) -> Any:
        best, place = None, None
        for value in values:
            if nullish(value):
                continue
            here = compared(value)
            if place is None or better(here, place):
                best, place = value, here
        return best

    return extreme


def _deviation(*, sample: bool) -> Callable[[Values], Any]:
    def deviation(values: Values) -> Any:
        count, mean, squares = 0, 0.0, 0.0
        for value in values:
            if not is_number(value):
                continue
            number = as_double(value)
            count += 1
            delta = number - mean
            mean += delta / count
            squares += delta * (number - mean)
        if count - sample < 1:
            return None
        variance = squares / (count - sample)
        return math.sqrt(variance) if variance >= 0 else math.nan

    return deviation


def merged(values: Values) -> dict[str, Any]:
    """The fields of all of them; of equal names the last counts, at the place of the first."""
    made: dict[str, Any] = {}
    for value in values:
        if not nullish(value):
            made.update(document("$mergeObjects", value))
    return made


_accumulator("$sum", sum_of, "any order")
_accumulator("$avg", average_of)
_accumulator("$max", _extreme(lambda one, best: one > best), "any order")
_accumulator("$min", _extreme(lambda one, best: one < best), "any order")
_accumulator("$stdDevPop", _deviation(sample=False))
_accumulator("$stdDevSamp", _deviation(sample=True))
_accumulator("$mergeObjects", merged, "ordered")


@form(HEADING, "$firstN", "$lastN", "$maxN", "$minN")
def several(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The first, last, greatest or least `n` elements of an array."""
    given = compiler.fields(name, operand, here, needs=("n", "input"), takes=())
    with compiler.unread():
        count = compiler.compile(given["n"], f"{here}.n")
        source = compiler.compile(given["input"], f"{here}.input")

    def some(scope: Scope) -> Any:
        wanted = as_long(count.evaluate(scope))
        if wanted is None or wanted < 1:
            fail(name, "takes a whole number above zero for n")
        elements = array(name, source.evaluate(scope))
        if name == "$firstN":
            return elements[:wanted]
        if name == "$lastN":
            return elements[-wanted:]
        return _best([one for one in elements if not nullish(one)], wanted, greatest=name == "$maxN")

    return compiler.kept(Node(some, nodes=1 + count.nodes + source.nodes), [count, source], here)


def _best(values: Values, wanted: int, *, greatest: bool) -> Values:
    """The greatest, best first, or the least: of equal ones that do not all fit the first are kept."""
    kept: list[tuple[Order, Any]] = []
    for value in values:
        entry = (compared(value), value)
        if len(kept) == wanted:
            if not (entry[0] > kept[0][0] if greatest else entry[0] < kept[-1][0]):
                continue
            del kept[0 if greatest else -1]
        insort_right(kept, entry, key=itemgetter(0))
    found = [value for _, value in kept]
    return found[::-1] if greatest else found
