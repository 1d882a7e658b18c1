"""Schemas at random for `$jsonSchema`, close enough to the documents beside them to match often.

A schema is made for a value that some document has: most keywords are of its type, and most of their operands are such
that they hold of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.regex import Regex

from realtime.core.bson.values import MISSING
from realtime.core.mql.language import BSON_TYPES
from realtime.core.mql.operators import type_code
from realtime.core.mql.schemas.keywords import JSON_TYPES, KEYWORDS
from realtime.core.mql.schemas.values import key
from tests.mongo.grammar import NAMES, POOLS, Grammar, sayable

_NAMES = {code: name for name, code in BSON_TYPES.items()}
NUMBERS = [*POOLS["int"], *POOLS["long"], *POOLS["double"], *POOLS["decimal"]]
DIVISORS: list[Any] = [
    *(1, 2, 3, 5, 0.1, 0.5, 2.5, 1e300, 5e-324, 1 / 3, 2.0**53, Int64(2), Int64(2**62)),
    *map(Decimal128, ("0.1", "0.05", "3", "1.00", "1E+6000", "1E-6000", "0.3333", "9007199254740993")),
]
NAME_PATTERNS = ["^a", "b$", ".", "[ab]", "\\d", "^$", "^.$", "_id", "a|b", "^[^_]", "\\w\\w", "é", "^(0|1)$"]
SAYS_NOTHING = ["title", "description"]
OBJECTS = ["properties", "required", "patternProperties", "additionalProperties", "minProperties", "maxProperties",
           "dependencies"]  # fmt: skip
ARRAYS = ["items", "additionalItems", "minItems", "maxItems", "uniqueItems"]
AS_NUMBERS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
TEXTS = ["minLength", "maxLength", "pattern"]
ANY = ["type", "bsonType", "enum", "allOf", "anyOf", "oneOf", "not", *SAYS_NOTHING]
BROKEN: list[Any] = [
    *("x", "(", "string", "int", "integer", "objectId", 1, 2.0, 2.5, -1, -0.0, 2**63 - 1, 2.0**63, True, None),
    *(float("nan"), float("inf"), Decimal128("2"), Decimal128("NaN"), Decimal128("1E+40"), Regex("a"), Code("f")),
    *([], [1], ["x"], ["x", "x"], ["string"], ["string", "int"], ["missing"], [{}], [{}, {}], [{"x": 1}], [1, 1.0]),
    *([{"a": 1, "b": 2}, {"b": 2, "a": 1}], {}, {"x": 1}, {"x": {}}, {"x": []}, {"x": ["y"]}, {"x": ["y", "y"]}),
    *({"x": True}, {"(": {}}, {"type": "x"}, {"x": {"type": "x"}}, {"$ref": "x", "$id": 1}, {"minLength": "x"}),
]
FOREIGN = ["$ref", "$schema", "$id", "default", "definitions", "format", "id", "const", "if", "contains", "nonsense"]


class Schemas:
    """From one grammar, whose documents it looks at."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.chance: random.Random = grammar.chance

    # --------------------------------------------------------------------------------------------------- documents

    def document(self, number: int) -> dict[str, Any]:
        """One of the grammar's; now and then an array of it has an element once more, in other words."""
        made = self.grammar.document(number)
        for value in made.values():
            if isinstance(value, list) and value and self.chance.random() < 0.4:
                value.append(self.twin(self.chance.choice(value)))
        return made

    def twin(self, value: Any) -> Any:
        """Equal to `enum` and `uniqueItems`, or nearly."""
        if type(value) is dict:
            return dict(reversed(value.items()))
        if type(value) is int and abs(value) < 2**31 - 1:
            return self.chance.choice([float(value), Int64(value), Decimal128(str(value))])
        return [self.twin(inner) for inner in value] if type(value) is list else value

    # ----------------------------------------------------------------------------------------------------- filters

    def filter(self) -> dict[str, Any]:
        """A schema at the top, most of the time."""
        schema = self.schema(self.chance.choice([1, 2, 2, 3]), self.chance.choice(self.grammar.documents))
        if counts_whole(schema):
            return self.filter()
        source = {"$jsonSchema": schema}
        dice, name = self.chance.random(), self.chance.choice(NAMES)
        if dice < 0.8:
            return source
        if dice < 0.86:
            return {"$or": [source, {name: self.grammar.value_operand()}]}
        if dice < 0.9:
            return {"$and": [source, {name: {"$exists": True}}]}
        if dice < 0.93:
            return {"$nor": [source]}
        return {name: {"$elemMatch": source}}

    def schema(self, depth: int, value: Any) -> dict[str, Any]:
        """A schema that may hold of a value."""
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([0, 1, 1, 1, 2, 3])):
            made |= self.made(self.keyword(value), depth, value)
        if "type" in made and "bsonType" in made:
            del made[self.chance.choice(["type", "bsonType"])]
        items = list(made.items())
        self.chance.shuffle(items)
        return dict(items)

    def keyword(self, value: Any) -> str:
        dice = self.chance.random()
        if dice < 0.1:
            return self.chance.choice(list(KEYWORDS))
        if dice < 0.35:
            return self.chance.choice(ANY)
        if isinstance(value, dict):
            return self.chance.choice([*OBJECTS, "properties", "properties"])
        if isinstance(value, list):
            return self.chance.choice(ARRAYS)
        if isinstance(value, str):
            return self.chance.choice(TEXTS)
        return self.chance.choice(AS_NUMBERS if type_code(value) in JSON_TYPES["number"] else ANY)

    def made(self, name: str, depth: int, value: Any) -> dict[str, Any]:
        """A keyword with its operand, and what has to stand beside it."""
        if name.startswith("exclusive"):
            beside = name.removeprefix("exclusive").lower()
            return {**self.made(beside, depth, value), name: self.chance.random() < 0.8}
        if name == "additionalItems":
            whole = self.chance.random() < 0.1
            return {name: self.rest(depth, value), "items": self.items(depth, value, whole=whole)}
        if name == "additionalProperties" and self.chance.random() < 0.8:
            names = list(value) if isinstance(value, dict) else NAMES
            named: dict[str, Any] = {one: {} for one in names[self.chance.choice([0, 0, 1]) :] if sayable({one: 1})}
            return {name: self.rest(depth, value), "properties": named}
        return {name: self._makers()[name](depth, value)}

    def _makers(self) -> dict[str, Callable[[int, Any], Any]]:
        return {
            "type": lambda _, value: self.types([*JSON_TYPES], _json_type(value)),
            "bsonType": lambda _, value: self.types([*BSON_TYPES, "number"], _NAMES.get(type_code(value), "null")),
            "enum": lambda _, value: self.enum(value),
            **dict.fromkeys(("allOf", "anyOf", "oneOf"), self.several),
            "not": self.under,
            "properties": lambda depth, value: {
                name: self.under(depth, self.inside(value, name)) for name in self.names(value)
            },
            "required": lambda _, value: self.names(value),
            "patternProperties": lambda depth, value: {
                self.name_pattern(): self.under(depth, self.element(value))
                for _ in range(self.chance.choice([1, 1, 2]))
            },
            "additionalProperties": self.rest,
            "dependencies": self.dependencies,
            **dict.fromkeys(("minProperties", "minItems", "minLength"), lambda _, value: self.size(value, -1)),
            **dict.fromkeys(("maxProperties", "maxItems", "maxLength"), lambda _, value: self.size(value, 1)),
            "items": lambda depth, value: self.items(depth, value, whole=self.chance.random() < 0.6),
            "uniqueItems": lambda _, __: self.chance.random() < 0.9,
            **dict.fromkeys(("minimum", "maximum"), lambda _, value: self.number(value)),
            "multipleOf": lambda _, __: self.chance.choice(DIVISORS),
            "pattern": lambda _, value: self.pattern(value),
            **dict.fromkeys(SAYS_NOTHING, lambda _, __: "said"),
        }

    # ---------------------------------------------------------------------------------------------------- operands

    def under(self, depth: int, value: Any) -> dict[str, Any]:
        return self.schema(depth - 1, value) if depth else {}

    def several(self, depth: int, value: Any) -> list[dict[str, Any]]:
        return [self.under(depth, value) for _ in range(self.chance.choice([1, 2, 2, 3]))]

    def types(self, known: list[str], own: str) -> Any:
        other = self.chance.choice(known)
        dice = self.chance.random()
        if dice < 0.6 or own == other:
            return own if dice < 0.5 else [own]
        return [own, other] if dice < 0.8 else other

    def names(self, value: Any) -> list[str]:
        own = [*value] if isinstance(value, dict) and sayable(dict.fromkeys(value)) else []
        dice = self.chance.random()
        if own and dice < 0.6:
            return self.chance.sample(own, self.chance.randrange(1, min(len(own), 3) + 1))
        if dice < 0.75:
            return [self.chance.choice(["a.b", "b.a", "c.0", "a.a.b", "a.", "b.1.a", ".a", "a.c", ""])]
        return list(dict.fromkeys(self.grammar.name() for _ in range(self.chance.choice([1, 1, 2]))))

    def inside(self, value: Any, name: str) -> Any:
        """What an object has there."""
        for part in name.split("."):
            if isinstance(value, list) and value:
                value = value[int(part) % len(value)] if part.isdigit() else self.chance.choice(value)
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        return self.grammar.value(1) if value is MISSING else value

    def element(self, value: Any) -> Any:
        inner = list(value.values()) if isinstance(value, dict) else value
        return self.chance.choice(inner) if isinstance(inner, list) and inner else self.grammar.value(1)

    def items(self, depth: int, value: Any, *, whole: bool) -> Any:
        if whole:
            return self.under(depth, self.element(value))
        own = value if isinstance(value, list) else []
        several = [self.under(depth, one) for one in own[: self.chance.randrange(3)]]
        return several if several or self.chance.random() < 0.3 else [self.under(depth, self.grammar.value(1))]

    def rest(self, depth: int, value: Any) -> Any:
        return self.chance.choice([True, False, False, self.under(depth, self.element(value))])

    def dependencies(self, depth: int, value: Any) -> dict[str, Any]:
        return {
            name: self.names(value) if self.chance.random() < 0.5 else self.under(depth, value)
            for name in self.names(value)
        }

    def name_pattern(self) -> str:
        return self.chance.choice(NAME_PATTERNS) if self.chance.random() < 0.8 else self.grammar.patterns.pattern(1)

    def size(self, value: Any, way: int) -> Any:
        own = len(value) if isinstance(value, dict | list | str) else 1
        wanted = max(0, own + self.chance.choice([0, 0, way, way, -way]))
        return self.chance.choice([wanted, wanted, float(wanted), Int64(wanted), Decimal128(str(wanted))])

    def number(self, value: Any) -> Any:
        own = type_code(value) in JSON_TYPES["number"]
        return value if own and self.chance.random() < 0.4 else self.chance.choice(NUMBERS)

    def pattern(self, value: Any) -> str:
        if isinstance(value, str) and value.isprintable() and self.chance.random() < 0.4:
            return re.escape(value[: self.chance.randrange(3)])
        return self.grammar.patterns.pattern(1)

    def enum(self, value: Any) -> list[Any]:
        wanted = [self.grammar.value(2) for _ in range(self.chance.choice([0, 1, 2, 3]))]
        if self.chance.random() < 0.75 or not wanted:
            wanted.append(self.twin(value) if self.chance.random() < 0.5 else value)
        wanted = list(filter(sayable, wanted)) or [1]
        # Seldom with values that are equal, which is refused.
        return wanted if self.chance.random() < 0.05 else list({key(one): one for one in wanted}.values())

    # ------------------------------------------------------------------------------------------------------ broken

    def broken(self) -> dict[str, Any]:
        """A schema that breaks one of the rules, most of the time, at the top or in a schema."""
        name = self.chance.choice([*KEYWORDS, *KEYWORDS, *FOREIGN])
        operand = self.chance.choice(BROKEN)
        source = {name: operand}
        if self.chance.random() < 0.2:
            source |= self.made(self.chance.choice(list(KEYWORDS)), 1, self.grammar.value(1))
            source = {"minimum": 1, **source, name: operand}
        whole: dict[str, Any] = self.chance.choice(
            [
                *([{"properties": {"a": source}}] * 4),
                *(source, {"properties": {"": source}}, {"not": source}, {"allOf": [{}, source]}),
                *(
                    {"items": [source]},
                    {"properties": {"a": {"additionalItems": source}}},
                    {"additionalProperties": source},
                ),
                *({"dependencies": {"a": source}}, {"additionalProperties": source}),
                *({"patternProperties": {"a": source}}, {"anyOf": [source]}),
            ]
        )
        return self.broken() if counts_whole(whole) else {"$jsonSchema": whole}


