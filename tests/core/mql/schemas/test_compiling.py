"""Schemas compiled: what is refused and where, how large one may be, where it may stand, and what it reads."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.regex import Regex

from realtime.core.mql.demands import equalities, ranges
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.filters import Bounds, compile_filter
from realtime.core.mql.paths import WHOLE
from realtime.core.mql.schemas.compiling import BUILDERS, DEPTH
from realtime.core.mql.schemas.keywords import ENCRYPTION, INSTEAD, KEYWORDS
from realtime.errors import InvalidFilterError, UnsupportedOperatorError


def compiled(schema: Any, bounds: Bounds | None = None) -> Any:
    return compile_filter({"$jsonSchema": schema}, bounds)


def matches(schema: Any, document: dict[str, Any]) -> bool:
    return bool(compiled(schema).matches(document))


# ----------------------------------------------------------------------------------------------------------- refusals

INVALID: dict[str, tuple[Any, str]] = {
    "no object": ([], ""),
    "null": (None, ""),
    "type and bsonType": ({"type": "object", "bsonType": "object"}, ""),
    "a type by number": ({"bsonType": 16}, ".bsonType"),
    "a type that MongoDB lacks": ({"properties": {"a": {"type": "integer"}}}, ".properties.a.type"),
    "a type of bsonType": ({"type": "int"}, ".type"),
    "a type of JSON's": ({"bsonType": "boolean"}, ".bsonType"),
    "a type that is missing": ({"bsonType": ["missing"]}, ".bsonType"),
    "no type": ({"type": []}, ".type"),
    "a type twice": ({"type": ["string", "string"]}, ".type"),
    "properties of no object": ({"properties": []}, ".properties"),
    "a property of no schema": ({"properties": {"a": True}}, ".properties.a"),
    "nothing required": ({"required": []}, ".required"),
    "required by no name": ({"required": [1]}, ".required"),
    "required twice": ({"required": ["a", "a"]}, ".required"),
    "required of no list": ({"required": True, "properties": {"a": {}}}, ".required"),
    "patterns of no object": ({"patternProperties": 1}, ".patternProperties"),
    "a pattern that nothing closes": ({"patternProperties": {"(": {}}}, ".patternProperties.("),
    "a byte that there is not": ({"patternProperties": {"\\x{100}": {}}}, ".patternProperties.\\x{100}"),
    "additionalProperties": ({"additionalProperties": 1}, ".additionalProperties"),
    "additionalProperties of a schema": ({"additionalProperties": {"x": 1}}, ".additionalProperties.x"),
    "negative sizes": ({"minProperties": -1}, ".minProperties"),
    "broken sizes": ({"properties": {"a": {"maxItems": 1.5}}}, ".properties.a.maxItems"),
    "sizes of no number": ({"minLength": True}, ".minLength"),
    "sizes beyond 64 bits": ({"maxLength": 2.0**63}, ".maxLength"),
    "dependencies of no object": ({"dependencies": []}, ".dependencies"),
    "a dependency of nothing": ({"dependencies": {"a": True}}, ".dependencies.a"),
    "a dependency of no names": ({"dependencies": {"a": []}}, ".dependencies.a"),
    "items of a number": ({"items": 1}, ".items"),
    "items of numbers": ({"items": [{}, 1]}, ".items.1"),
    "additionalItems without a list": ({"additionalItems": "x"}, ".additionalItems"),
    "uniqueItems": ({"uniqueItems": 1}, ".uniqueItems"),
    "a limit of no number": ({"minimum": "1"}, ".minimum"),
    "a limit that nothing excludes": ({"exclusiveMaximum": True}, ".exclusiveMaximum"),
    "draft 6": ({"minimum": 1, "exclusiveMinimum": 1}, ".exclusiveMinimum"),
    "multipleOf text": ({"multipleOf": "1"}, ".multipleOf"),
    "multipleOf 0": ({"multipleOf": Decimal128("0")}, ".multipleOf"),
    "multipleOf NaN": ({"properties": {"a": {"multipleOf": float("nan")}}}, ".properties.a.multipleOf"),
    "multipleOf infinity": ({"properties": {"a": {"multipleOf": float("inf")}}}, ".properties.a.multipleOf"),
    "pattern of a regular expression": ({"pattern": Regex("a")}, ".pattern"),
    "a broken pattern": ({"properties": {"a": {"pattern": "("}}}, ".properties.a.pattern"),
    "enum of no list": ({"enum": 1}, ".enum"),
    "enum of nothing": ({"enum": []}, ".enum"),
    "enum of equals": ({"enum": [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]}, ".enum"),
    "allOf nothing": ({"allOf": []}, ".allOf"),
    "anyOf no list": ({"anyOf": {}}, ".anyOf"),
    "oneOf numbers": ({"oneOf": [{}, 1]}, ".oneOf.1"),
    "not a list": ({"not": [{}]}, ".not"),
    "title": ({"title": 1}, ".title"),
    "description": ({"properties": {"a": {"description": None}}}, ".properties.a.description"),
    "unknown": ({"properties": {"a": {"nonsense": 1}}}, ".properties.a.nonsense"),
    "$ref": ({"allOf": [{"$ref": "#/definitions/a"}]}, ".allOf.0.$ref"),
    "looks like a reference": ({"not": DBRef("a", 1)}, ".not.$ref"),
    "NUL in a name": ({"required": ["a"], "properties": {"a\0b": {}}}, ""),
}


@pytest.mark.parametrize(("schema", "path"), INVALID.values(), ids=INVALID.keys())
def test_what_mongodb_refuses_is_refused_at_its_path(schema: Any, path: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compiled(schema)
    assert refused.value.details == {"path": f"$jsonSchema{path}"}


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_a_keyword_of_other_drafts_is_refused_with_what_to_do_instead(name: str) -> None:
    with pytest.raises(InvalidFilterError, match=r"use |leave it out|write the schema"):
        compiled({name: {}})
    assert len(INSTEAD) >= 6


def test_other_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidFilterError, match=r"no minContains: .*, minItems, .*, uniqueItems"):
        compiled({"minContains": 1})
    with pytest.raises(InvalidFilterError, match=r"integer.*use bsonType"):
        compiled({"type": "integer"})


@pytest.mark.parametrize("name", sorted(ENCRYPTION))
def test_what_is_about_encrypted_fields_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match="encrypted") as refused:
        compiled({"properties": {"a": {name: {}}}})
    assert refused.value.details == {"operator": name, "path": f"$jsonSchema.properties.a.{name}"}


@pytest.mark.parametrize(
    ("schema", "name", "path"),
    [
        ({"maxProperties": 2}, "maxProperties", ".maxProperties"),
        ({"anyOf": [{"maxProperties": 2}]}, "maxProperties", ".anyOf.0.maxProperties"),
        ({"enum": [{"a": [{"": 1}]}]}, "enum", ".enum"),
        ({"enum": [{"a.": 1}]}, "enum", ".enum"),
        ({"enum": [DBRef("a", 1)]}, "enum", ".enum"),
    ],
)
def test_what_not_every_mongod_can_decide_is_refused_of_whole_documents(schema: Any, name: str, path: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"not supported: it (takes no|is taken)") as refused:
        compiled(schema)
    assert refused.value.details == {"operator": name, "path": f"$jsonSchema{path}"}
    assert compiled({"properties": {"a": schema}}).paths == {"a"}


@pytest.mark.parametrize(
    ("schema", "name", "path"),
    [
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "pattern", ".properties.a.pattern"),
        ({"patternProperties": {"a++": {}}}, "patternProperties", ".patternProperties.a++"),
        ({"patternProperties": {"é" * 501: {}}}, "patternProperties", f".patternProperties.{'é' * 501}"),
    ],
)
def test_a_pattern_has_the_bounds_that_it_has_in_regex(schema: Any, name: str, path: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match="would need") as refused:
        compiled(schema)
    assert refused.value.details == {"operator": name, "path": f"$jsonSchema{path}"}


def test_every_keyword_of_the_table_is_compiled_and_no_other() -> None:
    assert set(KEYWORDS) == {*BUILDERS, "type", "bsonType"}


# ------------------------------------------------------------------------------------------------------------- bounds


def deep(levels: int, kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"uniqueItems": True}
    for _ in range(levels):
        schema = {"not": schema} if kind == "not" else {"properties": {"a": schema}} if kind == "properties" else {
            "items": {"allOf": [schema]}
        }  # fmt: skip
    return schema


@pytest.mark.parametrize(("kind", "most"), [("not", DEPTH), ("properties", DEPTH), ("items", DEPTH // 2)])
def test_schemas_may_be_nested_to_a_bound_and_no_deeper(kind: str, most: int) -> None:
    """At the bound one is asked of a value of 180 levels, which leaves room on the stack for whoever asks."""
    value: Any = []
    for level in range(180):
        value = {"a": value} if level % 2 or kind == "properties" else [value, value]
    document = value if kind == "properties" else {"a": value}
    within = compiled(deep(most, kind))

    def asked(frames: int) -> Any:
        return asked(frames - 1) if frames else within.matches(document)

    assert asked(250) in {True, False}
    for levels in (most + 1, 179):
        with pytest.raises(InvalidFilterError, match="nested deeper than 40"):
            compiled(deep(levels, kind))


def test_values_of_180_levels_are_compared() -> None:
    one: Any = 1
    for _ in range(178):
        one = {"a": one}
    assert matches({"properties": {"a": {"enum": [one]}}}, {"a": one})
    assert not matches({"properties": {"a": {"uniqueItems": True}}}, {"a": [one, one, 1]})


@pytest.mark.parametrize(
    ("schema", "nodes"),
    [
        ({"properties": {str(name): {} for name in range(4)}}, 6),
        ({"patternProperties": {str(name): {} for name in range(4)}}, 6),
        ({"required": ["a", "b", "c", "d"]}, 6),
        ({"enum": [1, 2, 3, 4]}, 6),
        ({"dependencies": {"a": ["b", "c", "d"]}}, 6),
        ({"items": [{}, {}, {}, {}]}, 6),
        ({"title": "a", "allOf": [{"minItems": 1}, {"minItems": 1}]}, 5),
    ],
    ids=["properties", "patterns", "required", "enum", "dependencies", "items", "keywords"],
)
def test_a_schema_counts_in_the_conditions_of_its_filter(schema: Any, nodes: int) -> None:
    assert compiled(schema, Bounds(nodes=nodes)).source == {"$jsonSchema": schema}
    with pytest.raises(InvalidFilterError, match=f"more than {nodes - 1} conditions"):
        compiled(schema, Bounds(nodes=nodes - 1))


def test_unique_items_do_not_take_the_square_of_their_number() -> None:
    """Values that all have one hash: 2**61 - 1 is what Python's hashes of numbers go by."""
    made = [(2**61 - 1) * number for number in range(1, 5)] + [2.0 ** (61 * power) for power in range(-15, 16)]
    decimals = [Decimal128(str((2**61 - 1) * number + 1)) for number in range(10**6, 10**6 + 12_000)]
    assert len({hash(value.to_decimal()) for value in decimals}) == 1
    began = time.thread_time()
    assert matches({"properties": {"a": {"uniqueItems": True}}}, {"a": [*made, *decimals]})
    assert time.thread_time() - began < 1.2


