"""What is read back of the past: whole up to its bytes, else the newest of it, or nothing after a moment was lost."""

from __future__ import annotations

from realtime.core.live.events import Batch
from realtime.core.live.gathered import Gathered
from realtime.core.live.moments import until
from tests.core.examples import insert


def batch(time: int, size: int = 10) -> Batch:
    return Batch((insert(time, {"_id": time}, size=size),), time)


def test_everything_is_there_while_it_has_room() -> None:
    gathered = Gathered(0, 100, 30)
    assert all(gathered.take(batch(time)) for time in (1, 2, 3))
    assert (gathered.past.after, [one.time for one in gathered.past.batches]) == (0, [1, 2, 3])


def test_the_oldest_is_let_go_where_there_is_more() -> None:
    gathered = Gathered(0, 100, 25)
    assert [gathered.take(batch(time)) for time in (1, 2, 3)] == [True, True, False]
    assert (gathered.past.after, [one.time for one in gathered.past.batches]) == (1, [2, 3])


def test_what_is_after_the_end_does_not_count() -> None:
    gathered = Gathered(0, 2, 25)
    assert all(gathered.take(batch(time)) for time in (1, 2, 3))


def test_before_a_moment_that_was_lost_nothing_is_left() -> None:
    gathered = Gathered(0, 100, 100)
    gathered.take(batch(1))
    assert not gathered.take(Batch((), 2, lost=True))
    gathered.take(batch(3))
    assert (gathered.past.after, [one.time for one in gathered.past.batches]) == (2, [3])


def test_a_batch_up_to_a_time() -> None:
    whole = Batch((insert(1, {"_id": 1}), insert(2, {"_id": 2}), insert(3, {"_id": 3})), 4, images={})
    assert until(whole, 4) is whole
    part = until(whole, 2)
    assert ([event.time for event in part.events], part.time, part.images) == ([1, 2], 2, None)
