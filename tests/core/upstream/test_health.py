"""`core.upstream.health`: the lag is measured by the cluster's clock, and silence is told from stillness."""

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
    assert silent == [False] * SILENT_SECONDS + [True] * 3
    standing.look(cluster=at(1008), stream=at(1001), oldest=None)
    assert standing.lag == 7
    assert not standing.silent, "it moves: behind is not silent"


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
