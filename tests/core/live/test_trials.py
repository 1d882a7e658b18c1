"""Failures in a row, by what failed."""

from __future__ import annotations

from realtime.core.live.trials import Trials


def test_the_last_failure_that_it_may_have_is_said_and_so_are_all_after_it() -> None:
    trials = Trials(3)
    assert [trials.failed("one") for _ in range(4)] == [False, False, True, True]
    assert (trials.count("one"), trials.count("other")) == (4, 0)


def test_failures_with_a_success_between_them_are_not_in_a_row() -> None:
    trials = Trials(2)
    assert not trials.failed("one")
    trials.passed("one")
    trials.passed("other")
    assert not trials.failed("one")
    assert trials.failed("one")


def test_each_counts_by_itself_and_what_has_not_failed_takes_no_room() -> None:
    trials = Trials(2)
    assert [trials.failed(name) for name in "abc"] == [False] * 3
    assert trials.failed("b")
    for name in "abc":
        trials.passed(name)
    assert not trials.failing
