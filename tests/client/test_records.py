"""What the client hands out: events as a frame has them, and the delays between tries."""

from __future__ import annotations

import dataclasses

import pytest

from realtime.client.records import Backoff, Event

EVENT = {"op": "update", "collection": "orders", "key": 1, "position": "P", "updated": ["a"], "removed": [], "new": 7}


def test_an_event_has_what_the_frame_has_and_ignores_what_it_does_not_know() -> None:
    event = Event.of(EVENT)
    assert event == Event("update", "orders", "P", key=1, updated=("a",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.op = "insert"  # type: ignore[misc]  # reason: that it is refused is the test


def test_an_event_of_a_later_service_is_handed_out_with_its_own_op() -> None:
    assert Event.of({"op": "shard", "collection": "", "position": "P"}).op == "shard"


def test_delays_grow_up_to_the_limit_and_are_half_chance() -> None:
    backoff = Backoff(first=1, factor=2, limit=10)
    assert [backoff.delay(attempt, 1.0) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [backoff.delay(attempt, 0.0) for attempt in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert backoff.delay(10**9, 1.0) == 10


def test_the_service_may_ask_for_more_but_not_for_less() -> None:
    assert Backoff(first=1).delay(0, 1.0, least=7) == 7
    assert Backoff(first=1).delay(0, 1.0, least=0.1) == 1
