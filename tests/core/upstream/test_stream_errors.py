"""What each error of the change stream leads to: the classes of docs/faults.md, section 1, code by code."""

from __future__ import annotations

import pytest

from realtime.core.upstream.stream_errors import (
    MOST_CLOSINGS,
    MOST_REFUSALS,
    WITHIN_SECONDS,
    Action,
    Care,
    Closings,
    Patience,
    action_for,
)

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


# ------------------------------------------------------------------------------------------- an event that is too large


def test_a_large_event_is_asked_for_in_fragments_alone_without_images_by_name_and_then_left_out() -> None:
    steps = [Care.NONE]
    while len(steps) < 7:
        steps.append(steps[-1].more(split=True))
    assert steps == [*Care, Care.WITHOUT_LONG_KEYS]


def test_the_last_three_steps_are_for_one_event_alone() -> None:
    assert [care for care in Care if care.of_one] == [Care.WITHOUT_IMAGES, Care.BARE, Care.WITHOUT_LONG_KEYS]


def test_what_is_refused_although_long_keys_are_left_out_costs_the_history_and_not_the_feed() -> None:
    assert action_for(10334, care=Care.WITHOUT_LONG_KEYS) is Action.HISTORY_LOST
    assert {action_for(10334, care=care) for care in set(Care) - {Care.WITHOUT_LONG_KEYS}} == {Action.STEP_OVER}


def test_what_cannot_be_split_here_is_read_alone_at_once() -> None:
    assert Care.NONE.more(split=False) is Care.ONE_BY_ONE


@pytest.mark.parametrize("code", [40324, 7182500, 10334, 13])
def test_a_server_that_refuses_to_split_is_asked_without_it(code: int) -> None:
    """It has no such stage, or an event that it cannot split."""
    assert action_for(code, care=Care.SPLIT) is Action.STEP_OVER
    assert Patience().action(code, (), 0.0, Care.SPLIT) is Action.STEP_OVER
    for care in set(Care) - {Care.SPLIT, Care.WITHOUT_LONG_KEYS}:
        assert action_for(code, care=care) is action_for(code)


@pytest.mark.parametrize("code", [None, *BY_CLASS["A"][1], *BY_CLASS["B"][1], *BY_CLASS["C"][1]])
def test_other_errors_mean_the_same_while_events_are_split(code: int | None) -> None:
    assert action_for(code, care=Care.SPLIT) is action_for(code)


# ------------------------------------------------------------------------------- a connection in place of an answer


def test_a_connection_closed_again_and_again_at_one_place_is_an_answer_too_large_to_be_given() -> None:
    closings = Closings()
    assert [closings.action(7, Care.NONE) for _ in range(MOST_CLOSINGS - 1)] == [Action.REOPEN] * (MOST_CLOSINGS - 1)
    assert closings.action(7, Care.NONE) is Action.STEP_OVER
    # Then there is reason to go on.
    assert [closings.action(7, care) for care in (Care.SPLIT, Care.ONE_BY_ONE, Care.WITHOUT_IMAGES)] == [
        Action.STEP_OVER
    ] * 3
    assert [closings.action(7, Care.BARE) for _ in range(2)] == [Action.REOPEN, Action.STEP_OVER]


def test_connections_closed_at_different_places_are_chance() -> None:
    closings = Closings()
    assert {closings.action(time, Care.NONE) for time in range(20)} == {Action.REOPEN}


def test_it_is_counted_anew_after_each_step() -> None:
    closings = Closings()
    assert [closings.action(7, Care.BARE) for _ in range(4)] == [Action.REOPEN, Action.STEP_OVER] * 2


def test_past_the_last_step_a_closed_connection_costs_the_history_and_not_the_feed() -> None:
    closings = Closings()
    assert [closings.action(7, Care.WITHOUT_LONG_KEYS) for _ in range(2)] == [Action.REOPEN, Action.HISTORY_LOST]


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
