"""Marks in place of moments that cannot be told."""

from __future__ import annotations

import pytest

from realtime.core.live.events import STEPPED_OVER, UNSENT, Batch, ChangeEvent
from realtime.core.live.moments import MomentAssembler, cut, settle
from realtime.core.live.stepping import EVERY, mark, stepped_over
from tests.core.examples import insert


def drop(time: int, collection: str, op: str = "drop", to: str | None = None) -> ChangeEvent:
    return ChangeEvent(op, collection, time, to=to)


def test_a_batch_that_is_stepped_over_has_one_mark_for_each_collection_and_time() -> None:
    batch = Batch((insert(1, {"_id": 1}), insert(1, {"_id": 2}), insert(2, {"_id": 3})), 3, lost=True)
    marked = stepped_over(batch)
    assert [(event.op, event.collection, event.time) for event in marked.events] == [
        (STEPPED_OVER, "items", 1),
        (STEPPED_OVER, "items", 2),
    ]
    assert (marked.time, marked.lost) == (3, True)


@pytest.mark.parametrize(
    ("event", "collections"),
    [
        (drop(1, "items"), ["items"]),
        (drop(1, "items", "rename", "attic"), ["items", "attic"]),
        (drop(1, "", "rename", "items"), ["items"]),
        (drop(1, "", "dropDatabase"), [EVERY]),
    ],
)
def test_a_namespace_event_marks_all_that_it_names(event: ChangeEvent, collections: list[str]) -> None:
    assert [one.collection for one in stepped_over(Batch((event,), 1)).events] == collections


def test_everywhere_is_every_collection_once_a_time() -> None:
    batch = Batch((insert(1, {"_id": 1}), drop(1, "others")), 1)
    assert [one.collection for one in stepped_over(batch, everywhere=True).events] == [EVERY]


def test_a_mark_is_no_touch_and_no_new_collection_but_something_that_is_missing() -> None:
    settled = settle(Batch((mark("items", 1), insert(2, {"_id": 1})), 2))
    assert settled.was_stepped_over("items")
    assert not settled.was_stepped_over("others")
    assert (settled.replaced, settled.all_replaced) == (set(), False)
    assert list(settled.touches["items"]) == ["1"]
    assert len(settled.order) == 2
    everywhere = settle(Batch((mark(EVERY, 1),), 1))
    assert everywhere.was_stepped_over("items")
    assert not settle(Batch((insert(1, {"_id": 1}),), 1)).was_stepped_over("items")


def test_what_could_not_be_sent_is_history_that_is_lost_and_what_failed_here_is_internal() -> None:
    marks = (mark("items", 1), mark("others", 1, UNSENT), mark(EVERY, 1, UNSENT))
    settled = settle(Batch(marks, 1))
    reasons = [settled.reason_for(name) for name in ("items", "others", "elsewhere")]
    assert reasons == ["internal", "history_lost", "history_lost"]
    # Whatever it was: stepping over a mark is a failure of ours.
    again = settle(stepped_over(Batch(marks[1:2], 1)))
    assert again.reason_for("others") == "internal"


def test_a_mark_belongs_to_a_moment_and_nobody_takes_it_for_the_end_of_one() -> None:
    batch = Batch((insert(1, {"_id": 1}), mark("items", 2), mark("others", 2), insert(3, {"_id": 2})), 3)
    first, rest = cut(batch, 1)
    assert rest is not None
    second, _ = cut(rest, 1)
    assert [event.collection for event in second.events] == ["items", "others"]
    assert first.time == 1
    # As for an event of a transaction, whose others may come with the next reply.
    assert batch.events[1].transaction is not None
    assembler = MomentAssembler(0, 1 << 20)
    assert assembler.add([mark("items", 2)], complete=False, through=0) is None
    assert assembler.holding
