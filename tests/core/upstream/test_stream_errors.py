"""What each error of the change stream leads to: the classes of docs/faults.md, section 1, code by code."""

from __future__ import annotations

import pytest

from realtime.core.upstream.stream_errors import MOST_REFUSALS, WITHIN_SECONDS, Action, Patience, action_for

BY_CLASS = {
    "A": (Action.REOPEN, [43, 189, 10107, 13435, 13436, 11602, 91, 11600, 50]),
    "B": (Action.REOPEN, [237, 11601, 175, 202, 6, 7, 89, 262, 9001, 63, 150, 133, 234]),
    "C": (Action.HISTORY_LOST, [286, 280, 260, 136, 40585, 40615]),
    "D": (Action.STEP_OVER, [10334]),
    "E": (Action.CONFIGURATION, [40573, 123, 13, 18, 8000, 20, 72, 73, 166, 40324, 40415]),
}
CASES = [(f"{name}-{code}", code, action) for name, (action, codes) in BY_CLASS.items() for code in codes]


@pytest.mark.parametrize(("code", "action"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_server_code_leads_to_the_action_of_its_class(code: int, action: Action) -> None:
    assert action_for(code) is action


def test_an_error_of_the_network_opens_the_stream_again() -> None:
    assert action_for(None) is Action.REOPEN


def test_a_code_nobody_knows_opens_the_stream_again() -> None:
    assert action_for(999_999) is Action.REOPEN


@pytest.mark.parametrize("code", [286, 10334, 13, 999_999])
def test_the_label_resumable_wins_over_the_code(code: int) -> None:
    assert action_for(code, ["RetryableWriteError", "ResumableChangeStreamError"]) is Action.REOPEN
    assert action_for(code, ["RetryableWriteError"]) is action_for(code)


# --------------------------------------------------------------------------------------------- patience (class B to E)


def answers(patience: Patience, code: int | None, times: int, every: float = 1.0) -> list[Action]:
    return [patience.action(code, (), turn * every) for turn in range(times)]


@pytest.mark.parametrize("code", [*BY_CLASS["B"][1], 999_999])
def test_the_fifth_failure_of_class_b_in_a_minute_is_a_matter_of_configuration(code: int) -> None:
    wanted = [Action.REOPEN] * (MOST_REFUSALS - 1) + [Action.CONFIGURATION] * 2
    assert answers(Patience(), code, MOST_REFUSALS + 1) == wanted


@pytest.mark.parametrize("code", [None, *BY_CLASS["A"][1]])
def test_an_election_takes_as_long_as_it_takes(code: int | None) -> None:
    assert set(answers(Patience(), code, 100)) == {Action.REOPEN}


def test_what_is_labelled_resumable_is_never_given_up() -> None:
    patience = Patience()
    assert {patience.action(6, ["ResumableChangeStreamError"], 0.0) for _ in range(20)} == {Action.REOPEN}


@pytest.mark.parametrize("name", ["C", "D", "E"])
def test_other_classes_keep_their_action(name: str) -> None:
    action, codes = BY_CLASS[name]
    assert {answer for code in codes for answer in answers(Patience(), code, 7)} == {action}


def test_failures_far_apart_are_not_added_up() -> None:
    assert set(answers(Patience(), 6, 20, every=WITHIN_SECONDS / (MOST_REFUSALS - 1))) == {Action.REOPEN}


def test_progress_begins_the_count_anew() -> None:
    patience = Patience()
    for _ in range(3):
        assert set(answers(patience, 6, MOST_REFUSALS - 1)) == {Action.REOPEN}
        patience.went_on()
    assert answers(patience, 6, MOST_REFUSALS)[-1] is Action.CONFIGURATION
