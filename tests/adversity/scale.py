"""How much of everything: one table, a row for each test.

`REALTIME_TEST_ADVERSITY=full|short` (short where it is not set, as in CI). Only repetitions, clients and durations may
differ between the two: what is asserted is the same. A test without a row fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "REALTIME_TEST_ADVERSITY"


@dataclass(frozen=True, slots=True)
class Row:
    """The parameters of one test, by name; both have the same names."""

    short: Mapping[str, float]
    full: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """The parameters of the running test. `scale["clients"]` is a whole number, `scale.seconds("load")` any."""

    test: str
    size: str
    parameters: Mapping[str, float]

    def __getitem__(self, name: str) -> int:
        return int(self.parameters[name])

    def seconds(self, name: str) -> float:
        return float(self.parameters[name])


TABLE: dict[str, Row] = {
    "test_sigterm_under_load_sends_everybody_away_in_time": Row(
        short={"clients": 40, "load": 1.5, "writers": 5},
        full={"clients": 400, "load": 10, "writers": 20},
    ),
    "test_rolling_restart_of_three_replicas_behind_nginx": Row(
        short={"clients": 120, "load": 1.5, "pause": 0.5, "rounds": 1},
        full={"clients": 500, "load": 5, "pause": 3, "rounds": 2},
    ),
    "test_a_second_signal_ends_it_at_once": Row(short={"rounds": 1}, full={"rounds": 5}),
    "test_the_primary_is_killed_and_nobody_misses_anything": Row(
        short={"clients": 50, "rounds": 1}, full={"clients": 50, "rounds": 5}
    ),
    "test_the_primary_stands_down_and_nobody_misses_anything": Row(
        short={"clients": 20, "rounds": 2}, full={"clients": 50, "rounds": 10}
    ),
    "test_a_frozen_primary_is_left_for_another_and_nobody_misses_anything": Row(
        short={"clients": 20, "frozen": 13}, full={"clients": 50, "frozen": 20}
    ),
    "test_all_members_go_down_and_come_up_again": Row(
        short={"clients": 20, "down": 10}, full={"clients": 50, "down": 30}
    ),
    "test_without_a_majority_nothing_uncommitted_is_told_and_all_arrives_after": Row(
        short={"clients": 10, "frozen": 9}, full={"clients": 50, "frozen": 30}
    ),
    "test_a_line_that_is_cut_halved_stalled_and_half_open_loses_nothing": Row(
        short={"clients": 10, "rounds": 1}, full={"clients": 20, "rounds": 6}
    ),
    "test_fuzzed_frames_get_an_answer_each_and_nobody_else_notices": Row(
        short={"clients": 10, "frames": 5000}, full={"clients": 10, "frames": 100_000}
    ),
    "test_one_in_ten_stops_reading_and_the_others_do_not_notice": Row(
        short={"clients": 200, "without": 4, "with": 8}, full={"clients": 200, "without": 15, "with": 15}
    ),
    "test_a_crowd_of_few_queries_resumes_at_once_and_reads_next_to_nothing": Row(
        short={"clients": 2000}, full={"clients": 2000}
    ),
    "test_of_many_tokens_that_end_those_renewed_cost_nothing_and_the_others_end_all": Row(
        short={"renewing": 40, "others": 20, "longest": 8, "more": 6, "pause": 0.25},
        full={"renewing": 500, "others": 100, "longest": 60, "more": 45, "pause": 1.0},
    ),
    "test_a_revocation_reaches_every_worker_within_a_second_beside_a_thousand_events_a_second": Row(
        short={"each": 4, "rounds": 3}, full={"each": 10, "rounds": 10}
    ),
    "test_while_mongodb_is_away_nobody_gets_in_by_any_door_of_any_worker": Row(
        short={"tries": 30}, full={"tries": 200}
    ),
    "test_a_flood_of_connections_over_their_limit_is_closed_unread_and_costs_little": Row(
        short={"rounds": 3, "seconds": 3}, full={"rounds": 8, "seconds": 5}
    ),
    "test_a_flood_of_bad_tokens_is_refused_by_every_door_and_the_others_do_not_notice": Row(
        short={"rounds": 3, "seconds": 3}, full={"rounds": 8, "seconds": 5}
    ),
    "test_a_relay_killed_between_the_parts_of_a_batch_leaves_nothing_out_and_repeats_nothing": Row(
        short={"kills": 3}, full={"kills": 50}
    ),
    "test_a_node_frozen_under_a_heavy_load_catches_up_and_needs_little_for_it": Row(
        short={"megabytes": 10, "warm": 2, "before": 2, "frozen": 8, "after": 1},
        full={"megabytes": 20, "warm": 10, "before": 5, "frozen": 30, "after": 5},
    ),
    "test_under_random_faults_nothing_is_missed_and_nothing_grows": Row(
        short={"clients": 10, "lasts": 60, "every": 15, "seed": 19},
        full={"clients": 10, "lasts": 600, "every": 30, "seed": 19},
    ),
    "test_the_relay_that_publishes_ends_and_another_goes_on": Row(
        short={"each": 3, "rounds": 1}, full={"each": 50, "rounds": 3}
    ),
    "test_the_relay_that_publishes_is_frozen_and_repeats_nothing_when_it_wakes": Row(
        short={"each": 3, "frozen": 5}, full={"each": 50, "frozen": 20}
    ),
    "test_the_server_of_nats_that_leads_the_stream_is_killed_or_frozen": Row(
        short={"each": 3, "frozen": 6}, full={"each": 50, "frozen": 20}
    ),
    "test_most_or_all_servers_of_nats_are_down_for_a_while": Row(
        short={"each": 3, "down": 6}, full={"each": 50, "down": 30}
    ),
    "test_the_stream_is_deleted": Row(short={"each": 3}, full={"each": 50}),
    "test_the_stream_is_trimmed_below_a_node_that_sleeps": Row(
        short={"each": 3, "asleep": 4}, full={"each": 50, "asleep": 20}
    ),
    "test_the_disks_of_nats_are_full_and_have_room_again": Row(
        short={"each": 3, "full": 4}, full={"each": 50, "full": 30}
    ),
    "test_mongodb_steps_down_while_a_relay_is_killed": Row(short={"each": 3}, full={"each": 50}),
    "test_everything_is_restarted_in_turn": Row(short={"each": 5, "pause": 0.5}, full={"each": 50, "pause": 3}),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a fault test of the programme must show, and the tests that show it."""

    must: str
    tests: tuple[str, ...]


