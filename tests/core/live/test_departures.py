"""A group of which time takes documents: who is held at which second, and what it knows of those that left."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from bson.max_key import MaxKey

from realtime.core.bson.values import MISSING
from realtime.core.live import departures
from realtime.core.live.departures import Departures
from realtime.core.live.query import QueryGroup
from realtime.core.live.result import Documents
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import EVERYTHING
from realtime.errors import InvalidDocumentError, UnsupportedValueError
from tests.core.examples import EPOCH, ROOMY, brought_up, delete, insert, live_group, query, settled, shown, update

BEGIN = 1_800_000_000
MINUTE: dict[str, Any] = {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", 60_000]}]}}


def at(seconds: float) -> int:
    return (BEGIN + int(seconds)) << 32


def date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(BEGIN + seconds, dt.UTC)


def document(key: int, seconds: Any = MISSING, **more: Any) -> dict[str, Any]:
    """A document that leaves `MINUTE` 61 seconds after its date."""
    return {"_id": key, **({} if seconds is MISSING else {"at": date(seconds)}), **more}


def moved(*documents: dict[str, Any], second: float = 0, **asked: Any) -> QueryGroup:
    return live_group(*documents, query=query(**{"filter": MINUTE, **asked}), at=at(second))


def held(group: QueryGroup) -> list[str]:
    return sorted(group.result.names(), key=int)


def told(group: QueryGroup) -> list[tuple[str, Any]]:
    return [(one["op"], one["key"]) for one in shown(group.changes())]


def test_a_query_that_does_not_move_has_none() -> None:
    group = live_group(document(1, 0))
    assert group.departures is None
    assert group.departed(5) == {}
    assert group.wanted.fields is None


def test_what_has_left_is_let_go_when_its_time_is_there() -> None:
    group = moved(document(1, 0), document(2, 1), document(3), document(4, 5))
    assert held(group) == ["1", "2", "4"]
    group.advance(at(60))
    assert (held(group), group.pending, group.told) == (["1", "2", "4"], False, at(60))
    group.advance(at(62))
    assert (held(group), group.pending, group.told) == (["4"], True, at(60)), "nobody has been told yet"
    assert group.reached(at(62)) == at(60)
    assert told(group) == [("leave", 1), ("leave", 2)]
    assert group.told == at(62)


def test_a_batch_is_judged_at_its_own_second() -> None:
    group = moved(document(1, 0), document(2, 3))
    what = settled(insert(at(61), document(5, 0)), insert(at(61) + 1, document(6, 9)), time=at(61) + 1)
    assert [(one["op"], one["key"]) for one in shown(group.apply(what, {}))] == [("leave", 1), ("enter", 6)]
    later = settled(delete(at(64), 6), update(at(64) + 1, 2, "at"), time=at(64) + 1)
    changes = shown(group.apply(later, {"2": document(2, 60)}))
    assert [(one["op"], one["key"]) for one in changes] == [("leave", 6), ("update", 2)]
    assert list(group.departed(at(0)) or ()) == ["1"], "what was written is in the journal"


def test_the_snapshot_is_of_its_own_time() -> None:
    group = QueryGroup(query(MINUTE), 1, EPOCH, ROOMY)
    for one in (document(1, 0), document(2, 5)):
        group.put(one, at(61))
    assert held(group) == ["2"], "what had left by then is not taken"
    group.loaded(at(61), 2)
    group.caught_up({"7": document(7, 2)}, at(66))
    assert (held(group), group.told, group.pending) == ([], at(66), False)
    assert list(group.departed(at(61)) or ()) == ["2"]
    assert group.departed(at(60)) is None


def test_of_the_backlog_what_has_left_is_not_held() -> None:
    group = QueryGroup(query(MINUTE), 1, EPOCH, ROOMY)
    group.put(document(1, 0), at(0))
    group.collect(settled(update(at(63), 2, "at"), update(at(63) + 1, 3, "at")))
    assert sorted(group.loaded(at(0), 1)) == [2, 3]
    group.caught_up({"2": document(2, 2), "3": document(3, 3)}, at(63))
    assert held(group) == ["3"]


def test_a_window_of_which_everything_had_left_is_short_and_knows_nothing() -> None:
    group = QueryGroup(query(MINUTE, sort=[["n", 1]], limit=2), 1, EPOCH, ROOMY)
    count = group.wanted.limit
    for number in range(count):
        group.put(document(number, 0, n=number), at(90))
    group.loaded(at(90), count)
    group.caught_up({}, at(90))
    assert (held(group), group.short, group.live) == ([], True, False)
    group.reload()
    brought_up(group, document(1, 90, n=1), at=at(91))
    assert (held(group), group.short, group.live) == (["1"], False, True)


def test_what_leaves_a_window_by_time_makes_room() -> None:
    documents = [document(number, number, n=number) for number in range(60)]
    group = moved(*documents, sort=[["n", 1]], limit=2)
    group.advance(at(62))
    assert told(group) == [("leave", 0), ("leave", 1), ("enter", 2), ("enter", 3)]
    assert not group.short
    group.advance(at(83))
    assert group.short


def test_rows_read_what_decides_when_a_document_leaves() -> None:
    group = moved(document(1, 0, a="x"), document(2, 5, a="x"), group={"by": ["a"], "count": True})
    assert group.wanted.fields == {"_id": 1, "a": 1, "at": 1}
    group.advance(at(61))
    assert [one["document"]["count"] for one in shown(group.changes())] == [1]
    group.advance(at(66))
    assert [one["op"] for one in shown(group.changes())] == ["leave"]


def test_where_it_has_left_no_other_condition_can_fail() -> None:
    failing = {"$and": [MINUTE, {"$expr": {"$gt": [{"$toInt": "$s"}, 0]}}]}
    group = moved(filter=failing)
    assert group.apply(settled(insert(at(61), document(1, 0, s="no number"))), {}) == []
    with pytest.raises(InvalidDocumentError):
        group.apply(settled(insert(at(62), document(1, 9, s="no number"))), {})


def test_documents_that_wait_to_be_judged_are_judged_at_the_time_of_then() -> None:
    group = moved(document(1, 0, n=2), filter={"$and": [MINUTE, {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}]})
    what = settled(insert(at(61), document(2, 1, n=2)), insert(at(61) + 1, document(3, 9, n=2)), time=at(61) + 1)
    group.defer(what, {}, list(what.touches["items"].values()))
    assert (held(group), list(group.late)) == ([], ["2", "3"]), "what is held leaves at once"
    group.advance(at(62))
    group.judge()
    group.judge()
    assert (held(group), told(group)) == (["3"], [("leave", 1), ("enter", 3)])


def test_read_again_it_begins_to_know_anew() -> None:
    group = moved(document(1, 0))
    group.advance(at(61))
    assert list(group.departed(at(0)) or ()) == ["1"]
    group.restart()
    assert group.departures is not None
    assert group.departures.first is None
    brought_up(group, document(2, 60), at=at(70))
    assert (group.departed(at(69)), group.departed(at(70))) == (None, {})


# ---------------------------------------------------------------------------------------------------------- by itself


SELECTION = compile_filter(MINUTE, moving=True)


def of(*documents: dict[str, Any]) -> tuple[Departures, Documents]:
    """Departures of these documents, which are held."""
    made, result = Departures(), Documents(EVERYTHING)
    for one in documents:
        put(made, result, one)
    return made, result


def put(made: Departures, result: Documents, one: dict[str, Any]) -> None:
    if made.admits(SELECTION, str(one["_id"]), one, at(0)):
        result.put(str(one["_id"]), one, lambda shown: str(shown).encode())


def test_the_next_departure_is_the_first_and_a_later_one_counts() -> None:
    made, result = of(document(1, 5), document(2, 3))
    assert made.first == BEGIN + 64
    put(made, result, document(2, 30))
    put(made, result, document(2, 30))
    assert made.first == BEGIN + 64, "what stands for nothing any more is found when it is due"
    made.let_go(SELECTION, result, at(65))
    assert (sorted(result.names()), made.first) == (["1", "2"], BEGIN + 66)
    made.let_go(SELECTION, result, at(91))
    assert list(result.names()) == []
    assert made.first is None


def test_what_is_above_every_date_stays_whatever_it_was() -> None:
    made, result = of(document(1, 5))
    put(made, result, {"_id": 1, "at": MaxKey()})
    made.let_go(SELECTION, result, at(1000))
    assert list(result.names()) == ["1"]


def test_what_is_held_no_longer_did_not_leave_by_time() -> None:
    made, result = of(document(1, 5), document(2, 5))
    result.drop("1")
    made.let_go(SELECTION, result, at(66))
    assert made.since(at(0)) == {"2": None}


def test_what_is_written_back_before_it_leaves_is_expected_anew() -> None:
    made, result = of(document(1, 5))
    assert not made.admits(SELECTION, "1", document(1, -90), at(0))
    result.drop("1")
    put(made, result, document(1, 9))
    made.let_go(SELECTION, result, at(66))
    assert list(result.names()) == ["1"]


def test_what_matches_in_nothing_else_is_not_expected() -> None:
    made = Departures()
    narrow = compile_filter({"a": 1, **MINUTE}, moving=True)
    assert not made.admits(narrow, "1", document(1, 5), at(0))
    assert made.admits(narrow, "2", document(2, 5, a=1), at(0))
    result = Documents(EVERYTHING)
    made.let_go(narrow, result, at(99))
    assert made.since(at(0)) == {}


def test_it_remembers_so_many_and_knows_that_it_forgot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "MOST", 2)
    made, result = of(*(document(number, number) for number in range(4)))
    made.let_go(SELECTION, result, at(70))
    assert made.since(at(61)) is None
    assert list(made.since(at(62)) or ()) == ["2", "3"]
    made.trim(at(63))
    assert (made.since(at(62)), list(made.since(at(63)) or ())) == (None, ["3"])
    made.trim(at(62))
    assert made.since(at(62)) is None
    made.trim(at(90))
    assert made.since(at(90)) == {}


def test_what_stands_for_nothing_is_tidied_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "_UNHELD", 2)
    made, result = of(document(1, 500), document(2, 400))
    for seconds in range(1, 6):
        put(made, result, document(1, 500 + seconds))
        result.drop("2")
        made.let_go(SELECTION, result, at(0))
        assert len(made) <= 2 * len(result.names()) + 3
    assert made.first == BEGIN + 564, "the other one, and all that was before, are not there"
    made.let_go(SELECTION, result, at(566))
    assert list(result.names()) == []


def test_after_what_is_known_of_a_zone_it_ends() -> None:
    zoned = {"$gte": ["$at", {"$dateTrunc": {"date": "$$NOW", "unit": "day", "timezone": "Somewhere"}}]}
    group = QueryGroup(query({"$expr": zoned}), 1, EPOCH, ROOMY)
    with pytest.raises(UnsupportedValueError):
        group.advance((2**32 - 1) << 32)