# -------------------------------------------------------------------------------------------------------- where it is


def test_a_schema_stands_at_the_top_in_branches_and_in_elem_match() -> None:
    schema = {"$jsonSchema": {"required": ["x"]}}
    for source, yes, no in (
        ({"$and": [schema, {"y": 1}]}, {"x": 1, "y": 1}, {"x": 1}),
        ({"$or": [schema, {"y": 1}]}, {"y": 1}, {"z": 1}),
        ({"$nor": [schema]}, {"y": 1}, {"x": 1}),
        ({"y": 1, **schema}, {"x": 2, "y": 1}, {"y": 1}),
        ({"a": {"$elemMatch": schema}}, {"a": [1, {"x": 1}]}, {"a": {"x": 1}}),
        ({"a": {"$elemMatch": {"$jsonSchema": {"required": ["0"]}}}}, {"a": [[1]]}, {"a": [[]]}),
        ({"a": {"$all": [{"$elemMatch": schema}]}}, {"a": [{"x": 1}]}, {"a": []}),
    ):
        found = compile_filter(source).matches
        assert (found(yes), found(no)) == (True, False), source


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ({"a": {"$jsonSchema": {}}}, "a.$jsonSchema"),
        ({"a": {"$not": {"$jsonSchema": {}}}}, "a.$not.$jsonSchema"),
    ],
)
def test_a_schema_is_no_operator_of_a_field(source: Any, path: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_filter(source)
    assert refused.value.details == {"operator": "$jsonSchema", "path": path}


def test_an_object_that_looks_like_a_reference_is_an_object() -> None:
    """As Extended JSON is read: a `$ref` with an `$id` beside it."""
    schema = {"properties": DBRef("a", {})}
    with pytest.raises(InvalidFilterError) as refused:
        compiled(schema)
    assert refused.value.details == {"path": "$jsonSchema.properties.$ref"}
    assert matches({"properties": {"a": {"enum": [DBRef("a", 1)]}}}, {"a": {"$id": 1.0, "$ref": "a"}})


# -------------------------------------------------------------------------------------------------------- what it reads

PATHS: dict[str, tuple[Any, set[str]]] = {
    "nothing": ({"title": "t", "type": "object", "minItems": 1}, set()),
    "fields, whatever is asked of them": ({"properties": {"a": {"properties": {"b": {"minProperties": 1}}}}}, {"a"}),
    "what is required": ({"required": ["a", "b.c.0"]}, {"a", "b.c"}),
    "dependencies": ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, {"a", "b", "c", "d"}),
    "what is beside": ({"allOf": [{"required": ["a"]}, {"not": {"anyOf": [{"required": ["b"]}]}}]}, {"a", "b"}),
    "a path": ({"properties": {"a.0.b": {"enum": [1]}}}, {"a.b"}),
    "an empty name": ({"properties": {"": {"required": ["x"]}}}, {""}),
    "all by their number": ({"minProperties": 1}, {WHOLE}),
    "all by their names": ({"patternProperties": {"a": {}}}, {WHOLE}),
    "the rest": ({"properties": {"a": {}}, "additionalProperties": False}, {"a", WHOLE}),
    "no rest": ({"properties": {"a": {}}, "additionalProperties": True}, {"a"}),
    "all by value": ({"oneOf": [{"enum": [{}]}]}, {WHOLE}),
    "inside of a field": ({"properties": {"a": {"additionalProperties": False, "enum": [1]}}}, {"a"}),
}


