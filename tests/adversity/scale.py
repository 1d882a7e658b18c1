"""How much of everything: one table, a row for each test.

`REALTIME_ADVERSITY=full|short` (short where it is not set, as in CI). Only repetitions, clients and durations may
differ between the two: what is asserted is the same. A test without a row fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "REALTIME_ADVERSITY"


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
    "test_under_random_faults_nothing_is_missed_and_nothing_grows": Row(
        short={"clients": 10, "lasts": 60, "every": 15, "seed": 19},
        full={"clients": 10, "lasts": 600, "every": 30, "seed": 19},
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