_HERE, _EXACT = "tests/adversity", "tests/exact"
ROWS: dict[int, Shown] = {
    1: Shown(
        "the primary killed: nothing lost or repeated, pause ≤ 5 s, nobody sent away",
        (f"{_HERE}/test_elections.py::test_the_primary_is_killed_and_nobody_misses_anything",),
    ),
    2: Shown(
        "step-down: nothing lost, pause ≤ 2 s from when there is a primary, and mostly from the beginning",
        (f"{_HERE}/test_elections.py::test_the_primary_stands_down_and_nobody_misses_anything",),
    ),
    3: Shown(
        "the primary frozen: nothing lost, pause ≤ 20 s",
        (f"{_HERE}/test_elections.py::test_a_frozen_primary_is_left_for_another_and_nobody_misses_anything",),
    ),
    4: Shown(
        "all members down: recovered ≤ 5 s after a primary exists, at most a log line in 5 s",
        (f"{_HERE}/test_elections.py::test_all_members_go_down_and_come_up_again",),
    ),
    5: Shown(
        "no majority: nothing uncommitted told, the lag rises, all arrives after",
        (f"{_HERE}/test_elections.py::test_without_a_majority_nothing_uncommitted_is_told_and_all_arrives_after",),
    ),
    6: Shown(
        "the oplog rolled: while the service was down it says so, while it was frozen once; no loop",
        (
            f"{_EXACT}/test_lost.py::test_positions_older_than_the_oplog_are_answered_and_the_client_goes_on",
            f"{_EXACT}/test_lost.py::test_a_frozen_service_that_lost_the_oplog_says_so_once",
        ),
    ),
    7: Shown(
        "a quiet collection beside a neighbour that turns the oplog over: no resync",
        (f"{_EXACT}/test_lost.py::test_a_quiet_collection_survives_a_neighbour_that_turns_the_oplog_over",),
    ),
    8: Shown(
        "upstream errors by class",
        (
            "tests/mongo/test_feed_codes.py::test_each_code_has_the_action_of_its_class",
            "tests/mongo/test_feed_faults.py::test_an_error_that_can_be_resumed_loses_nothing_and_repeats_nothing",
            "tests/mongo/test_feed_faults.py::test_lost_history_is_said_once_and_the_stream_goes_on",
            (
                "tests/mongo/test_feed_faults.py::"
                "test_what_retrying_does_not_mend_is_degraded_at_once_and_heals_when_mended"
            ),
            (
                "tests/mongo/test_feed_patience.py::"
                "test_five_refusals_without_progress_are_a_matter_of_configuration_until_it_goes_on"
            ),
        ),
    ),
    9: Shown(
        "catalogue changes: told within 1 s, the next insert arrives",
        (f"{_EXACT}/test_catalogue.py::test_catalogue_changes_under_load_are_told_and_followed",),
    ),
    10: Shown(
        "poison events amid 1,000: all others whole, no restart",
        (f"{_EXACT}/test_poison.py::test_poison_events_amid_a_thousand_stop_nothing",),
    ),
    11: Shown(
        "25 bad positions: 25 clear answers, none reaches MongoDB",
        (f"{_EXACT}/test_poison.py::test_25_bad_positions_get_25_clear_answers_and_none_reaches_mongodb",),
    ),
    12: Shown(
        "200 joins under transactions: 0 gaps, 0 repeats",
        (f"{_EXACT}/test_join.py::test_200_clients_join_under_transactions_without_gap_or_repeat",),
    ),
    13: Shown(
        "the service killed at 1,000 events a second: all recovered ≤ 5 s",
        (f"{_EXACT}/test_crowd.py::test_100_subscribers_of_a_service_killed_under_load_resume",),
    ),
    14: Shown(
        "SIGTERM under load: clients told 4000, ended in time",
        (
            f"{_HERE}/test_deploys.py::test_sigterm_under_load_sends_everybody_away_in_time",
            f"{_HERE}/test_deploys.py::test_a_second_signal_ends_it_at_once",
        ),
    ),
    15: Shown(
        "one in ten stops reading: the others' p99 ≤ 2×, memory bounded, gone ≤ 30 s",
        (
            f"{_HERE}/test_deaf.py::test_one_in_ten_stops_reading_and_the_others_do_not_notice",
            "tests/web/entrance/test_sinks.py::test_a_client_that_never_reads_again_is_gone_within_30_seconds",
        ),
    ),
    16: Shown(
        "2,000 connect and resume within 2 s: 0 failures, at most 10 reads of MongoDB",
        (
            f"{_HERE}/test_crowd.py::test_a_crowd_of_few_queries_resumes_at_once_and_reads_next_to_nothing",
            f"{_EXACT}/test_crowd.py::test_2000_clients_of_20_queries_return_within_2_s",
        ),
    ),
    17: Shown(
        "fuzzed frames: an error or a close code each, no exception, healthy clients unaffected",
        (
            f"{_HERE}/test_fuzz.py::test_fuzzed_frames_get_an_answer_each_and_nobody_else_notices",
            "tests/web/test_errors.py::test_a_bad_frame_gets_its_error_and_ends_nothing",
        ),
    ),
    18: Shown(
        "a pattern made to backtrack: the loop stalled ≤ 20 ms",
        (
            "tests/core/mql/test_regex.py::test_time_is_linear_where_backtracking_would_take_for_ever",
            f"{_EXACT}/test_filters.py::test_a_pattern_made_to_backtrack_stalls_nobody",
        ),
    ),
    19: Shown(
        "load under random faults: nothing lost; memory, descriptors, tasks, cursors flat",
        (f"{_HERE}/test_soak.py::test_under_random_faults_nothing_is_missed_and_nothing_grows",),
    ),
}
"""The programme, by its numbers. A row may be shown by tests elsewhere, which have one size."""

