"""What somebody sees of a collection: rows and fields of one share, never of two."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.vision import EVERYTHING, NOTHING, Cut, Share, Vision, withheld
from realtime.errors import ForbiddenError, InvalidDocumentError, InvalidRequestError, ServiceError

FAILING = {"$expr": {"$divide": [1, "$n"]}}


def share(rows: dict[str, Any], *hide: str, show: list[str] | None = None, key: bytes | None = None) -> Share:
    return Share(compile_filter(rows), Cut(hide, show), key)


def vision(*shares: Share) -> Vision:
    return Vision.of(shares)


MINE = share({"owner": 1}, "margin", "notes.internal")
PUBLIC = share({"public": True}, show=["title", "notes.text"])


# ------------------------------------------------------------------------------------------------------------ a cut


def test_a_cut_is_what_a_projection_of_mongodb_does() -> None:
    document = {"_id": 1, "a": [{"b": 1, "c": 2}, 3, [{"c": 4}]], "d": {"c": 1}, "e": 5}
    assert Cut(["a.c"]).apply(document) == {"_id": 1, "a": [{"b": 1}, 3, [{}]], "d": {"c": 1}, "e": 5}
    assert Cut(show=["a.c", "e"]).apply(document) == {"_id": 1, "a": [{"c": 2}, [{"c": 4}]], "e": 5}
    assert Cut(show=[]).apply(document) == {"_id": 1}
    assert Cut().apply(document) is document


def test_cuts_that_show_the_same_are_equal() -> None:
    assert Cut(["b", "a", "a"]) == Cut(["a", "b"])
    assert Cut(show=["_id", "a"]) == Cut(show=["a"])
    assert len({Cut(["a"]), Cut(["a"]), Cut(show=["a"])}) == 2
    assert Cut(["a"]) != "a"
    assert "hide=('a',)" in repr(Cut(["a"]))


def test_paths_that_a_projection_cannot_have_are_refused() -> None:
    for paths in (["a", "a.b"], [""], ["$a"]):
        with pytest.raises(ServiceError):
            Cut(paths)


HIDDEN = Cut(["a.c", "m"])
SHOWN = Cut(show=["a.c", "t"])


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("_id", True),
        ("_id.x", True),
        ("b", True),
        ("a.b", True),
        ("a.0.b", True),
        ("a", False),
        ("a.c", False),
        ("a.c.d", False),
        ("a.0.c", False),
        ("a.0", False),
        ("a.", False),
        ("a.0.", False),
        ("a..c", False),
        ("", True),
        ("m", False),
        ("m.x", False),
        ("m2", True),
        ("$$ROOT", False),
    ],
)
def test_what_overlaps_with_a_hidden_path_is_nothing_to_ask_by(path: str, asks: bool) -> None:
    assert HIDDEN.shows(path) is asks
    assert HIDDEN.sorts(path) is asks
    assert Cut().shows(path)


@pytest.mark.parametrize(
    ("path", "asks", "sorts"),
    [
        ("_id", True, True),
        ("t", True, True),
        ("t.x.0", True, True),
        ("a.c", True, False),
        ("a.c.d", True, False),
        ("a.0.c", False, False),  # the cut lets go what is no object, and counts other elements
        ("a", False, False),
        ("a.", False, False),
        ("a.b", False, False),
        ("b", False, False),
        ("$$ROOT", False, False),
    ],
)
def test_where_few_fields_are_shown_one_asks_by_those(path: str, asks: bool, sorts: bool) -> None:
    assert (SHOWN.shows(path), SHOWN.sorts(path)) == (asks, sorts)


def test_sorting_by_a_part_would_tell_of_elements_that_are_cut() -> None:
    documents = [{"_id": 1, "a": [{"c": 5}]}, {"_id": 2, "a": [{"c": 5}, 7]}]
    one, other = map(SHOWN.apply, documents)
    assert one["a"] == other["a"]
    place = parse_sort([["a.c", 1]]).place
    assert place(documents[1]) < place(documents[0])


def test_by_a_path_that_is_shown_a_document_and_its_cut_are_found_alike() -> None:
    plain: list[Any] = [5, [], [5], [[]], [[5]], {}, None]
    parts: list[Any] = [{"c": 1}, {"b": 1}, [{"c": 1}, 5], [5, {"c": 1}], [[{"c": 1}]]]
    documents = [{"_id": 1, "a": value} for value in plain + parts]
    found = 0
    for cut in (HIDDEN, SHOWN):
        for path in ("a.c", "a.b", "a.0.b", "a.c.0"):
            for condition in (1, None, {"$exists": True}, {"$ne": 1}, {"$size": 0}, {"$type": "int"}):
                if cut.shows(path):
                    matches = compile_filter({path: condition}).matches
                    for document in documents:
                        assert matches(document) is matches(cut.apply(document))
                        found += matches(document)
    assert found > 20


# ------------------------------------------------------------------------------------------------------- several


def test_a_field_is_shown_where_one_share_lets_both_row_and_field() -> None:
    both = vision(MINE, PUBLIC)
    document = {"_id": 1, "title": "t", "margin": 2, "notes": {"text": "x", "internal": "y", "more": 1}}
    assert both.shown({**document, "owner": 1}) == {
        "_id": 1,
        "title": "t",
        "notes": {"text": "x", "more": 1},
        "owner": 1,
    }
    assert both.shown({**document, "public": True}) == {"_id": 1, "title": "t", "notes": {"text": "x"}}
    assert both.shown({**document, "owner": 1, "public": True}) == {
        "_id": 1,
        "title": "t",
        "notes": {"text": "x", "more": 1},
        "owner": 1,
        "public": True,
    }
    assert both.shown(document) is None
    assert not both.sees(document)
    assert both.cut_of_seen({**document, "public": True}) == {"_id": 1, "title": "t", "notes": {"text": "x"}}


def test_what_two_cuts_show_is_shown_through_arrays_and_values_without_parts() -> None:
    one, other = share({"x": 1}, show=["a.b"]), share({"y": 1}, show=["a.c", "d"])
    both = vision(one, other)
    values = {"_id": 1, "x": 1, "y": 1, "a": [{"b": 1, "c": 2, "e": 3}, 4, [{"e": 1}]], "d": 5}
    assert both.shown(values) == {"_id": 1, "a": [{"b": 1, "c": 2}, [{}]], "d": 5}
    assert both.shown({**values, "a": 6}) == {"_id": 1, "d": 5}
    hides = vision(share({"x": 1}, "a.b", "z"), share({"y": 1}, "a.b", "a.c"))
    assert hides.shown({**values, "z": 1}) == {**values, "a": [{"c": 2, "e": 3}, 4, [{"e": 1}]], "z": 1}
    assert hides.shown({**values, "a": 6}) == {**values, "a": 6}


def test_a_share_that_shows_all_of_a_row_hides_nothing_of_it() -> None:
    some = vision(share({"x": 1}), share({"y": 1}, "a"))
    assert some.shown({"_id": 1, "x": 1, "y": 1, "a": 1}) == {"_id": 1, "x": 1, "y": 1, "a": 1}
    assert some.shown({"_id": 1, "y": 1, "a": 1}) == {"_id": 1, "y": 1}
    assert not some.shows("a")
    assert some.cuts


def test_what_is_shown_of_every_document_alike_is_known_where_one_cut_is_all() -> None:
    assert vision(MINE).cut_alike == MINE.cut
    assert vision(MINE, share({"public": True}, "margin", "notes.internal")).cut_alike == MINE.cut
    assert vision(MINE, PUBLIC).cut_alike is None
    assert NOTHING.cut_alike == Cut()


def test_who_sees_everything_is_under_no_rule() -> None:
    assert vision(share({}), MINE) is EVERYTHING
    assert EVERYTHING.everything
    assert EVERYTHING.every_row
    assert not EVERYTHING.cuts
    asked, shown = compile_filter({"a": 1}), compile_projection({"a": 1})
    assert EVERYTHING.ruled(asked) is asked
    assert EVERYTHING.projected(shown) is shown
    assert EVERYTHING.canonical is None
    assert (asked.rule, asked.asked) == ({}, {"a": 1})


def test_who_has_no_grant_and_who_has_a_false_one_see_no_document() -> None:
    assert not NOTHING.granted
    for none in (NOTHING, Vision.of([], granted=True)):
        assert not none.sees({"_id": 1})
        assert none.shown({"_id": 1}) is None
        assert none.rule.source == {"_id": {"$in": []}}
        assert not none.everything
        assert not none.ruled(compile_filter({})).matches({"_id": 1})
    with pytest.raises(ForbiddenError):
        NOTHING.check(compile_filter({}), compile_projection({}))
    Vision.of([], granted=True).check(compile_filter({"a": 1}), compile_projection({}), sorted_by=["a"])


# ------------------------------------------------------------------------------------------------------ asking by


@pytest.mark.parametrize(
    "asked",
    [
        {"margin": 1},
        {"$or": [{"a": 1}, {"notes": {"$exists": True}}]},
        {"notes.0.internal": {"$regex": "^a"}},
        {"notes.": 1},
        {"notes": {"$elemMatch": {"internal": 1}}},
        {"$nor": [{"margin": {"$gt": 5}}]},
        {"$expr": {"$gt": ["$margin", 1]}},
        {"$expr": {"$eq": ["$$ROOT", 1]}},
        {"$expr": {"$eq": ["$$CURRENT.notes.internal", 1]}},
        {"$expr": {"$getField": "margin"}},
        {"$expr": {"$getField": {"field": "internal", "input": "$notes"}}},
        {"$jsonSchema": {"required": ["margin"]}},
        {"$jsonSchema": {"minProperties": 3}},
        {"$jsonSchema": {"properties": {"notes": {"required": ["internal"]}}}},
    ],
)
def test_a_filter_that_reads_what_is_hidden_is_forbidden(asked: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError) as refused:
        vision(MINE).check(compile_filter(asked), compile_projection({}))
    assert refused.value.details == {"field": "filter"}
    EVERYTHING.check(compile_filter(asked), compile_projection({}))


def test_so_are_sorting_grouping_and_computing_by_it() -> None:
    nothing, plain = compile_filter({}), compile_projection({})
    mine = vision(MINE)
    checks: dict[str, Callable[[], None]] = {
        "projection": lambda: mine.check(nothing, compile_projection({"n": {"$toString": "$margin"}})),
        "sort": lambda: mine.check(nothing, plain, sorted_by=["a", "margin"]),
        "group": lambda: mine.check(nothing, plain, grouped_by=["notes.internal"]),
    }
    for field, check in checks.items():
        with pytest.raises(ForbiddenError) as refused:
            check()
        assert refused.value.details == {"field": field}
    shows = compile_projection({"margin": 1, "n": {"$toString": "$a"}})
    mine.check(compile_filter({"a": 1, "notes.text": 2}), shows, sorted_by=["b", "_id"], grouped_by=["owner"])


# ------------------------------------------------------------------------------------------------------ effective


def test_the_rule_is_asked_first_and_apart() -> None:
    ruled = vision(MINE, PUBLIC).ruled(compile_filter({"a": 1}))
    assert ruled.matches({"owner": 1, "a": 1})
    assert ruled.matches({"public": True, "a": 1})
    assert not ruled.matches({"owner": 1})
    assert not ruled.matches({"a": 1})
    assert ruled.asked == {"a": 1}
    assert {"owner": 1} in ruled.rule["$or"]
    assert ruled.paths == {"owner", "public", "a"}
    assert ruled.reads(frozenset({"owner"}))
    assert vision(MINE).ruled(compile_filter({})).equalities.keys() == {"owner"}


def test_an_expression_fails_of_no_document_that_is_hidden() -> None:
    ruled = vision(share({"owner": 1})).ruled(compile_filter({"$or": [FAILING]}))
    assert not ruled.matches({"_id": 7, "owner": 2, "n": 0})
    assert ruled.matches({"_id": 7, "owner": 1, "n": 1})
    with pytest.raises(InvalidDocumentError) as failed:
        ruled.matches({"_id": 7, "owner": 1, "n": 0})
    assert failed.value.details == {"key": 7, "operator": "$divide"}


def test_a_rule_that_fails_says_nothing_of_the_document() -> None:
    for rule in (vision(share(FAILING)), vision(share(FAILING), MINE)):
        for ask in (rule.sees, rule.shown, rule.ruled(compile_filter({})).matches):
            with pytest.raises(InvalidDocumentError) as failed:
                ask({"_id": "secret", "n": 0})
            assert failed.value.details is None
            assert "secret" not in failed.value.message
            assert "$divide" not in failed.value.message
    assert type(withheld(InvalidRequestError("sort", details={"a": 1}))) is InvalidRequestError


def test_equal_effective_filters_have_equal_keys() -> None:
    asked = compile_filter({"owner": 1, "a": 2})
    mine = vision(share({"owner": 1}))
    assert mine.ruled(compile_filter({"a": 2})).canonical == asked.canonical
    assert mine.ruled(asked).canonical == asked.canonical
    assert vision(share({"owner": 2})).ruled(compile_filter({"a": 2})).canonical != asked.canonical


def test_where_a_condition_may_fail_it_matters_whose_it_is() -> None:
    rule, asked = vision(share(FAILING)), compile_filter(FAILING)
    assert rule.ruled(compile_filter({})).canonical != asked.canonical
    assert vision(share({"a": 1})).ruled(asked).canonical != compile_filter({"a": 1, **FAILING}).canonical


def test_what_names_the_rows_stands_for_them_in_the_key() -> None:
    def key(rows: dict[str, Any], name: bytes) -> bytes:
        return vision(share(rows, key=name)).ruled(compile_filter({})).canonical

    assert key({"team": {"$in": [1]}}, b"teams of 1") == key({"team": {"$in": [2]}}, b"teams of 1")
    assert key({"team": 1}, b"teams of 1") != key({"team": 1}, b"teams of 2")


def test_cuts_are_named_beside_the_filter() -> None:
    assert vision(MINE).canonical == vision(share({"owner": 2}, "notes.internal", "margin")).canonical
    assert len({vision(MINE).canonical, vision(PUBLIC).canonical, vision(MINE, PUBLIC).canonical}) == 3
    assert vision(MINE, PUBLIC).canonical == vision(PUBLIC, MINE).canonical
    swapped = vision(share({"public": True}, "margin", "notes.internal"), share({"owner": 1}, show=["title"]))
    assert vision(MINE, PUBLIC).canonical != swapped.canonical


def test_what_is_asked_for_is_computed_of_what_is_shown() -> None:
    shown = vision(MINE).projected(compile_projection({"all": "$$ROOT"}))
    assert shown.apply({"_id": 1, "owner": 1, "margin": 5}) == {"_id": 1, "all": {"_id": 1, "owner": 1}}
    plain = vision(MINE).projected(compile_projection({}))
    assert plain.apply({"_id": 1, "owner": 1, "margin": 5}) == {"_id": 1, "owner": 1}
    assert not plain.everything
    assert compile_projection({}).everything


def test_an_update_of_hidden_fields_alone_is_seen_by_nobody() -> None:
    for seen in (vision(MINE), vision(MINE).projected(compile_projection({}))):
        shows = seen.shows_update if isinstance(seen, Vision) else seen.shows
        assert not shows(frozenset({"margin", "notes.internal.x"}))
        assert shows(frozenset({"margin", "notes.text"}))
    some = vision(MINE).projected(compile_projection({"a": 1}))
    assert not some.shows(frozenset({"b"}))


def test_what_a_server_means_by_it_is_changed_for_rule_and_filter() -> None:
    older = NEWEST.__class__(
        **{name: not value if isinstance(value, bool) else value for name, value in fields(NEWEST)}
    )
    bits = {"n": {"$bitsAllSet": 1}}
    ruled = vision(share(bits)).ruled(compile_filter({"a": 1}))
    assert ruled.spoken(NEWEST) is ruled
    assert ruled.spoken(older) is not ruled
    assert ruled.spoken(older).canonical == ruled.canonical
    shown = vision(MINE).projected(compile_projection({"n": {"$toString": "$a"}}))
    assert shown.spoken(NEWEST) is shown
    assert shown.told({}) is shown


def fields(dialect: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(dialect, name)) for name in dialect.__dataclass_fields__]


def test_visions_that_let_the_same_are_the_same_whatever_names_them() -> None:
    mine = vision(MINE)
    assert mine.same(vision(share({"owner": 1}, "notes.internal", "margin")))
    assert mine.same(mine)
    for other in (
        vision(PUBLIC),
        vision(share({"owner": 1})),
        vision(share({"owner": True}, "margin", "notes.internal")),
    ):
        assert not mine.same(other)
    assert not vision().same(NOTHING)
    assert not vision(share({"a": 1}, key=b"x")).same(vision(share({"a": 2}, key=b"x")))


def test_time_zones_that_rules_name_are_learnt_and_meant() -> None:
    late = {"$expr": {"$gt": [{"$hour": {"date": "$at", "timezone": "Europe/Berlin"}}, 1]}}
    ruled = vision(share(late, "margin"))
    assert ruled.zones.keys() == {"Europe/Berlin"}
    effective = ruled.ruled(compile_filter({"a": 1}))
    shown = ruled.projected(compile_projection({}))
    assert effective.zones.keys() == {"Europe/Berlin"}
    at = {"_id": 1, "a": 1, "at": dt.datetime(2026, 11, 30, 2, tzinfo=dt.UTC), "margin": 2}
    with pytest.raises(ServiceError):
        ruled.sees(at)
    tables = {"Europe/Berlin": UTC}
    assert effective.told(tables).matches(at)
    assert ruled.told(tables).sees(at)
    assert shown.told(tables).apply(at) == {name: value for name, value in at.items() if name != "margin"}
    assert effective.told(tables).canonical == effective.canonical
    assert vision(MINE).told(tables).same(vision(MINE))
