"""Whole moments out of replies, however they are cut; and what a batch did to each document."""

from __future__ import annotations

from dataclasses import replace as but
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.moments import MomentAssembler, cut, settle
from realtime.core.live.stepping import mark
from tests.chance import share
from tests.core.examples import delete, insert, replace, settled, update

LARGE = 1 << 30


def numbered(times: list[int], size: int = 1) -> list[ChangeEvent]:
    """One event per time, each with a key of its own, so that none can be mistaken for another."""
    return [insert(time, {"_id": number}, size=size) for number, time in enumerate(times)]


def whole(events: list[ChangeEvent]) -> dict[int, list[ChangeEvent]]:
    moments: dict[int, list[ChangeEvent]] = {}
    for event in events:
        moments.setdefault(event.time, []).append(event)
    return moments


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[ChangeEvent], list[int]]:
    """Transactions of one to five events at rising times, and where the replies are cut."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    steps = draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))
    times: list[int] = []
    time = 10
    for size, step in zip(sizes, steps, strict=True):
        time += step
        times += [time] * size
    cuts = draw(st.lists(st.integers(0, len(times)), max_size=8))
    return numbered(times), sorted(cuts)


def pieces(events: list[ChangeEvent], cuts: list[int]) -> list[list[ChangeEvent]]:
    edges = [0, *cuts, len(events)]
    return [events[start:end] for start, end in pairwise(edges)]


def check_whole(batches: list[Batch], events: list[ChangeEvent], start: int) -> None:
    """Positions rise, each batch holds exactly the moments between the one before and its own time."""
    moments = whole(events)
    before = start
    for batch in batches:
        assert batch.time > before
        expected = [event for time in sorted(moments) if before < time <= batch.time for event in moments[time]]
        assert list(batch.events) == expected
        assert not batch.lost
        before = batch.time
    assert [event for batch in batches for event in batch.events] == events


@settings(max_examples=share(100), deadline=None, derandomize=True)
@given(streams())
def test_any_split_into_replies_gives_the_same_whole_moments(stream: tuple[list[ChangeEvent], list[int]]) -> None:
    events, cuts = stream
    assembler = MomentAssembler(10, LARGE)
    batches = []
    for reply in pieces(events, cuts):
        # A reply that may go on says nothing of what comes after it.
        batches.append(assembler.add(reply, complete=False, through=reply[-1].time if reply else 0))
    batches.append(assembler.add([], complete=True, through=events[-1].time))
    check_whole([batch for batch in batches if batch is not None], events, 10)
    assert not assembler.holding


@settings(max_examples=share(100), deadline=None, derandomize=True)
@given(streams(), st.integers(0, 8), st.booleans())
def test_a_stream_that_is_opened_again_repeats_nothing_and_misses_nothing(
    stream: tuple[list[ChangeEvent], list[int]],
    breaks_at: int,
    at_the_time: bool,
) -> None:
    """The connection breaks anywhere; the stream is opened at or after what was handed over and sends all since."""
    events, cuts = stream
    assembler = MomentAssembler(10, LARGE)
    replies = pieces(events, cuts)
    batches = [assembler.add(reply, complete=False, through=0) for reply in replies[:breaks_at]]
    assembler.reset()
    assert not assembler.holding
    again = [event for event in events if event.time > assembler.time - int(at_the_time)]
    batches.append(assembler.add(again, complete=True, through=events[-1].time))
    check_whole([batch for batch in batches if batch is not None], events, 10)


def test_the_last_moment_of_a_full_reply_is_held_back_until_a_later_time_is_seen() -> None:
    one, two, three, four = numbered([11, 12, 12, 13])
    assembler = MomentAssembler(10, LARGE)
    assert assembler.add([one, two], complete=False, through=12) == Batch((one,), 11)
    assert assembler.holding
    assert assembler.time == 11
    assert assembler.add([three], complete=False, through=12) is None
    assert assembler.add([four], complete=False, through=13) == Batch((two, three), 12)
    assert assembler.add([], complete=True, through=13) == Batch((four,), 13)


def test_a_reply_that_is_not_full_ends_complete_and_is_handed_over_at_once() -> None:
    (one,) = numbered([11])
    assembler = MomentAssembler(10, LARGE)
    assert assembler.add([one], complete=True, through=11) == Batch((one,), 11)
    assert not assembler.holding


def test_an_empty_reply_moves_time_on_so_that_a_quiet_subscription_gets_a_newer_position() -> None:
    assembler = MomentAssembler(10, LARGE)
    assert assembler.add([], complete=True, through=20) == Batch((), 20)
    assert assembler.add([], complete=True, through=20) is None
    assert assembler.add([], complete=False, through=0) is None
    assert assembler.time == 20


def test_time_never_goes_back() -> None:
    assembler = MomentAssembler(10, LARGE)
    assert assembler.add([], complete=True, through=5) is None
    assert assembler.time == 10
    (old,) = numbered([9])
    assert assembler.add([old], complete=True, through=9) is None


def test_a_moment_over_the_bound_is_lost_and_said_to_be_once_its_end_is_seen() -> None:
    before, *big, after = numbered([11, 12, 12, 12, 12, 13], size=10)
    assembler = MomentAssembler(10, 25)
    assert assembler.add([before, *big[:2]], complete=False, through=12) == Batch((before,), 11)
    assert assembler.add(big[2:3], complete=False, through=12) is None
    assert assembler.holding
    assert assembler.add(big[3:], complete=False, through=12) is None
    batch = assembler.add([after], complete=True, through=13)
    assert batch == Batch((after,), 13, lost=True)
    assert not assembler.holding


def test_a_lost_moment_that_ends_with_the_reply_is_told_at_its_own_time() -> None:
    big = numbered([12, 12, 12], size=10)
    assembler = MomentAssembler(10, 25)
    assert assembler.add(big, complete=False, through=12) is None
    assert assembler.add([], complete=True, through=12) == Batch((), 12, lost=True)
    assert assembler.add([], complete=True, through=13) == Batch((), 13)


def test_of_a_lost_moment_nothing_comes_later() -> None:
    big = numbered([12, 12, 12], size=10)
    assembler = MomentAssembler(10, 15)
    assert assembler.add(big[:2], complete=False, through=12) is None
    batch = assembler.add(big[2:], complete=True, through=12)
    assert batch == Batch((), 12, lost=True)


def test_opening_again_forgets_that_a_moment_was_too_large() -> None:
    big = numbered([12, 12, 12], size=10)
    assembler = MomentAssembler(10, 25)
    assembler.add(big, complete=False, through=12)
    assembler.reset()
    assert assembler.add(big, complete=True, through=12) == Batch(tuple(big), 12)


def test_exactly_the_bound_is_still_held() -> None:
    events = numbered([12, 12], size=10)
    assembler = MomentAssembler(10, 20)
    assert assembler.add(events, complete=False, through=12) is None
    assert assembler.add([], complete=True, through=12) == Batch(tuple(events), 12)


# ------------------------------------------------------------------------------------------------------- settling


def test_events_are_kept_in_order_and_by_collection() -> None:
    events = (insert(1, {"_id": 1}), insert(2, {"_id": 2}, collection="others"), delete(3, 1))
    batch = settle(Batch(events, 9))
    assert (batch.time, batch.lost, batch.order) == (9, False, events)
    assert batch.events == {"items": [events[0], events[2]], "others": [events[1]]}
    assert set(batch.touches) == {"items", "others"}


def test_an_insert_or_replace_is_the_documents_state() -> None:
    touches = settled(insert(1, {"_id": 1, "a": 1}), replace(2, {"_id": 2, "a": 2})).touches["items"]
    assert (touches["1"].exact, touches["1"].document, touches["1"].paths) == (True, {"_id": 1, "a": 1}, None)
    assert (touches["2"].exact, touches["2"].document, touches["2"].paths) == (True, {"_id": 2, "a": 2}, None)


def test_a_delete_is_the_documents_state_gone() -> None:
    touch = settled(insert(1, {"_id": 1}), delete(2, 1)).touches["items"]["1"]
    assert (touch.exact, touch.document, touch.deleted, touch.time) == (True, None, True, 2)


def test_an_update_without_its_document_has_to_be_read_and_names_its_paths() -> None:
    touch = settled(update(1, 1, "a.0.b", removed=("c.1",))).touches["items"]["1"]
    assert (touch.exact, touch.deleted, touch.paths) == (False, False, frozenset({"a.0.b", "c.1"}))


def test_an_update_with_its_document_is_exact() -> None:
    touch = settled(update(1, 1, "a", document={"_id": 1, "a": 5})).touches["items"]["1"]
    assert (touch.exact, touch.document) == (True, {"_id": 1, "a": 5})


def test_several_updates_are_one_touch_with_all_their_paths_at_the_last_time() -> None:
    touches = settled(update(1, 1, "a"), update(2, 2, "x"), update(3, 1, "b")).touches["items"]
    assert list(touches) == ["2", "1"]
    assert (touches["1"].paths, touches["1"].time) == (frozenset({"a", "b"}), 3)


def test_an_update_after_an_insert_may_have_changed_everything() -> None:
    touch = settled(insert(1, {"_id": 1, "a": 1}), update(2, 1, "a")).touches["items"]["1"]
    assert (touch.exact, touch.paths) == (False, None)


def test_an_update_then_a_delete_needs_no_read() -> None:
    touch = settled(update(1, 1, "a"), delete(2, 1)).touches["items"]["1"]
    assert (touch.exact, touch.deleted) == (True, True)


def test_drop_and_rename_make_their_collections_other_ones() -> None:
    drop = ChangeEvent("drop", "a", 1)
    rename = ChangeEvent("rename", "b", 2, to="c")
    away = ChangeEvent("rename", "d", 3, to=None)
    onto = ChangeEvent("rename", "", 4, to="e")
    batch = settled(drop, rename, away, onto)
    assert batch.replaced == {"a", "b", "c", "d", "e"}
    assert [batch.was_replaced(name) for name in "abcde"] == [True] * 5
    assert not batch.was_replaced("f")
    assert not batch.was_replaced("")


def test_what_is_made_as_no_plain_collection_is_another_one_and_a_plain_one_is_empty_as_before() -> None:
    kinds = {"a": None, "b": "view", "c": "collation", "d": "capped"}
    batch = settled(*(ChangeEvent("create", name, time, kind=kinds[name]) for time, name in enumerate(kinds, 1)))
    assert (batch.replaced, batch.remade) == ({"b", "c", "d"}, {"b", "c"})


def test_what_was_renamed_onto_a_name_may_be_anything() -> None:
    batch = settled(ChangeEvent("rename", "a", 1, to="b"), ChangeEvent("drop", "c", 2))
    assert batch.remade == {"b"}


def test_a_touch_names_the_collection_that_the_document_is_in() -> None:
    assert settled(update(1, 1, "a", uuid="u")).touches["items"]["1"].uuid == "u"


def test_drop_database_makes_every_collection_another_one() -> None:
    batch = settled(ChangeEvent("dropDatabase", "", 1))
    assert batch.was_replaced("anything")


def test_a_batch_that_lost_a_moment_says_so_when_settled() -> None:
    batch = Batch((insert(1, {"_id": 1}),), 5)
    assert settle(but(batch, lost=True)).lost
    assert not settle(batch).lost


def parts_of(batch: Batch, most: int) -> list[Batch]:
    """All of them."""
    parts: list[Batch] = []
    rest: Batch | None = batch
    while rest is not None:
        part, rest = cut(rest, most)
        parts.append(part)
    return parts


def test_a_large_batch_is_cut_between_moments_into_parts_of_a_bounded_size() -> None:
    for sizes, most, parts in [
        ([1] * 10, 4, [4, 4, 2]),
        ([1] * 8, 4, [4, 4]),
        ([1] * 4, 4, [4]),
        ([], 4, [0]),
        ([3, 3, 3], 4, [3, 3, 3]),
        ([2, 2, 3], 4, [4, 3]),
        ([9], 4, [9]),
        ([9, 1, 1], 4, [9, 2]),
        ([1, 9], 4, [1, 9]),
        ([1, 1, 9, 1], 4, [2, 9, 1]),
    ]:
        events = tuple(
            insert(10 + moment, {"_id": f"{moment} {n}"}) for moment, size in enumerate(sizes) for n in range(size)
        )
        found = parts_of(Batch(events, 99), most)
        assert [len(part.events) for part in found] == parts
        assert tuple(event for part in found for event in part.events) == events
        assert [part.time for part in found[:-1]] == [part.events[-1].time for part in found[:-1]]
        assert found[-1].time == 99
        assert all(one.time < other.events[0].time for one, other in pairwise(found))


def test_a_batch_that_lost_a_moment_is_not_cut() -> None:
    batch = Batch(tuple(insert(10 + n, {"_id": n}) for n in range(9)), 99, lost=True)
    assert parts_of(batch, 4) == [batch]


def test_what_later_events_of_the_batch_touched_of_a_document_is_known_for_each_event() -> None:
    first, other, second = update(11, 1, "a"), update(11, 2, "b"), update(11, 1, "c", removed=("d",))
    third, again, gone = update(12, 1, "e"), replace(12, {"_id": 2}), delete(13, 2)
    batch = settled(first, other, second, third, again, gone)
    assert batch.since(first) == frozenset({"c", "d", "e"})
    assert batch.since(second) == frozenset({"e"})
    assert batch.since(third) == frozenset()
    # After a replacement or a delete it may be another document.
    assert (batch.since(other), batch.since(again), batch.since(gone)) == (None, None, frozenset())


def test_in_a_collection_made_anew_or_stepped_over_nothing_is_known_of_later_events() -> None:
    changed = update(11, 1, "a")
    assert settled(changed, ChangeEvent("drop", "items", 12)).since(changed) is None
    assert settled(changed, ChangeEvent("dropDatabase", "", 12)).since(changed) is None
    assert settled(changed, mark("items", 12)).since(changed) is None
    assert settled(changed, mark("others", 12)).since(changed) == frozenset()
