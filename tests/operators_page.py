"""docs/operators.md, made from the tables of the code: `python -m tests.operators_page` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from realtime.core.mql.language import BSON_TYPES, COMMENT, FIELD_OPERATORS, LOGICAL, LOST_TYPES, REFUSED
from realtime.core.mql.regex import CONSTRUCTS, NOT_TAKEN

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
REGEX = """## Regular expressions

MongoDB matches with PCRE, which may take exponential time. Here RE2 matches, in time that grows with the text alone.
Only constructs that a test against MongoDB has shown to find the same are taken; others are refused, and the error
names the construct. A stored regular expression is matched by the very same one. Most patterns take some microseconds
for each KB of text. The worst are counted repetitions that a text makes ambiguous at every character, such as
`[ab]*a[ab]{500}c` on text of `a` and `b`: 4 to 5 ms for each KB and 1,000 instructions.

What PCRE itself gives up on, for it counts its steps, is no match for `find`; here it is decided.
"""
END = """## What cannot be told

The driver reads three deprecated types as others: `undefined` as null, `symbol` as a string, `dbPointer` as an
object. Filters see them so; `$type` refuses them. The same goes for text that is no UTF-8: its broken bytes are read as
U+FFFD. `{"": {"$elemMatch": {…}}}` is refused because it ends mongod 6.0.5 when `_id` stands beside it.
"""


def table(header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [header, ("---", "---"), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


def page() -> str:
    """The whole text."""
    compiled = [(f"`{name}`", f"compiled: {meaning}") for name, meaning in {**LOGICAL, **FIELD_OPERATORS}.items()]
    compiled.append((f"`{COMMENT}`", "taken at the top and in branches; says nothing"))
    refused = [(f"`{name}`", f"refused: {reason}") for name, reason in REFUSED.items()]
    refused.append(("every other name", "refused: not known, so what is new in MongoDB as well"))
    types = ", ".join(f"`{name}` {code}" for name, code in BSON_TYPES.items())
    lost = ", ".join(f"`{name}` {code}" for name, code in LOST_TYPES.items())
    return "\n".join(
        [
            BEGIN,
            table(("operator", "what becomes of it"), [*compiled, *refused]),
            f"`$type` knows {types}, and `number`. It refuses {lost}.\n",
            REGEX,
            table(("construct", "for RE2"), CONSTRUCTS),
            table(("not taken", "because"), NOT_TAKEN),
            END,
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