_FLEET = (
    "test_the_relay_that_publishes_ends_and_another_goes_on",
    "test_the_relay_that_publishes_is_frozen_and_repeats_nothing_when_it_wakes",
    "test_the_server_of_nats_that_leads_the_stream_is_killed_or_frozen",
    "test_most_or_all_servers_of_nats_are_down_for_a_while",
    "test_the_stream_is_deleted",
    "test_the_stream_is_trimmed_below_a_node_that_sleeps",
    "test_the_disks_of_nats_are_full_and_have_room_again",
    "test_mongodb_steps_down_while_a_relay_is_killed",
    "test_everything_is_restarted_in_turn",
)
BESIDE = {
    "who asks, under load": Shown(
        "tokens renewed lose nothing, else nothing after; revoked ≤ 1 s on every worker; MongoDB away: nobody gets in",
        (
            f"{_HERE}/test_access.py::test_of_many_tokens_that_end_those_renewed_cost_nothing_and_the_others_end_all",
            (
                f"{_HERE}/test_access.py::"
                "test_a_revocation_reaches_every_worker_within_a_second_beside_a_thousand_events_a_second"
            ),
            f"{_HERE}/test_access.py::test_while_mongodb_is_away_nobody_gets_in_by_any_door_of_any_worker",
        ),
    ),
    "floods": Shown(
        "5,000 connects/s over their addresses' limit: closed unread, the others' p99 ≤ 2× of what it is while they go "
        "elsewhere; 300 bad tokens/s: the others' p99 ≤ 2×",
        (
            (f"{_HERE}/test_floods.py::test_a_flood_of_connections_over_their_limit_is_closed_unread_and_costs_little"),
            f"{_HERE}/test_floods.py::test_a_flood_of_bad_tokens_is_refused_by_every_door_and_the_others_do_not_notice",
        ),
    ),
    "a rolling restart behind nginx": Shown(
        "no client away longer than 5 s, MongoDB's reads flat",
        (f"{_HERE}/test_rolling.py::test_rolling_restart_of_three_replicas_behind_nginx",),
    ),
    "a fleet over NATS: three servers, two relays, four nodes": Shown(
        "nothing missing or repeated, nobody sent away but by a node that restarts; pause ≤ 6 s where a relay dies, "
        "1 s where it is ended, 12 s where NATS has another leader",
        tuple(f"{_HERE}/test_fleet.py::{name}" for name in _FLEET),
    ),
    "a relay killed between parts": Shown(
        "what it was publishing as one is stored by another relay, once: nothing missing or repeated",
        (
            (
                f"{_HERE}/test_between_parts.py::"
                "test_a_relay_killed_between_the_parts_of_a_batch_leaves_nothing_out_and_repeats_nothing"
            ),
        ),
    ),
    "a node that stands still": Shown(
        "under 20 MB/s for 30 s: at most 32 MiB more, nothing missing",
        ((f"{_HERE}/test_frozen_node.py::test_a_node_frozen_under_a_heavy_load_catches_up_and_needs_little_for_it"),),
    ),
    "the line to MongoDB": Shown(
        "cut, halved, stalled, half-open: nothing lost or repeated",
        (f"{_HERE}/test_upstream.py::test_a_line_that_is_cut_halved_stalled_and_half_open_loses_nothing",),
    ),
}


def scale_of(test: str) -> Scale:
    """The row of a test in the chosen size. `LookupError` names what is missing."""
    size = os.environ.get(VARIABLE) or "short"
    if size not in {"short", "full"}:
        raise LookupError(f"{VARIABLE}={size} is neither short nor full")
    row = TABLE.get(test)
    if row is None:
        raise LookupError(f"{test} has no row in tests/adversity/scale.py")
    if row.short.keys() != row.full.keys():
        raise LookupError(f"the row of {test} names other parameters for short than for full")
    return Scale(test, size, row.full if size == "full" else row.short)
