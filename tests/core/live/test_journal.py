"""The journal: what it still knows, what it has forgotten, and what it keeps while somebody waits."""

from __future__ import annotations

from dataclasses import replace as but
from typing import Any

import pytest

from realtime.core.bson.stored import encode
from realtime.core.live.events import Batch, ChangeEvent, to_timestamp
from realtime.core.live.journal import ENTRY_BYTES, Entry, Journal, follow
from realtime.core.live.judging import After
from realtime.core.live.moments import settle
from realtime.core.live.stepping import mark
from tests.core.examples import delete, insert, replace, update


def entry(*times: int, size: int = 0) -> Entry:
    """An entry of one insert a time."""
    return Entry(settle(Batch(tuple(insert(time, {"_id": time}, size=size) for time in times), times[-1])))


def journal(*entries: Entry, start: int = 10, max_bytes: int = 1 << 20, max_seconds: float = 60) -> Journal:
    """A journal that took these entries at second 0."""
    made = Journal(start, max_bytes=max_bytes, max_seconds=max_seconds)
    for one in entries:
        made.append(one, 0)
    return made


def times(found: list[Entry] | None) -> list[int] | None:
    """The entries' times."""
    return None if found is None else [one.time for one in found]


@pytest.mark.parametrize(
    ("after", "known"),
    [(9, None), (10, [11, 13]), (11, [13]), (12, [13]), (13, []), (99, [])],
)
def test_what_lies_after_a_time_is_told_whole_or_not_at_all(after: int, known: list[int] | None) -> None:
    assert times(journal(entry(11), entry(12, 13)).after(after)) == known


def test_over_its_bytes_the_oldest_go_and_are_no_longer_answered_for() -> None:
    kept = journal(entry(11, size=100), entry(12, size=100), max_bytes=2 * ENTRY_BYTES)
    assert times(kept.after(11)) == [12]
    assert kept.after(10) is None
    assert (len(kept), kept.start, kept.size) == (1, 11, ENTRY_BYTES + 100)


def test_over_its_seconds_the_oldest_go() -> None:
    kept = journal(entry(11))
    kept.append(entry(12), 61)
    assert (kept.after(10), times(kept.after(11))) == (None, [12])


def test_time_that_goes_on_without_events_costs_nothing() -> None:
    kept = journal()
    for time in range(11, 1000):
        kept.append(Entry(settle(Batch((), time))), 0)
    assert (len(kept), kept.start, times(kept.after(10))) == (0, 10, [])
    kept.append(entry(1001), 0)
    kept.append(Entry(settle(Batch((), 1002))), 0)
    assert (len(kept), kept.start, times(kept.after(10))) == (1, 10, [1001])


def test_what_was_read_back_while_nothing_happened_is_joined() -> None:
    kept = journal()
    kept.append(Entry(settle(Batch((), 500))), 0)
    assert kept.prepend([entry(7)], 5, 10, 0)
    assert times(kept.after(5)) == [7]


def test_while_somebody_waits_nothing_is_forgotten() -> None:
    kept = journal(max_bytes=0)
    kept.hold(10)
    kept.append(Entry(settle(Batch((), 11))), 0)
    kept.append(entry(12), 0)
    assert times(kept.after(10)) == [12]
    kept.release(10, 0)
    assert (len(kept), kept.start) == (0, 12)


def test_what_nobody_waits_for_is_forgotten_although_somebody_waits() -> None:
    kept = journal(max_bytes=0)
    kept.hold(12)
    kept.hold(13)
    kept.append(entry(11), 0)
    assert kept.start == 11
    for time in range(12, 15):
        kept.append(entry(time), 0)
    assert (times(kept.after(12)), kept.after(11)) == ([13, 14], None)
    kept.release(12, 0)
    assert (times(kept.after(13)), kept.after(12)) == ([14], None)


def test_a_journal_that_is_ahead_of_who_waits_stays_where_it_is() -> None:
    kept = journal(start=20)
    kept.hold(15)
    kept.append(Entry(settle(Batch((), 21))), 0)
    assert kept.start == 20
    assert kept.prepend([entry(17)], 15, 20, 0)
    assert times(kept.after(15)) == [17]


def test_what_was_lost_is_not_taken_for_whole() -> None:
    kept = journal(entry(11), entry(12))
    kept.append(Entry(settle(Batch((), 20, lost=True))), 0)
    assert (kept.after(12), kept.after(19), times(kept.after(20))) == (None, None, [])


def test_what_was_read_back_goes_before_what_is_there() -> None:
    kept = journal(entry(11), entry(12))
    assert kept.prepend([entry(6), entry(8)], 5, 12, 0)
    assert times(kept.after(5)) == [6, 8, 11, 12]
    assert kept.after(4) is None
    assert kept.size == 4 * ENTRY_BYTES


def test_what_leaves_a_gap_is_not_taken() -> None:
    kept = journal(entry(11))
    assert not kept.prepend([entry(6)], 5, 9, 0)
    assert (kept.after(5), times(kept.after(10))) == (None, [11])


def test_what_the_journal_has_already_is_not_taken_twice() -> None:
    kept = journal(entry(11))
    assert kept.prepend([entry(9), entry(11)], 8, 11, 0)
    assert times(kept.after(8)) == [9, 11]


def test_an_entry_knows_which_documents_it_lacks() -> None:
    changed, told, read = update(11, 1, "a"), update(11, 2, "a", document={"_id": 2}), update(11, 3, "a")
    made = Entry(settle(Batch((changed, told, read), 11)), {"items": {"3": {"_id": 3, "a": 1}}})
    assert [made.lacks(event) for event in (changed, told, read)] == [True, False, False]
    assert made.image(read) == (11, {"_id": 3, "a": 1})
    assert made.image(changed) == (11, None)
    made.late["items", "1"] = (15, {"_id": 1, "a": 2})
    assert not made.lacks(changed)
    assert made.image(changed) == (15, {"_id": 1, "a": 2})


