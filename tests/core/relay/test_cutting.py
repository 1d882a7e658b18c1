"""Batches gathered and cut: whole moments in their order, each message bounded, and none held longer than it says."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.relay.cutting import (
    GATHERED_SECONDS,
    MOST_BYTES,
    MOST_EVENTS,
    POSITION_SECONDS,
    WAITING_BATCHES,
    WAITING_BYTES,
    Waiting,
)
from tests.chance import share
from tests.core.examples import insert


def batch(time: int, *sizes: int, lost: bool = False) -> Batch:
    """One moment with an event of each size; none: only time went on."""
    return Batch(tuple(insert(time, {"_id": f"{time}/{n}"}, size=size) for n, size in enumerate(sizes)), time, lost)


def waiting(*batches: Batch) -> Waiting:
    found = Waiting()
    for each in batches:
        found.add(each)
    return found


def taken(found: Waiting) -> list[Batch]:
    batches = []
    while len(found):
        batches.append(found.take())
    assert found.due(0) is None
    return batches


@st.composite
def feeds(draw: st.DrawFn) -> list[Batch]:
    """Batches of one to four moments each, some large, some empty, some that lost a moment."""
    batches: list[Batch] = []
    time = 10
    for _ in range(draw(st.integers(1, 8))):
        events: list[ChangeEvent] = []
        for _ in range(draw(st.integers(0, 4))):
            time += draw(st.integers(1, 3))
            sizes = draw(st.lists(st.sampled_from([1, 1000, MOST_BYTES // 3, MOST_BYTES + 1]), min_size=1, max_size=4))
            sizes *= draw(st.sampled_from([1, 1, 1, MOST_EVENTS // 3]))
            events += batch(time, *sizes).events
        time += draw(st.integers(0, 2))
        batches.append(Batch(tuple(events), time, draw(st.sampled_from([False, False, False, True]))))
    return batches


@settings(max_examples=share(300), deadline=None)
@given(feeds())
def test_every_event_comes_once_in_order_in_whole_moments_and_bounded(batches: list[Batch]) -> None:
    found = taken(waiting(*batches))
    assert [event for each in found for event in each.events] == [event for each in batches for event in each.events]
    times = [each.time for each in found]
    assert times == sorted(times)
    assert times[-1] == batches[-1].time
    assert [each for each in found if each.lost] == [each for each in batches if each.lost]
    for before, after in pairwise(found):
        assert all(event.time <= before.time for event in before.events)
        assert before.lost or all(event.time > before.time for event in after.events) or after.lost
    for each in found:
        moments = {event.time for event in each.events}
        within = len(each.events) <= MOST_EVENTS and sum(event.size for event in each.events) <= MOST_BYTES
        assert within or len(moments) == 1 or each.lost


def test_what_comes_after_a_silence_goes_at_once_and_what_follows_it_is_gathered() -> None:
    assert waiting().due(5) is None
    assert waiting(batch(1, 10)).due(5) == 0
    assert waiting(batch(1, 10)).due(0) == GATHERED_SECONDS
    assert waiting(batch(1, 10), batch(2)).due(0.015) == GATHERED_SECONDS - 0.015


def test_positions_alone_are_at_most_five_a_second() -> None:
    assert waiting(batch(1), batch(2)).due(0) == POSITION_SECONDS == 0.2
    assert waiting(batch(1)).due(1) == 0
    assert taken(waiting(batch(1), batch(2), batch(3))) == [Batch((), 3)]


def test_what_fills_a_message_or_is_lost_goes_at_once() -> None:
    assert waiting(batch(1, *[1] * MOST_EVENTS)).due(0) == 0
    assert waiting(batch(1, MOST_BYTES)).due(0) == 0
    assert waiting(batch(1), batch(2, lost=True)).due(0) == 0


def test_what_is_lost_is_told_by_itself() -> None:
    before, lost, after = batch(1, 5), batch(2, 5, lost=True), batch(3, 5)
    assert taken(waiting(before, lost, after)) == [before, lost, after]


def test_there_is_room_until_there_is_too_much() -> None:
    found = waiting(batch(1, WAITING_BYTES - 1))
    assert found.has_room
    found.add(batch(2, 1))
    assert not found.has_room
    found.take()
    assert found.has_room
    assert not waiting(*(batch(time) for time in range(WAITING_BATCHES))).has_room
