"""Keywords about numbers and text, and those that say nothing."""

from __future__ import annotations

import math
from typing import Any

from realtime.core.bson.values import NUMBER as NUMBERS
from realtime.core.bson.values import is_nan, order, rank_of
from realtime.core.mql.language import invalid, kind
from realtime.core.mql.operators import compare, regular_expression
from realtime.core.mql.paths import Predicate, always
from realtime.core.mql.schemas import values
from realtime.core.mql.schemas.compiling import Build, Schema, boolean, keyword, text
from realtime.core.mql.schemas.keywords import NUMBER, STRING


def _limit(name: str, exclusive: str, operator: str) -> None:
    """`minimum` and `maximum`; the keyword beside it says whether it is meant without the number itself."""

    @keyword(name)
    def build(schema: Schema, value: Any, here: str) -> Predicate:
        if rank_of(value) != NUMBERS:
            invalid(here, f"{name} takes a number, not {kind(value)}")
        open_end = schema.source.get(exclusive) is True
        return schema.restricted(NUMBER, compare(operator if open_end else f"{operator}e", value), enter=True)

    @keyword(exclusive)
    def beside(schema: Schema, value: Any, here: str) -> Predicate:
        boolean(value, here)
        if name not in schema.source:
            invalid(here, f"{exclusive} says whether {name} is excluded, which has to stand beside it")
        return always


_limit("minimum", "exclusiveMinimum", "$gt")
_limit("maximum", "exclusiveMaximum", "$lt")


@keyword("multipleOf")
def multiple_of(schema: Schema, value: Any, here: str) -> Predicate:
    if rank_of(value) != NUMBERS or not (is_nan(value) or order(value)[1] > (1, 0)):
        invalid(here, f"multipleOf takes a number above zero, not {kind(value)}")
    if schema.site.whole:
        return always  # where it is about no number, it may be any
    if is_nan(value) or order(value)[1] == (1, math.inf):
        invalid(here, "multipleOf takes a finite number")
    return schema.restricted(NUMBER, values.multiple_of(value), enter=True)


@keyword("minLength")
def min_length(schema: Schema, value: Any, here: str) -> Predicate:
    return schema.restricted(STRING, values.length(values.least(value, here)), enter=True)


@keyword("maxLength")
def max_length(schema: Schema, value: Any, here: str) -> Predicate:
    return schema.restricted(STRING, values.length(values.most(value, here)), enter=True)


@keyword("pattern")
def pattern(schema: Schema, value: Any, here: str) -> Predicate:
    source = text(value, here)
    if schema.site.whole:
        return always  # where it is about no text, it may be anything
    return schema.restricted(STRING, regular_expression(source, "", here, "pattern"), enter=True)


def _says_nothing(_: Schema, value: Any, here: str) -> Predicate:
    text(value, here)
    return always


_NOTHING: Build = _says_nothing
keyword("title")(_NOTHING)
keyword("description")(_NOTHING)
