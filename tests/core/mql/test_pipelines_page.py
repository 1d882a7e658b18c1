"""docs/pipelines.md is what the code says."""

from __future__ import annotations

from realtime.core.mql.pipelines.language import ACCUMULATORS, REFUSED, REFUSED_ACCUMULATORS, STAGES
from tests.pipelines_page import PAGE, page


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text() == page(), "stale: python -m tests.pipelines_page"


def test_every_name_stands_there() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    for name in [*STAGES, *ACCUMULATORS, *REFUSED, *REFUSED_ACCUMULATORS]:
        assert any(line.startswith(f"| `{name}` |") for line in rows), name
    assert not STAGES.keys() & REFUSED.keys()
