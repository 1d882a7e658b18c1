"""The words of a schema: which keywords are compiled, which are refused and why.

docs/operators.md is made from these tables (`python -m tests.operators_page`).
"""

from __future__ import annotations

from typing import Final

from realtime.core.mql.language import BSON_TYPES, NUMBER_TYPES

KEYWORDS: Final = {
    "type": "of one of these types, by JSON's names: `object`, `array`, `number`, `string`, `boolean`, `null`",
    "bsonType": "of one of these types, by the names that `$type` knows",
    "enum": "equal to one of a list; the order of fields does not count",
    "allOf": "every one of a list of schemas",
    "anyOf": "at least one of them",
    "oneOf": "exactly one of them",
    "not": "not this schema",
    "properties": "schemas of fields, where there are such fields",
    "required": "fields that are there",
    "patternProperties": "schemas of all fields in whose name a regular expression finds something, by bytes",
    "additionalProperties": "whether there may be other fields, `_id` among them, or their schema",
    "minProperties": "so many fields at least",
    "maxProperties": "so many fields at most",
    "dependencies": "what else there has to be, or which schema holds, where a field is there",
    "items": "the schema of all elements of an array, or a list of schemas for the first ones",
    "additionalItems": "beside a list in `items`: whether there may be more elements, or their schema",
    "minItems": "so many elements at least",
    "maxItems": "so many elements at most",
    "uniqueItems": "no element is equal to another; the order of fields does not count",
    "minimum": "a number that is not less",
    "maximum": "a number that is not greater",
    "exclusiveMinimum": "with `true`: nor equal to `minimum`",
    "exclusiveMaximum": "with `true`: nor equal to `maximum`",
    "multipleOf": "a number of which this one is a divisor, in decimals; of a double 15 digits count",
    "minLength": "so many code points at least",
    "maxLength": "so many code points at most",
    "pattern": "text in which a regular expression finds something; see below",
    "title": "a string; says nothing",
    "description": "a string; says nothing",
}
_ENCRYPTED = "is about encrypted fields, which the service does not read"
ENCRYPTION: Final = {"encrypt": _ENCRYPTED, "encryptMetadata": _ENCRYPTED}
"""What MongoDB takes and is refused here."""
INSTEAD: Final = {
    "$ref": "write the schema where it is referred to",
    "$schema": "leave it out; the keywords are those of draft 4",
    "default": "leave it out; it never checked anything",
    "definitions": "write the schemas where they are referred to",
    "format": "use pattern",
    "id": "leave it out",
    "$id": "leave it out",
    "$comment": "use description",
    "const": "use enum with one value",
    "if": "use anyOf and not",
    "examples": "leave it out; it never checked anything",
}
"""Of what MongoDB refuses, as it does every other name: what to do instead."""

JSON_TYPES: Final = {
    "array": frozenset({BSON_TYPES["array"]}),
    "boolean": frozenset({BSON_TYPES["bool"]}),
    "null": frozenset({BSON_TYPES["null"]}),
    "number": NUMBER_TYPES,
    "object": frozenset({BSON_TYPES["object"]}),
    "string": frozenset({BSON_TYPES["string"]}),
}
"""What `type` knows."""
ALL_TYPES: Final = {**{name: frozenset({code}) for name, code in BSON_TYPES.items()}, "number": NUMBER_TYPES}
"""What `bsonType` knows."""
STRING: Final = JSON_TYPES["string"]
OBJECT: Final = JSON_TYPES["object"]
ARRAY: Final = JSON_TYPES["array"]
NUMBER: Final = JSON_TYPES["number"]
