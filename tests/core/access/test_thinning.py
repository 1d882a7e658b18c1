"""Refusals that are alike: the first have a line, the others a number."""

from __future__ import annotations

import math

import pytest

from realtime.core.access import thinning
from realtime.core.access.thinning import MOST_ALIKE, WINDOW_SECONDS, Thinning


def test_the_first_of_each_kind_are_taken_and_the_others_are_counted() -> None:
    found = Thinning()
    assert [found.takes("expired", "a", 0.0) for _ in range(MOST_ALIKE + 5)] == [True] * MOST_ALIKE + [False] * 5
    assert found.takes("expired", "b", 1.0)
    assert found.takes("malformed", "a", 1.0)
    assert list(found.over(WINDOW_SECONDS - 0.1)) == []
    assert list(found.over(WINDOW_SECONDS)) == [("expired", "a", 5)]
    assert list(found.over(math.inf)) == []
    assert found.takes("expired", "a", WINDOW_SECONDS), "the next window"


def test_kinds_are_bounded_and_those_beyond_are_one_of_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MOST_KINDS", 3)
    monkeypatch.setattr(thinning, "MOST_ALIKE", 2)
    found = Thinning()
    assert [found.takes("expired", str(n), 0.0) for n in range(6)] == [True, True, True, True, True, False]
    assert found.takes("expired", "0", 0.0)
    assert list(found.over(math.inf)) == [("expired", None, 1)]