def _json_type(value: Any) -> str:
    code = type_code(value)
    return next((name for name, codes in JSON_TYPES.items() if code in codes), "null")


def counts_whole(schema: Any) -> bool:
    """Whether `maxProperties` is about the document, which is refused and must not reach every mongod."""
    if isinstance(schema, list):
        return any(map(counts_whole, schema))
    if not isinstance(schema, dict):
        return False
    inner = [value for name, value in schema.items() if name in {"allOf", "anyOf", "oneOf", "not"}]
    for name in ("properties", "dependencies"):
        if isinstance(schema.get(name), dict):
            inner += [value for one, value in schema[name].items() if one == "" or name == "dependencies"]
    return "maxProperties" in schema or any(map(counts_whole, inner))


def keywords_of(source: Any) -> set[str]:
    """The keywords anywhere in a schema or in a filter with schemas."""
    if isinstance(source, list):
        return set().union(*map(keywords_of, source))
    if not isinstance(source, dict):
        return set()
    found = set(source) & set(KEYWORDS)
    for name, value in source.items():
        if name in {"properties", "patternProperties", "dependencies"} and isinstance(value, dict):
            found |= set().union(*map(keywords_of, value.values()))
        elif name != "enum":
            found |= keywords_of(value)
    return found


assert set(KEYWORDS) == {*OBJECTS, *ARRAYS, *AS_NUMBERS, *TEXTS, *ANY}
