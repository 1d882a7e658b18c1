"""docs/expressions.md is what the code says."""

from __future__ import annotations

from realtime.core.mql.expressions.compiling import OPERATORS, REFUSED
from tests.expressions_page import PAGE, page


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text() == page(), "stale: python -m tests.expressions_page"


def test_every_operator_stands_there_once_and_few_are_refused() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    for name in [*OPERATORS, *REFUSED]:
        assert any(f"`{name}`" in line for line in rows), name
    assert not OPERATORS.keys() & REFUSED.keys()
    assert len(REFUSED) <= 12
