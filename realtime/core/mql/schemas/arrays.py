"""Keywords about arrays and their elements."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from realtime.core.mql.paths import Predicate, always, every
from realtime.core.mql.schemas.compiling import VALUE, Schema, boolean, keyword
from realtime.core.mql.schemas.keywords import ARRAY
from realtime.core.mql.schemas.values import least, most, unique


@keyword("items")
def items(schema: Schema, value: Any, here: str) -> Predicate:
    if not isinstance(value, list):
        return _all_from(schema, 0, schema.nested(value, here, VALUE))
    tests = []
    for place, source in enumerate(value):
        schema.around.count(f"{here}.{place}")
        tests.append(schema.site.leaf(_at(place, schema.nested(source, f"{here}.{place}", VALUE))))
    return schema.unless_other(ARRAY, every(tests))


@keyword("additionalItems")
def additional_items(schema: Schema, _: Any, __: str) -> Predicate:
    test, first = schema.rest("additionalItems"), schema.source.get("items")
    return _all_from(schema, len(first), test) if isinstance(first, list) else always


def _at(place: int, test: Predicate) -> Predicate:
    return lambda value: type(value) is list and (place >= len(value) or test(value[place]))


def _all_from(schema: Schema, start: int, test: Predicate) -> Predicate:
    def matches(value: Any) -> bool:
        if type(value) is not list:
            return False
        for element in islice(value, start, None):  # noqa: SIM110 - as in `every`
            if not test(element):
                return False
        return True

    return schema.restricted(ARRAY, matches)


@keyword("minItems")
def min_items(schema: Schema, value: Any, here: str) -> Predicate:
    return _sized(schema, least(value, here))


@keyword("maxItems")
def max_items(schema: Schema, value: Any, here: str) -> Predicate:
    return _sized(schema, most(value, here))


def _sized(schema: Schema, test: Callable[[int], bool]) -> Predicate:
    return schema.restricted(ARRAY, lambda value: type(value) is list and test(len(value)))


@keyword("uniqueItems")
def unique_items(schema: Schema, value: Any, here: str) -> Predicate:
    return schema.restricted(ARRAY, unique) if boolean(value, here) else always
