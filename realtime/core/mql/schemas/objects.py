"""Keywords about objects and their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from realtime.core.bson.values import MISSING
from realtime.core.mql.language import invalid, kind, unsupported
from realtime.core.mql.operators import exists, searching
from realtime.core.mql.paths import WHOLE, Matcher, Predicate, always, every, stem
from realtime.core.mql.schemas.compiling import VALUE, Schema, Site, as_object, is_object, keyword
from realtime.core.mql.schemas.keywords import OBJECT
from realtime.core.mql.schemas.values import fields, least, most

_EXISTS = exists(True)


def _of_object(schema: Schema, test: Matcher) -> Predicate:
    """A keyword about objects, which says nothing of anything else."""
    return test if schema.site.whole else schema.restricted(OBJECT, _is_object_and(test))


def _is_object_and(test: Matcher) -> Predicate:
    return lambda value: isinstance(value, dict) and test(value)


def _exists(name: str) -> Matcher:
    """There is such a field, by a path where the name has dots."""
    return _EXISTS.at(name) if "." in name else lambda around: name in around


@keyword("properties")
def properties(schema: Schema, value: Any, here: str) -> Predicate:
    required = schema.source.get("required")
    needed = required if isinstance(required, list) else []
    return _of_object(
        schema,
        every([_property(schema, *member, needed=member[0] in needed) for member in schema.members(value, here)]),
    )


def _property(schema: Schema, name: str, source: Any, here: str, *, needed: bool) -> Matcher:
    """Of a field that is `needed` the schema is asked also where it is missing."""
    schema.site.read(stem(name))
    if "." not in name and (name or not schema.around.says("empty_name_is_around")):
        test = schema.nested(source, here, VALUE)
        if needed:
            return lambda around: test(around.get(name, MISSING))
        return lambda around: (value := around.get(name, MISSING)) is MISSING or test(value)
    site = Site(path=name) if name else Site(whole=True, reads=schema.site.reads)
    test, there = schema.nested(source, here, site), _exists(name)
    return test if needed else lambda around: not there(around) or test(around)


@keyword("required")
def required(schema: Schema, value: Any, here: str) -> Predicate:
    return _of_object(schema, _all_there(schema, value, here))


def _all_there(schema: Schema, value: Any, here: str) -> Matcher:
    names = schema.names(value, here)
    for name in names:
        schema.site.read(stem(name))
    return every([_exists(name) for name in names])


@keyword("additionalProperties")
def additional_properties(schema: Schema, _: Any, __: str) -> Predicate:
    """With `patternProperties`: every field is looked at by itself, also one whose name stands twice."""
    patterns = tuple(
        (searching(pattern, "", place, "patternProperties", bytewise=True), schema.nested(source, place, VALUE))
        for pattern, source, place in schema.members(
            schema.source.get("patternProperties", {}), f"{schema.here}.patternProperties"
        )
    )
    named = frozenset(as_object(schema.source.get("properties", {}), f"{schema.here}.properties"))
    other = schema.rest("additionalProperties")
    if not patterns and other is always:
        return always
    schema.site.read(WHOLE)

    def allowed(around: dict[str, Any]) -> bool:
        for name, value in fields(around):
            tests = [test for found, test in patterns if found(name)]
            if not tests and name not in named:
                tests = [other]
            for test in tests:
                if not test(value):
                    return False
        return True

    return _of_object(schema, allowed)


@keyword("patternProperties")
def pattern_properties(schema: Schema, value: Any, here: str) -> Predicate:
    return always if "additionalProperties" in schema.source else additional_properties(schema, value, here)


@keyword("minProperties")
def min_properties(schema: Schema, value: Any, here: str) -> Predicate:
    return _sized(schema, least(value, here))


@keyword("maxProperties")
def max_properties(schema: Schema, value: Any, here: str) -> Predicate:
    if schema.site.whole:
        # There are places where it must not reach every mongod; so none is taken, as of `$elemMatch` at an empty name.
        unsupported("maxProperties", here, "is taken of sub-documents alone, for not every mongod can decide it")
    return _sized(schema, most(value, here))


def _sized(schema: Schema, test: Callable[[int], bool]) -> Predicate:
    schema.site.read(WHOLE)
    return _of_object(schema, lambda around: test(len(fields(around))))


@keyword("dependencies")
def dependencies(schema: Schema, value: Any, here: str) -> Predicate:
    return every([_dependency(schema, *member) for member in schema.members(value, here)])


def _dependency(schema: Schema, name: str, source: Any, here: str) -> Predicate:
    schema.site.read(stem(name))
    asked = _on_site(schema, _exists(name))
    if isinstance(source, list):
        then = _on_site(schema, _all_there(schema, source, here))
    elif is_object(source):
        then = schema.nested(source, here, schema.site)
    else:
        invalid(here, f"takes a list of names or a schema, not {kind(source)}")
    return lambda handed: not asked(handed) or then(handed)


def _on_site(schema: Schema, test: Matcher) -> Predicate:
    return test if schema.site.whole else schema.site.leaf(_is_object_and(test))
