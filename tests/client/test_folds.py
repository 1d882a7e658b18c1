"""Frames folded into views and events: PROTOCOL 4.3, over connections that end anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.client import folds
from realtime.client.folds import EventFold, Fold, Frame, ViewFold
from realtime.client.records import Moment
from realtime.client.rows import Rows


def at(number: int) -> str:
    return f"5FF2E727-{number:016X}"


def document(key: Any, **fields: Any) -> dict[str, Any]:
    return {"_id": key, **fields}


def put(op: str, key: Any, index: int | None = None, **fields: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"op": op, "key": key, "document": document(key, **fields), **place}


def subscribed(channel: int = 1, *, recovered: bool = False) -> Frame:
    return {"type": "subscribed", "id": "s", "channel": channel, "recovered": recovered, "query": "hash"}


def snapshot(*documents: Any, number: int | None, first: bool = True) -> Frame:
    end = {} if number is None else {"position": at(number)}
    return {"type": "snapshot", "id": "s", "documents": list(documents), "first": first, "last": bool(end), **end}


def live(number: int) -> Frame:
    return {"type": "live", "id": "s", "position": at(number)}


def changes(number: int | None, *entries: Any, own: bool = False) -> Frame:
    end = {"more": True} if number is None else {"position": at(number)}
    return {"type": "changes", "changes": list(entries), **({"id": "s"} if own else {"channel": 1}), **end}


def events(number: int | None, *entries: tuple[str, int], own: bool = False) -> Frame:
    told = [{"op": "insert", "collection": "c", "key": key, "position": at(position)} for key, position in entries]
    end = {"more": True} if number is None else {"position": at(number)}
    return {"type": "events", "events": told, **({"id": "s"} if own else {"channel": 1}), **end}


def feed(fold: Fold, *frames: Frame) -> list[folds.Need | None]:
    return [fold.take(frame) for frame in frames]


def entered(*documents: Any, number: int = 5, **asked: Any) -> ViewFold:
    fold = ViewFold({"collection": "c", **asked})
    feed(fold, subscribed(), snapshot(*documents, number=number), live(number))
    return fold


def moments(fold: ViewFold) -> list[Moment]:
    found = []
    while (moment := fold.next_moment()) is not None:
        found.append(moment)
    return found


# ---------------------------------------------------------------------------------------------------------- query mode


def test_a_view_goes_from_connecting_through_syncing_to_live() -> None:
    fold = ViewFold({"collection": "c", "filter": {}})
    states = [fold.state]
    assert fold.request() == {"collection": "c", "filter": {}}
    states.append(fold.state)
    for frame in (subscribed(), snapshot(document(1), number=None), snapshot(document(2), number=5, first=False)):
        fold.take(frame)
        states.append(fold.state)
        assert fold.documents() == []
    fold.take(live(5))
    assert [*states, fold.state] == ["connecting", "syncing", "syncing", "syncing", "syncing", "live"]
    assert fold.documents() == [document(1), document(2)]
    assert (fold.get(2), fold.get("2"), fold.position) == (document(2), None, at(5))
    assert moments(fold) == []


def test_frames_of_the_channel_before_live_and_at_its_position_concern_others() -> None:
    fold = ViewFold({"collection": "c"})
    feed(fold, subscribed(), changes(4, put("enter", 9)), snapshot(document(1), number=5), changes(6, put("enter", 8)))
    feed(fold, live(6), changes(6, put("enter", 7)), changes(7, put("enter", 2)))
    assert fold.documents() == [document(1), document(2)]
    assert [moment.position for moment in moments(fold)] == [at(7)]


def test_a_moment_of_several_frames_is_applied_with_its_last() -> None:
    fold = entered(document(1))
    feed(fold, changes(None, {"op": "leave", "key": 1}))
    assert fold.documents() == [document(1)]
    feed(fold, changes(7, put("enter", 2)))
    assert fold.documents() == [document(2)]
    (moment,) = moments(fold)
    assert [change.op for change in moment.changes] == ["leave", "enter"]


def test_an_unfinished_moment_is_forgotten_with_its_connection_and_with_a_resync() -> None:
    for interruption in ("lost", "resync"):
        fold = entered(document(1))
        feed(fold, changes(None, {"op": "leave", "key": 1}))
        if interruption == "lost":
            fold.lost()
            feed(fold, subscribed(recovered=True), live(6))
        else:
            feed(fold, {"type": "resync", "id": "s", "reason": "x"}, snapshot(document(1), number=6), live(6))
        feed(fold, changes(7, put("enter", 2)))
        assert fold.documents() == [document(1), document(2)]
        assert [len(moment.changes) for moment in moments(fold) if moment.changes] == [1]


def test_it_goes_on_from_its_position_with_the_hash_of_the_query() -> None:
    fold = entered(document(1), document(2))
    fold.reach(at(6))
    fold.lost()
    assert (fold.state, fold.documents()) == ("stale", [document(1), document(2)])
    assert fold.request() == {"collection": "c", "position": at(6), "query": "hash"}
    feed(fold, subscribed(2, recovered=True))
    states = [fold.state]
    again = changes(
        9, put("update", 1), {"op": "leave", "key": 2}, {"op": "leave", "key": 7}, put("update", 3), own=True
    )
    feed(fold, again, live(9))
    assert [*states, fold.state] == ["stale", "live"]
    (moment,) = moments(fold)
    assert [(change.op, change.key) for change in moment.changes] == [("leave", 2), ("enter", 3)]
    assert moment.position == fold.position == at(9)


def test_what_cannot_be_taken_up_stays_as_it_was_until_the_new_snapshot_is_whole() -> None:
    fold = entered(document(1, n=1), document(2), document(4))
    fold.lost()
    feed(fold, subscribed(recovered=False), snapshot(document(1, n=2), number=None))
    assert (fold.state, fold.position) == ("stale", at(5))
    assert fold.documents() == [document(1, n=1), document(2), document(4)]
    feed(fold, snapshot(document(4), number=8, first=False), changes(9, put("enter", 3), own=True))
    assert fold.documents() == [document(1, n=1), document(2), document(4)]
    feed(fold, live(9))
    assert (fold.state, fold.position) == ("live", at(9))
    (moment,) = moments(fold)
    assert moment.snapshot
    assert [(change.op, change.key) for change in moment.changes] == [("leave", 2), ("update", 1), ("enter", 3)]


def test_a_connection_lost_within_a_snapshot_leaves_the_old_view_and_its_position() -> None:
    fold = entered(document(1))
    fold.lost()
    feed(fold, subscribed(recovered=False), snapshot(document(2), number=None))
    fold.lost()
    assert (fold.state, fold.documents(), fold.position) == ("stale", [document(1)], at(5))
    feed(fold, subscribed(recovered=False), snapshot(document(3), number=9), live(9))
    assert fold.documents() == [document(3)]


def test_after_a_resync_nothing_is_taken_up_from_before_it() -> None:
    fold = entered(document(1))
    feed(fold, {"type": "resync", "id": "s", "reason": "history_lost"}, changes(6, put("enter", 2)))
    assert (fold.state, fold.documents(), fold.channel) == ("stale", [document(1)], 1)
    fold.lost()
    assert fold.request() == {"collection": "c"}


def test_an_unknown_op_asks_for_a_fresh_subscription() -> None:
    fold = entered(document(1))
    assert feed(fold, changes(7, put("swap", 1), put("enter", 2))) == ["again"]
    assert fold.documents() == [document(1)]
    fold.lost()
    assert "position" not in fold.request()


def test_unknown_frames_and_fields_are_ignored() -> None:
    fold = entered(document(1))
    feed(fold, {"type": "weather", "id": "s"}, {**changes(7, put("enter", 2) | {"mood": "good"}), "colour": 1})
    assert fold.documents() == [document(1), document(2)]


def test_heartbeats_move_the_position_of_a_live_view_alone_and_never_back() -> None:
    fold = entered(document(1))
    fold.reach(at(9))
    fold.reach(at(7))
    assert fold.position == at(9)
    fold.lost()
    fold.reach(at(11))
    assert fold.position == at(9)


def test_a_window_keeps_its_order() -> None:
    fold = entered(document("b"), document("a"), sort=[["n", 1]], limit=2)
    feed(fold, changes(7, {"op": "leave", "key": "a"}, put("enter", "c", 0)))
    assert [one["_id"] for one in fold.documents()] == ["c", "b"]


def test_a_slow_consumer_of_moments_gets_the_rest_as_one_and_folding_stays_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folds, "MOMENT_CHANGES", 10)
    fold = entered(document(0))
    folded = Rows(fold.documents())
    for number in range(6, 18):
        feed(fold, changes(number, put("enter", number)))
    feed(fold, changes(18, {"op": "leave", "key": 7}, put("update", 0, n=1)))
    told = moments(fold)
    for moment in told:
        folded.apply(moment.changes)
    assert [(moment.position, len(moment.changes)) for moment in told] == [(at(18), 12)]
    feed(fold, changes(19, put("enter", "z")))
    (last,) = moments(fold)
    folded.apply(last.changes)
    assert folded.documents == fold.rows.documents


def test_moments_begin_where_the_consumer_does() -> None:
    fold = entered(document(1))
    feed(fold, changes(6, put("enter", 2)))
    fold.begin()
    feed(fold, changes(7, put("enter", 3)))
    assert [moment.position for moment in moments(fold)] == [at(7)]


# --------------------------------------------------------------------------------------------------------- events mode


def listening(bound: int = 1000, **asked: Any) -> EventFold:
    fold = EventFold({"mode": "events", "collection": "c", **asked}, bound=bound)
    feed(fold, subscribed(), live(5))
    return fold


def handed(fold: EventFold) -> list[tuple[Any, str | None]]:
    """Each event with the position that is safe after it."""
    found = []
    while (event := fold.next_event()) is not None:
        found.append((event.key, fold.position))
    return found


def test_the_position_is_that_of_the_last_moment_handed_out_whole() -> None:
    fold = listening()
    assert fold.position == at(5)
    feed(fold, events(9, ("a", 7), ("b", 7), ("c", 7), ("d", 8), ("e", 8)))
    assert handed(fold) == [("a", at(5)), ("b", at(5)), ("c", at(7)), ("d", at(7)), ("e", at(9))]


def test_a_moment_of_several_frames_comes_whole_or_not_at_all() -> None:
    fold = listening()
    feed(fold, events(None, ("a", 7), ("b", 7)))
    assert handed(fold) == []
    fold.lost()
    assert fold.request() == {"mode": "events", "collection": "c", "position": at(5)}
    feed(fold, subscribed(recovered=True), events(7, ("a", 7), ("b", 7), own=True), live(7))
    assert handed(fold) == [("a", at(5)), ("b", at(7))]


def test_it_goes_on_after_what_was_received_even_if_nobody_took_it_yet() -> None:
    fold = listening(since="yesterday")
    feed(fold, events(7, ("a", 7)))
    fold.lost()
    assert fold.request() == {"mode": "events", "collection": "c", "position": at(7)}
    assert handed(fold) == [("a", at(7))]


def test_a_replay_that_was_interrupted_goes_on_within_itself() -> None:
    fold = EventFold({"mode": "events", "collection": "c", "since": "yesterday"}, bound=1000)
    assert fold.request()["since"] == "yesterday"
    feed(fold, subscribed(recovered=True), events(7, ("a", 7), own=True))
    fold.lost()
    assert fold.request() == {"mode": "events", "collection": "c", "position": at(7)}


def test_a_heartbeat_moves_the_position_once_everything_before_it_is_handed_out() -> None:
    fold = listening()
    fold.reach(at(6))
    assert fold.position == at(6)
    feed(fold, events(7, ("a", 7)))
    fold.reach(at(9))
    assert fold.position == at(6)
    assert handed(fold) == [("a", at(9))]
    fold.reach(at(8))
    assert fold.position == at(9)


def test_no_heartbeat_counts_before_live() -> None:
    fold = EventFold({"mode": "events", "collection": "c", "position": at(3)}, bound=1000)
    feed(fold, subscribed(recovered=True))
    fold.reach(at(9))
    assert (fold.position, fold.request()["position"]) == (at(3), at(3))


def test_events_of_the_channel_at_or_before_live_concern_others() -> None:
    fold = EventFold({"mode": "events", "collection": "c", "position": at(3)}, bound=1000)
    feed(fold, subscribed(), events(4, ("x", 4)), live(5), events(5, ("y", 5)), events(6, ("z", 6)))
    assert [key for key, _ in handed(fold)] == ["z"]


def test_more_than_is_kept_for_a_slow_consumer_asks_for_a_pause_and_half_of_it_is_drained() -> None:
    fold = listening(bound=100)
    assert fold.take(events(7, ("a", 7)), 90) is None
    assert fold.take(events(None, ("b", 8)), 60) is None
    assert fold.take(events(8, ("c", 8)), 60) == "pause"
    drained = []
    while fold.next_event() is not None:
        drained.append(fold.drained)
    assert drained == [False, False, True]
    assert fold.bytes == 0
    assert fold.request()["position"] == at(8)
