"""The table that says how much: no row missing, none left over, both sizes of the same kind."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.adversity.scale import BESIDE, ROWS, TABLE, VARIABLE, scale_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(autouse=True)
def scale() -> None:
    """These tests measure nothing and need no row."""


def written_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_every_test_has_a_row_and_every_row_a_test() -> None:
    found = set().union(*(written_in(path) for path in HERE.glob("test_*.py") if path != Path(__file__)))
    assert len(found) >= 2
    assert found == TABLE.keys()


def test_every_number_of_the_programme_has_tests_that_are_there() -> None:
    assert sorted(ROWS) == list(range(1, 20))
    shown = [test for row in [*ROWS.values(), *BESIDE.values()] for test in row.tests]
    assert len(shown) == len(set(shown)) >= 21
    for test in shown:
        path, _, name = test.partition("::")
        assert name in written_in(ROOT / path), test
    assert {test.partition("::")[2] for test in shown if test.startswith("tests/adversity/")} == TABLE.keys()


def test_short_and_full_have_the_same_names_and_short_is_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for test, row in TABLE.items():
        for size in ("short", "full"):
            monkeypatch.setenv(VARIABLE, size)
            assert scale_of(test).parameters == getattr(row, size)
        assert row.short.keys() == row.full.keys()
        assert all(row.short[name] <= row.full[name] for name in row.short), test


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LookupError, match="no row"):
        scale_of("test_nobody_wrote")
    monkeypatch.setenv(VARIABLE, "medium")
    with pytest.raises(LookupError, match="neither short nor full"):
        scale_of(next(iter(TABLE)))
