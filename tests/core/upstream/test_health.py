"""`core.health`: the lag is measured by the cluster's clock, and silence is told from stillness."""

from __future__ import annotations

import pytest

from realtime.core.upstream.health import SILENT_SECONDS, Grade, Standing


def at(seconds: int, increment: int = 1) -> int:
    return seconds << 32 | increment


def test_a_stream_that_keeps_up_has_no_lag_and_is_not_silent_however_still_the_cluster_is() -> None:
    standing = Standing()
    for _ in range(5):
        standing.look(cluster=at(1000, 7), stream=at(1000, 3), oldest=at(400))
        assert (standing.lag, standing.silent, standing.grade) == (0, False, Grade.FINE)
    assert (standing.window, standing.left) == (600, 600)


def test_silence_is_a_clock_that_goes_on_and_a_stream_that_does_not() -> None:
    standing = Standing()
    silent = []
    for seconds in range(SILENT_SECONDS + 3):
        standing.look(cluster=at(1000 + seconds), stream=at(1000), oldest=None)
        silent.append(standing.silent)
        assert standing.lag == seconds
    assert silent == [False] * (SILENT_SECONDS + 1) + [True] * 2, "at the second look that finds it standing"
    standing.look(cluster=at(1008), stream=at(1001), oldest=None)
    assert standing.lag == 7
    assert not standing.silent, "it moves: behind is not silent"


NO_OP_SECONDS, AWAIT_SECONDS = 10, 1.0
"""MongoDB writes an entry of its own so often where nobody else does, and the stream tells of it within its await."""


@pytest.mark.parametrize("phase", range(0, 150, 5))
def test_an_idle_service_is_never_silent_whenever_its_look_falls(phase: int) -> None:
    """It was told as silent for 2 s, every 10 s, where the look fell between the entry and the stream's answer."""
    standing, now, suspected = Standing(), phase / 100, 0
    while now < 120:
        cluster = int(now // NO_OP_SECONDS) * NO_OP_SECONDS
        stream = int(max(0, now - AWAIT_SECONDS) // NO_OP_SECONDS) * NO_OP_SECONDS
        standing.look(cluster=at(1000 + cluster), stream=at(1000 + stream), oldest=None)
        assert not standing.silent, now
        suspected += standing.suspect
        now += standing.next_look
    assert suspected < 12


@pytest.mark.parametrize("phase", range(0, 150, 5))
def test_a_stream_that_really_is_silent_is_told_within_8_seconds(phase: int) -> None:
    standing, now = Standing(), phase / 100
    standing.look(cluster=at(1000), stream=at(1000), oldest=None)
    while not standing.silent:
        now += standing.next_look
        standing.look(cluster=at(1000 + int(now)), stream=at(1000), oldest=None)
    assert now <= 8 + phase / 100


def rolling() -> Standing:
    """Of an oplog that has lost its first entry."""
    return Standing(began=at(1))


def test_a_stream_ahead_of_the_look_is_not_behind() -> None:
    standing = rolling()
    standing.look(cluster=at(1000), stream=at(1002), oldest=at(990))
    assert (standing.lag, standing.left) == (0, 10)


@pytest.mark.parametrize(
    ("lag", "window", "grade"),
    [
        (0, 0, Grade.FINE),
        (4, 8, Grade.FINE),
        (249, 1000, Grade.FINE),
        (250, 1000, Grade.WARNING),
        (499, 1000, Grade.WARNING),
        (500, 1000, Grade.ERROR),
        (2000, 1000, Grade.ERROR),
    ],
)
def test_a_quarter_of_the_window_is_a_warning_and_half_of_it_an_error(lag: int, window: int, grade: Grade) -> None:
    standing = rolling()
    standing.look(cluster=at(5000), stream=at(5000 - lag), oldest=at(5000 - window))
    assert standing.grade is grade
    assert standing.left == max(0, window - lag)


def test_an_oplog_that_is_not_full_loses_nothing() -> None:
    standing = Standing()
    for lag in (0, 39, 40):
        standing.look(cluster=at(5040), stream=at(5040 - lag), oldest=at(5000))
        assert (standing.lag, standing.left, standing.grade) == (lag, 40, Grade.FINE)
    standing.look(cluster=at(5040), stream=at(5010), oldest=at(5001))
    assert (standing.left, standing.grade) == (9, Grade.ERROR), "it began to roll"


def test_an_oplog_that_may_not_be_read_is_no_grade() -> None:
    standing = Standing()
    standing.look(cluster=at(5000), stream=at(100), oldest=None)
    assert (standing.window, standing.left, standing.grade) == (None, None, Grade.FINE)
