"""docs/operators.md is what the code says."""

from __future__ import annotations

from realtime.core.mql.language import EXPRESSION, FIELD_OPERATORS, LOGICAL, REFUSED, SCHEMA
from realtime.core.mql.schemas.keywords import ENCRYPTION, INSTEAD, KEYWORDS
from tests.operators_page import PAGE, page


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text() == page(), "stale: python -m tests.operators_page"


def test_every_operator_has_one_row() -> None:
    rows = [
        line for line in page().splitlines() if line.startswith("| `$") and ("compiled" in line or "refused: " in line)
    ]
    assert [line.split("`")[1] for line in rows] == [*LOGICAL, *FIELD_OPERATORS, EXPRESSION, SCHEMA, *REFUSED]


def test_every_keyword_of_a_schema_has_one_row() -> None:
    _, _, part = page().partition("| keyword | what becomes of it |")
    rows = [line.split("`")[1] for line in part.partition("\n\n")[0].splitlines() if line.startswith("| `")]
    assert rows == [*KEYWORDS, *ENCRYPTION, *INSTEAD]