def test_what_a_later_event_of_the_batch_tells_is_not_lacking() -> None:
    changed, whole, gone = update(11, 1, "a"), replace(12, {"_id": 1, "a": 5}), update(11, 2, "a")
    made = Entry(settle(Batch((changed, gone, whole, delete(12, 2)), 12)))
    assert not made.lacks(changed)
    assert made.image(changed) == (12, {"_id": 1, "a": 5})
    assert not made.lacks(gone)
    assert made.image(gone) == (12, None)
    assert not made.lacks(whole)


def test_in_a_collection_that_was_replaced_no_event_tells_of_another() -> None:
    changed = update(11, 1, "a")
    made = Entry(settle(Batch((changed, replace(12, {"_id": 1, "a": 5}), ChangeEvent("drop", "items", 13)), 13)))
    assert made.lacks(changed)


def test_history_kept_for_no_time_is_none() -> None:
    kept = journal(entry(11), max_seconds=0)
    kept.append(entry(12), 1)
    assert (kept.after(10), times(kept.after(11))) == (None, [12])


def test_a_journal_that_begins_anew_knows_nothing_from_before_and_keeps_who_waits() -> None:
    kept = journal(entry(11), entry(12))
    kept.hold(12)
    kept.begin(13)
    assert (kept.after(12), kept.after(13), kept.size, kept.start) == (None, [], 0, 13)
    kept.append(entry(14), 1)
    kept.release(12, 1)
    assert times(kept.after(13)) == [14]


def undecoded(time: int, document: dict[str, Any]) -> ChangeEvent:
    """An insert of which only what names it was decoded."""
    fields = {
        "operationType": "insert",
        "clusterTime": to_timestamp(time),
        "ns": {"db": "shop", "coll": "items"},
        "documentKey": {"_id": document["_id"]},
        "fullDocument": document,
    }
    named = insert(time, document, raw=encode(fields))
    return but(named, document=None)


def test_what_was_left_undecoded_is_whole_to_who_asks_for_its_collection_and_late_documents_stay() -> None:
    made = Entry(settle(Batch((undecoded(11, {"_id": 1, "a": 5}), update(12, 2, "a")), 12)))
    made.late["items", "2"] = (13, {"_id": 2})
    assert made.settled.order[0].document is None
    assert not made.settled.touches["items"]["1"].exact
    assert made.whole(lambda name: name == "others") is made
    found = made.whole(lambda name: name == "items")
    assert [event.document for event in found.settled.order] == [{"_id": 1, "a": 5}, None]
    assert found.settled.order[0].raw is None
    assert found.settled.touches["items"]["1"].document == {"_id": 1, "a": 5}
    assert found.late is made.late
    assert (found.time, found.settled.lost) == (12, False)
    assert found.whole(lambda _: True) is found


def test_a_document_that_came_with_its_event_is_the_one_after_it() -> None:
    told, read = update(11, 1, "a", document={"_id": 1}), update(11, 2, "a")
    made = Entry(settle(Batch((told, read, update(12, 2, "b")), 12)), {"items": {"2": {"_id": 2}}})
    assert made.after(told) == After(11, {"_id": 1}, frozenset())
    assert made.after(read) == After(12, {"_id": 2}, frozenset({"b"}))


def test_what_happened_until_a_late_document_was_read_is_noted_from_the_entries_until_then() -> None:
    changed, twice = update(11, 1, "a"), update(11, 2, "a")
    first = Entry(settle(Batch((changed, twice, update(12, 2, "b")), 12)))
    second = Entry(settle(Batch((update(13, 1, "c"), update(13, 2, "d"), update(16, 1, "later")), 16)))
    first.late["items", "1"], first.late["items", "2"] = (15, {"_id": 1}), (15, {"_id": 2})
    assert first.after(changed) == After(15, {"_id": 1}, None)  # nobody has looked yet
    follow([first, second])
    assert first.after(changed) == After(15, {"_id": 1}, frozenset({"c"}))
    assert first.after(twice) == After(15, {"_id": 2}, frozenset({"b", "d"}))
    # Whoever looks again knows no more, and no less.
    follow([first])
    assert first.after(changed).since == frozenset({"c"})


def test_a_late_document_may_be_another_one_where_it_or_its_collection_was_made_anew_meanwhile() -> None:
    for later in (replace(13, {"_id": 1}), delete(13, 1), ChangeEvent("drop", "items", 13), mark("items", 13)):
        changed = update(11, 1, "a")
        first, second = Entry(settle(Batch((changed,), 11))), Entry(settle(Batch((later,), 14)))
        first.late["items", "1"] = (13, {"_id": 1})
        follow([first, second])
        assert first.after(changed).since is None, later
        unread = Entry(settle(Batch((changed,), 11)), late={("items", "1"): (12, {"_id": 1})})
        follow([unread, second])
        assert unread.after(changed).since == frozenset(), later


def test_of_what_is_not_decoded_yet_it_is_seen_what_was_touched() -> None:
    changed, whole = update(11, 1, "a"), undecoded(12, {"_id": 1, "a": 5})
    first, second = Entry(settle(Batch((changed,), 11))), Entry(settle(Batch((whole,), 12)))
    first.late["items", "1"] = (13, {"_id": 1})
    follow([first, second])
    assert first.after(changed).since is None
    assert second.settled.order[0].raw is not None
