"""Whose chance is whose."""

from __future__ import annotations

import re

from tests.chance import SOURCE, fresh_seed, share


def test_a_persons_run_takes_a_new_seed_each_time() -> None:
    assert len({fresh_seed({}) for _ in range(20)}) > 15


def test_a_run_of_ci_is_repeated_by_its_source_alone() -> None:
    assert fresh_seed({"CI": "true"}) == fresh_seed({"CI": "true"})


def test_a_seed_that_is_given_goes_before_both() -> None:
    assert fresh_seed({"REALTIME_TEST_SEED": "7"}) == fresh_seed({"REALTIME_TEST_SEED": "7", "CI": "true"}) == 7


def test_a_persons_run_draws_a_fifth_and_ci_all() -> None:
    assert [share(whole, {}) for whole in (1, 4, 5, 6, 20_000)] == [1, 1, 1, 2, 4000]
    assert share(20_000, {"REALTIME_TEST_WHOLE": "1"}) == 20_000


def test_ci_and_the_coverage_of_the_core_draw_all() -> None:
    root = SOURCE.parent
    steps = (root / ".ci" / "run").read_text()
    assert re.search(r"^make cover-core\n(.*\n)*make test ARGS=--ignore=tests/core$", steps, re.MULTILINE), "once"
    assert re.search(r"^cover-core:.*\n\tREALTIME_TEST_WHOLE=1 ", (root / "Makefile").read_text(), re.MULTILINE)
