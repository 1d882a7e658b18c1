"""Keywords about any value: its choice, and schemas of the same value."""

from __future__ import annotations

from typing import Any

from bson.dbref import DBRef

from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.paths import WHOLE, Predicate, every, negate, some
from realtime.core.mql.schemas.compiling import Schema, keyword
from realtime.core.mql.schemas.values import among, key


@keyword("enum")
def enum(schema: Schema, value: Any, here: str) -> Predicate:
    if not isinstance(value, list) or not value:
        invalid(here, "enum takes a list of at least one value")
    schema.around.count(here, len(value))
    if len({key(one) for one in value}) < len(value):
        invalid(here, "enum takes each value once, whatever the order of its fields")
    if schema.site.whole and _has_odd_name(value):
        # In some places, of which $or is one, 6.0.27 then fails at the `find`.
        unsupported("enum", here, "takes no documents with a name that is empty, begins with $ or ends with a dot")
    schema.site.read(WHOLE)
    return schema.site.leaf(among(value))


def _has_odd_name(value: Any) -> bool:
    """Whether anywhere in there is a name that MongoDB takes for no path."""
    if isinstance(value, list):
        return any(map(_has_odd_name, value))
    if not isinstance(value, dict):
        return type(value) is DBRef
    parts = (part for name in value for part in name.split("."))
    return any(not part or part[0] == "$" for part in parts) or any(map(_has_odd_name, value.values()))


@keyword("allOf")
def all_of(schema: Schema, value: Any, here: str) -> Predicate:
    return every(_several(schema, value, here))


@keyword("anyOf")
def any_of(schema: Schema, value: Any, here: str) -> Predicate:
    return some(_several(schema, value, here))


@keyword("oneOf")
def one_of(schema: Schema, value: Any, here: str) -> Predicate:
    tests = tuple(_several(schema, value, here))
    return lambda handed: sum([test(handed) for test in tests]) == 1


@keyword("not")
def not_(schema: Schema, value: Any, here: str) -> Predicate:
    return negate(schema.nested(value, here, schema.site))


def _several(schema: Schema, value: Any, here: str) -> list[Predicate]:
    if not isinstance(value, list) or not value:
        invalid(here, "takes a list of at least one schema")
    return [schema.nested(one, f"{here}.{place}", schema.site) for place, one in enumerate(value)]
