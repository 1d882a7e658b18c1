"""Sets of values of another collection's documents: what counts, how many may, and a rule that is placed by them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.mql.filters import compile_filter
from realtime.core.mql.membership import Found, Members, Slots, is_scalar
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import NOTHING, Cut, Share, Vision

TEAMS = Members("members", {"user": "ann"}, "team")
BOARDS = Members("boards", {}, "ids.id")


def placed(found: Found) -> dict[str, Any] | None:
    values = found.get(TEAMS.key)
    return {"team": {"$in": values}} if values else None


MINE = Share(compile_filter({"_id": {"$in": []}}), Cut(["margin"]), b"mine", slots=Slots((TEAMS,), placed))


def test_values_are_each_once_and_of_lists_their_elements() -> None:
    oid, day = ObjectId(), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    teams: list[Any] = ["a", ["b", "a", oid], 1, 1.0, day, True]
    documents = [{"team": one} for one in teams]
    assert TEAMS.values(documents) == ["a", "b", oid, 1, day, True]
    assert BOARDS.values([{"ids": [{"id": 1}, {"id": [2, 3]}]}, {"ids": {"id": 4}}]) == [1, 2, 3, 4]


def test_what_is_no_value_is_none_and_takes_the_others_nothing() -> None:
    nothing: list[Any] = [None, float("nan"), float("inf"), {"a": 1}, [["x"]], Regex("."), 2**63, []]
    assert TEAMS.values([{"team": one} for one in nothing] + [{}, {"team": "a"}]) == ["a"]
    assert not any(map(is_scalar, [*nothing[:5], 2**63, -(2**63) - 1]))


def test_more_values_or_more_documents_than_there_may_be_are_none() -> None:
    few = Members("members", {}, "team", most=2)
    assert few.values([{"team": ["a", "b", "a"]}]) == ["a", "b"]
    assert few.values([{"team": ["a", "b", "c"]}]) is None
    assert few.values([{}, {}, {"team": "a"}]) is None


def test_sets_that_ask_the_same_have_one_key() -> None:
    assert TEAMS.key == Members("members", {"user": {"$eq": "ann"}}, "team", 5).key
    others = [
        Members("members", {"user": "bob"}, "team"),
        Members("members", {"user": "ann"}, "board"),
        Members("others", {"user": "ann"}, "team"),
    ]
    assert len({TEAMS.key, *(one.key for one in others)}) == 4


def test_what_is_seen_follows_the_set_and_its_name_does_not() -> None:
    vision = Vision.of([MINE])
    assert vision.sets == (TEAMS,)
    document = {"_id": 1, "team": "a", "margin": 7}
    assert vision.shown(document) is None
    filled = vision.filled({TEAMS.key: ["a"]})
    assert filled.shown(document) == {"_id": 1, "team": "a"}
    assert filled.filled({TEAMS.key: None}).shown(document) is None
    assert filled.filled({}).shown(document) is None
    asked = compile_filter({"n": 1})
    assert vision.ruled(asked).canonical == filled.ruled(asked).canonical
    assert vision.canonical == filled.canonical


def test_filter_and_projection_of_a_query_follow_it() -> None:
    vision = Vision.of([MINE])
    selection, shown = vision.ruled(compile_filter({"n": 1})), vision.projected(compile_projection(None))
    assert selection.sets == (TEAMS,)
    document = {"_id": 1, "team": "a", "n": 1, "margin": 7}
    assert not selection.matches(document)
    assert selection.filled({TEAMS.key: ["a"]}).matches(document)
    assert shown.filled({TEAMS.key: ["a"]}).apply(document) == {"_id": 1, "team": "a", "n": 1}
    plain, all_of_it = compile_filter({}), compile_projection(None)
    assert (plain.filled({}), plain.sets, all_of_it.filled({})) == (plain, (), all_of_it)


def test_who_sees_everything_asks_for_no_set() -> None:
    everything = Vision.of([MINE, Share(compile_filter({}), most=5)])
    assert everything.sets == ()
    assert everything.filled({TEAMS.key: ["a"]}) is everything
    assert Share(compile_filter({})).filled({}).filter.source == {}


@pytest.mark.parametrize("at", ["named", "others"])
def test_a_sight_follows_the_sets_of_its_visions(at: str) -> None:
    mine = Vision.of([MINE])
    sight = Sight(
        {"items": mine} if at == "named" else {}, NOTHING if at == "named" else mine, {}, others_readable=True
    )
    assert sight.sets == (TEAMS,)
    document = {"_id": 1, "team": "a"}
    filled = sight.filled({TEAMS.key: ["a"]})
    assert (sight.of("items").sees(document), filled.of("items").sees(document)) == (False, True)
    assert filled.canonical == sight.canonical
    # And what a server means by it is changed without its sets being lost.
    assert filled.changed(lambda rule: compile_filter(rule.source)).sets == (TEAMS,)