@pytest.mark.parametrize(("schema", "paths"), PATHS.values(), ids=PATHS.keys())
def test_a_schema_says_which_paths_it_reads(schema: Any, paths: set[str]) -> None:
    assert compiled(schema).paths == paths
    within = compile_filter({"z": {"$elemMatch": {"$jsonSchema": schema}}})
    assert within.paths == {"z"}


def test_an_empty_name_may_read_more_and_asks_the_dialect() -> None:
    source = {"$jsonSchema": {"properties": {"": {"required": ["x"]}}}}
    assert compile_filter(source).asks == {"empty_name_is_around"}
    assert compile_filter(source, dialect=Dialect(empty_name_is_around=True)).paths == {"", "x"}
    assert compiled({"properties": {"a": {}, ".": {}}, "required": [""]}).asks == set()


def test_a_schema_demands_nothing_and_is_the_same_wherever_it_stands() -> None:
    source = {"$jsonSchema": {"properties": {"a": {"enum": [1]}}, "required": ["a"]}, "b": {"$gt": 1}}
    assert equalities({"$jsonSchema": source["$jsonSchema"], "c": 1}).keys() == {"c"}
    assert ranges(source).keys() == {"b"}
    other = {"$and": [{"b": {"$gt": 1}}, {"$jsonSchema": source["$jsonSchema"]}]}
    assert compile_filter(source).canonical == compile_filter(other).canonical
    assert compile_filter(source).canonical != compile_filter({**source, "$jsonSchema": {}}).canonical
