"""docs/operators.md, made from the tables of the code: `python -m tests.operators_page` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from realtime.core.mql.dialect import PROBES
from realtime.core.mql.language import BSON_TYPES, COMMENT, EXPRESSION, FIELD_OPERATORS, LOGICAL, REFUSED, SCHEMA
from realtime.core.mql.regex import CONSTRUCTS, NOT_TAKEN
from realtime.core.mql.schemas.compiling import DEPTH
from realtime.core.mql.schemas.keywords import ENCRYPTION, INSTEAD, KEYWORDS

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"

BEGIN = """# Filter operators

This page is made from the code (`python -m tests.operators_page`); a test fails when it is stale.

A filter here means what it means to `find` of MongoDB 6.0, exactly: `filter` of a live query, `filter` over HTTP and
`where` of a write go through the same compiler, and what it does not know is refused with `unsupported_operator`, by
operator and path, before it reaches MongoDB. That holds at random as well: in every run of the tests more than 20,000
pairs of a filter and a document are decided here and by a real mongod.

Values of every BSON type may be operands. Numbers are equal by value across `int`, `long`, `double` and `decimal`,
NaN equals NaN. `null` also finds what is missing. Comparison stays within a type, but for `minKey` and `maxKey`. At an
array both its elements and the array itself are looked at; a path goes through arrays by every element and by number.
"""
SCHEMAS = f"""## $jsonSchema

MongoDB's own JSON Schema: the keywords of draft 4 and `bsonType`, about documents as MongoDB stores them. A schema may
be nested {DEPTH} deep; each keyword, name and value in it counts as a condition of the filter.

Some of it is not what one would expect, and is MongoDB's: a keyword says nothing of values of other types, nor of a
field that is not there (`required` does). `_id` is a field as any other, so `"additionalProperties": false` matches
nothing unless `properties` has it. The name of a field in `properties`, `required` and `dependencies` is a path where
it has dots, and goes through arrays. In `enum` and `uniqueItems` objects are equal whatever the order of their fields,
and null is not undefined. For `multipleOf` a double is its first 15 digits: 0.1 + 0.2 is a multiple of 0.1. Regular
expressions of `pattern` go by characters, those of `patternProperties` by bytes: `^.$` finds no name `é`. An `enum` of
whole documents takes none with a name that is empty, begins with `$` or ends with a dot, and `maxProperties` is taken
of sub-documents alone, for not every mongod can decide them.
"""
REGEX = """## Regular expressions

MongoDB matches with PCRE, which may take exponential time. Here RE2 matches, in time that grows with the text alone.
Only constructs that a test against MongoDB has shown to find the same are taken; others are refused, and the error
names the construct. A stored regular expression is matched by the very same one. Most patterns take some microseconds
for each KB of text. The worst are counted repetitions that a text makes ambiguous at every character, such as
`[ab]*a[ab]{500}c` on text of `a` and `b`: 4 to 5 ms for each KB and 1,000 instructions.

What PCRE itself gives up on, for it counts its steps, is no match for `find`; here it is decided.
"""
DEPENDS = """## What depends on the server

Versions of MongoDB decide some things differently, and a filter follows the server at hand. It is asked, by documents
and a filter in an `aggregate` that writes nothing: at the start, and whenever the primary is another one.
`realtime doctor` says which row it is. An answer of no row is taken for the nearest one, and said in the log by name.
"""
END = """## What cannot be told

Deprecated types are what they are: `undefined` is equal to null, `symbol` to a string, and `$type` tells them apart.
Text that is no UTF-8 compares by its bytes, and no regular expression matches it. Of field names that stand twice in
one object the first counts; a sort by the whole object goes through all of them, as an index of MongoDB's does and its
sort in memory does not. An array whose elements have other names than 0, 1, 2 is gone through by place, where MongoDB
goes by the names.

MongoDB stops reading a document for an inclusion of so many names when it has met so many fields, and counts one that
stands twice as two: what comes behind is missing. Its own `$group` loses fields so, and what it reads for the first
rows of a live `group` does too; from the next change of such a document on its row is the one of all its fields.

A live `group` by two fields or more has a row for a field that is `undefined` and another for one that is missing. So
has MongoDB's newer engine; its classic one makes one row of both, and shows whichever document came first. An average
of integers is exact here and in the newer engine; the classic one may lose the last digits of integers beyond 53 bits.

A certain filter ended mongod 6.0.5 in a test. The compiler refuses it and its relatives, by operator and path, at every
entrance, so that no client can send it to MongoDB.
"""


def table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [header, ("---", "---"), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


def page() -> str:
    """The whole text."""
    compiled = [(f"`{name}`", f"compiled: {meaning}") for name, meaning in {**LOGICAL, **FIELD_OPERATORS}.items()]
    compiled.append((f"`{EXPRESSION}`", "compiled at the top and in branches: [expressions.md](expressions.md)"))
    compiled.append((f"`{SCHEMA}`", "compiled at the top, in branches and in `$elemMatch`; see below"))
    compiled.append((f"`{COMMENT}`", "taken at the top and in branches; says nothing"))
    refused = [(f"`{name}`", f"refused: {reason}") for name, reason in REFUSED.items()]
    refused.append(("every other name", "refused: not known, so what is new in MongoDB as well"))
    depends = [
        (f"{probe.name}: {', '.join(f'`{name}`' for name in sorted(probe.operators))}", f"{known.words} ({known.seen})")
        for probe in PROBES
        for known in probe.known
    ]
    keywords = [(f"`{name}`", f"compiled: {meaning}") for name, meaning in KEYWORDS.items()]
    foreign = [(f"`{name}`", f"refused: {reason}") for name, reason in ENCRYPTION.items()]
    foreign += [(f"`{name}`", f"refused, by MongoDB too: {instead}") for name, instead in INSTEAD.items()]
    foreign.append(("every other name", "refused, by MongoDB too"))
    types = ", ".join(f"`{name}` {code}" for name, code in BSON_TYPES.items())
    return "\n".join(
        [
            BEGIN,
            table(("operator", "what becomes of it"), [*compiled, *refused]),
            fill(f"`$type` knows {types}, and `number`.", 120) + "\n",
            SCHEMAS,
            table(("keyword", "what becomes of it"), [*keywords, *foreign]),
            REGEX,
            table(("construct", "for RE2"), CONSTRUCTS),
            table(("not taken", "because"), NOT_TAKEN),
            DEPENDS,
            table(("operators", "what they do"), depends),
            END,
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
