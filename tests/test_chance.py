"""Whose chance is whose."""

from __future__ import annotations

from tests.chance import fresh_seed


def test_a_persons_run_takes_a_new_seed_each_time() -> None:
    assert len({fresh_seed({}) for _ in range(20)}) > 15


def test_a_run_of_ci_is_repeated_by_its_source_alone() -> None:
    assert fresh_seed({"CI": "true"}) == fresh_seed({"CI": "true"})


def test_a_seed_that_is_given_goes_before_both() -> None:
    assert fresh_seed({"REALTIME_TEST_SEED": "7"}) == fresh_seed({"REALTIME_TEST_SEED": "7", "CI": "true"}) == 7
