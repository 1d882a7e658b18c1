"""Pipelines that group or sort, as their documents come and go, against their evaluation from scratch."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace as replaced
from typing import Any

import orjson
import pytest

from realtime.core.bson import ejson
from realtime.core.bson.values import order
from realtime.core.live import meaning
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.mql.cut import Cut
from realtime.core.mql.expressions.timezones import Zone
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.pipeline import Group
from realtime.core.mql.vision import Share, Vision
from realtime.errors import InvalidDocumentError, InvalidRequestError, TooLargeError
from tests.chance import fresh_seed, share
from tests.core.examples import (
    EPOCH,
    ROOMY,
    brought_up,
    delete,
    insert,
    piped,
    query,
    replace,
    settled,
    shown,
    update,
)
from tests.core.live.folding import Folded
from tests.evaluated import evaluated

Document = dict[str, Any]
SEED = fresh_seed()
ROUNDS, STEPS = share(5), 60


def group_of(*stages: Document, bounds: GroupBounds = ROOMY, **more: Any) -> QueryGroup:
    return QueryGroup(piped(*stages, **more), 1, EPOCH, bounds)


def live(*documents: Document, stages: list[Document], bounds: GroupBounds = ROOMY, **more: Any) -> QueryGroup:
    return brought_up(group_of(*stages, bounds=bounds, **more), *documents)


def rows(made: QueryGroup) -> list[Any]:
    return [orjson.loads(row) for row in made.result.told()]


def orders(*totals: int, city: str = "Rome") -> list[Document]:
    return [{"_id": number, "city": city, "total": total} for number, total in enumerate(totals, 1)]


# ------------------------------------------------------------------------------------------------------- from scratch

BY_CITY: Document = {"$group": {"_id": "$city", "sum": {"$sum": "$total"}, "n": {"$sum": 1}}}
BEST: Document = {"$topN": {"n": 2, "sortBy": {"total": -1}, "output": "$$ROOT"}}
PIPELINES: dict[str, list[Document]] = {
    "rows": [BY_CITY],
    "having": [BY_CITY, {"$match": {"n": {"$gte": 2}}}],
    "ordered rows": [BY_CITY, {"$sort": {"n": -1, "sum": 1}}, {"$limit": 2}, {"$project": {"n": 1}}],
    "rows from the second on": [{"$match": {"total": {"$gt": 1}}}, BY_CITY, {"$sort": {"sum": 1}}, {"$skip": 1}],
    "best": [{"$group": {"_id": "$city", "best": BEST, "set": {"$addToSet": "$total"}, "least": {"$min": "$total"}}}],
    "best shown otherwise": [
        {"$group": {"_id": "$city", "best": BEST, "set": {"$addToSet": "$total"}}},
        {"$set": {"sets": {"$size": "$set"}, "again": "$set"}},
    ],
    "some documents": [{"$sort": {"total": -1}}, {"$skip": 1}, {"$limit": 3}, {"$set": {"x": {"$add": ["$total", 1]}}}],
    "some of some": [{"$sort": {"total": 1}}, {"$limit": 6}, {"$match": {"city": "Rome"}}, {"$sort": {"city": 1}}],
    "all in order": [{"$set": {"m": {"$mod": ["$total", 3]}}}, {"$sort": {"m": -1}}],
    "rows of some": [{"$sort": {"total": -1}}, {"$limit": 4}, {"$match": {"total": {"$ne": 3}}}, BY_CITY],
    "elements": [{"$unwind": "$tags"}, {"$group": {"_id": "$tags", "n": {"$sum": 1}, "who": {"$addToSet": "$_id"}}}],
    "elements of some": [{"$sort": {"total": 1}}, {"$limit": 3}, {"$unwind": "$tags"}, {"$sortByCount": "$tags"}],
    "how many": [{"$match": {"city": "Rome"}}, {"$count": "n"}],
    "ranges": [{"$bucket": {"groupBy": "$total", "boundaries": [0, 3, 6], "default": "more"}}],
    "distances": [{"$group": {"_id": None, "d": {"$stdDevSamp": "$total"}, "a": {"$avg": "$total"}}}],
}


def document(chance: random.Random, key: int) -> Document:
    made: Document = {"_id": key, "city": chance.choice(["Rome", "Oslo", "Bonn"]), "total": chance.randrange(8)}
    if chance.random() < 0.7:
        made["tags"] = chance.sample(["a", "b", 1, 1.0], chance.randrange(4))
    return made


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-12)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    return order(one) == order(other)


def keyed(documents: list[Document]) -> list[Document]:
    return sorted(documents, key=lambda one: order(one.get("_id")))


@pytest.mark.parametrize("kind", PIPELINES)
def test_what_a_client_folds_is_what_the_pipeline_makes_from_scratch(kind: str) -> None:
    chance = random.Random(f"{SEED} {kind}")
    pipeline = compile_pipeline(PIPELINES[kind])
    ordered, told, shown_rows = pipeline.order is not None, 0, 0
    for _ in range(ROUNDS):
        held = {key: document(chance, key) for key in range(8)}
        made = live(*held.values(), stages=PIPELINES[kind])
        view = Viewed(made, ordered=ordered)
        for time in range(11, 11 + STEPS):
            events = []
            for key in chance.sample(range(14), chance.choice([1, 1, 2, 6])):
                if chance.random() < 0.3:
                    held.pop(key, None)
                    events.append(delete(time, key))
                else:
                    held[key] = document(chance, key)
                    events.append(replace(time, held[key]))
            if chance.random() < 0.05:
                made.reload()  # read anew, while everybody keeps their view
                brought_up(made, *held.values(), at=time)
                view.take(made.changes())
            else:
                view.take(made.apply(settled(*events), {}))
            wanted = evaluated(pipeline, sorted(held.values(), key=lambda one: one["_id"]))
            found = [ejson.decode(orjson.dumps(row)) for row in view.documents]
            if not ordered:
                found, wanted = keyed(found), keyed(wanted)
            assert len(found) == len(wanted), f"{SEED} {found} {wanted}"
            assert all(map(same, found, wanted)), f"{SEED} {found} {wanted}"
            assert [orjson.loads(row) for row in made.result.told()] == (view.documents if ordered else rows(made))
            shown_rows += len(wanted)
        told += view.named
    assert told
    assert shown_rows


class Viewed(Folded):
    """A view whose rows may not show their keys."""

    def __init__(self, made: QueryGroup, *, ordered: bool) -> None:
        super().__init__([], ordered=ordered)
        names = [orjson.dumps(one["_id"]).decode() if "_id" in one else "null" for one in rows(made)]
        self.view = list(zip(names, rows(made), strict=True))


# ------------------------------------------------------------------------------------------------------------- rows


def test_one_document_touches_only_the_rows_that_it_was_or_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [{"_id": number, "city": "abc"[number % 3], "total": 1} for number in range(9)]
    made = live(*documents, stages=[BY_CITY])
    looked_at: list[Any] = []
    row = Group.row

    def noting(self: Group, key: Any, values: Any) -> Document:
        looked_at.append(key)
        return row(self, key, values)

    monkeypatch.setattr(Group, "row", noting)
    (changed,) = shown(made.apply(settled(replace(11, {"_id": 0, "city": "a", "total": 5})), {}))
    assert (changed["op"], changed["key"], changed["document"]) == ("update", "a", {"_id": "a", "sum": 7, "n": 3})
    moved = shown(made.apply(settled(replace(12, {"_id": 0, "city": "b", "total": 5})), {}))
    assert {(one["op"], one["key"]) for one in moved} == {("update", "a"), ("update", "b")}
    same_again = made.apply(settled(replace(13, {"_id": 0, "city": "b", "total": 5, "more": 1})), {})
    assert same_again == []
    assert sorted(looked_at) == ["a", "a", "b"]


def test_a_row_goes_with_its_last_document_and_keeps_its_name_within_a_moment() -> None:
    made = live({"_id": 1, "city": 1.0, "total": 1}, stages=[BY_CITY])
    assert rows(made) == [{"_id": 1.0, "sum": 1, "n": 1}]
    moved = made.apply(settled(delete(11, 1), insert(11, {"_id": 2, "city": 1, "total": 1})), {})
    assert moved == []
    (gone,) = shown(made.apply(settled(delete(12, 2)), {}))
    assert gone == {"op": "leave", "key": 1.0}
    assert (made.result.count, len(made.documents), made.size) == (0, 0, 0)
    (new,) = shown(made.apply(settled(insert(13, {"_id": 3, "city": 1, "total": 1})), {}))
    assert (new["op"], new["key"]) == ("enter", 1)


def test_a_change_to_what_is_equal_by_bson_is_told_to_nobody() -> None:
    stages: list[Document] = [{"$group": {"_id": None, "set": {"$addToSet": "$v"}, "max": {"$max": "$v"}}}]
    made = live({"_id": 1, "v": 1}, {"_id": 2, "v": 2}, stages=stages)
    assert made.apply(settled(replace(11, {"_id": 1, "v": 1.0})), {}) == []
    assert made.apply(settled(replace(12, {"_id": 1, "v": 2}), replace(12, {"_id": 2, "v": 1})), {}) == []
    (told,) = shown(made.apply(settled(replace(13, {"_id": 1, "v": 9})), {}))
    assert told["document"] == {"_id": None, "set": [1, 9], "max": 9}


def test_a_count_is_one_row_whose_key_is_null_and_none_of_nothing() -> None:
    made = live(*orders(1, 2), stages=[{"$count": "n"}])
    assert rows(made) == [{"n": 2}]
    (told,) = shown(made.apply(settled(delete(11, 1)), {}))
    assert told == {"op": "update", "key": None, "document": {"n": 1}}
    assert shown(made.apply(settled(delete(12, 2)), {})) == [{"op": "leave", "key": None}]


def test_a_long_list_that_did_not_change_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Document] = [
        {"$group": {"_id": None, "sum": {"$sum": "$total"}, "set": {"$addToSet": "$_id"}, "best": BEST}},
        {"$set": {"n": {"$size": "$set"}}},
    ]
    made = live(*orders(*range(50)), stages=stages)
    encoded: list[Any] = []
    real = ejson.encode

    def counting(value: Any) -> bytes:
        encoded.append(value)
        return real(value)

    monkeypatch.setattr(ejson, "encode", counting)
    (told,) = shown(made.apply(settled(replace(11, {"_id": 1, "city": "Rome", "total": 3})), {}))
    assert told["document"]["set"] == list(range(1, 51))
    assert told["document"]["n"] == 50
    assert told["document"]["sum"] == sum(range(50)) + 3
    assert not any(isinstance(value, list | dict) and value for value in encoded)


# ------------------------------------------------------------------------------------------------- in the middle


RATIO: list[Document] = [
    {"$group": {"_id": None, "n": {"$sum": 1}, "zero": {"$sum": "$zero"}}},
    {"$set": {"ratio": {"$divide": ["$n", "$zero"]}}},
]


def test_what_a_row_is_in_the_middle_of_a_moment_is_evaluated_by_nobody() -> None:
    made = live({"_id": 1, "zero": 1}, stages=RATIO)
    both = settled(replace(11, {"_id": 1, "zero": 0}), insert(11, {"_id": 2, "zero": 2}))
    (told,) = shown(made.apply(both, {}))
    assert told["document"] == {"_id": None, "n": 2, "zero": 2, "ratio": 1.0}
    with pytest.raises(InvalidDocumentError):
        made.apply(settled(delete(12, 2)), {})


def test_only_what_is_among_the_first_goes_on() -> None:
    """Behind `$limit` MongoDB evaluates no more than that either."""
    stages: list[Document] = [{"$sort": {"total": 1}}, {"$limit": 2}, {"$set": {"x": {"$divide": [6, "$total"]}}}]
    made = live(*orders(2, 3), {"_id": 9, "total": "x"}, stages=stages)
    assert [row["x"] for row in rows(made)] == [3.0, 2.0]
    with pytest.raises(InvalidDocumentError) as failed:
        made.apply(settled(delete(11, 1)), {})
    assert (failed.value.details or {})["key"] == 9


def test_a_document_that_cannot_be_sorted_ends_it() -> None:
    made = live(*orders(2, 3), stages=[{"$sort": {"a": 1, "b": 1}}, {"$limit": 2}])
    with pytest.raises(InvalidRequestError):
        made.apply(settled(insert(11, {"_id": 5, "a": [1], "b": [1]})), {})


# ------------------------------------------------------------------------------------------------------------ bounds


def test_contributions_are_counted_after_unwind() -> None:
    bounds = GroupBounds(documents=1000, bytes=1 << 20, frame_bytes=1 << 20, grouped=10)
    stages: list[Document] = [{"$unwind": "$tags"}, {"$group": {"_id": None, "n": {"$sum": 1}}}]
    made = live({"_id": 1, "tags": list(range(10))}, stages=stages, bounds=bounds)
    assert (made.too_large, made.result.count) == (False, 10)
    made.apply(settled(insert(11, {"_id": 2, "tags": [1]})), {})
    assert (made.too_large, made.outgrown) == (True, (11, 10))
    with pytest.raises(TooLargeError) as ended:
        made.apply(settled(insert(12, {"_id": 3, "tags": list(range(10))})), {})
    assert ended.value.details == {"count": 21, "limit": 20}


def test_rows_bytes_and_the_size_of_a_row_are_bounded() -> None:
    many = GroupBounds(documents=2, bytes=1 << 20, frame_bytes=1 << 20)
    made = live(*[{"_id": n, "city": n} for n in range(3)], stages=[BY_CITY], bounds=many)
    assert (made.too_large, made.outgrown) == (True, (3, 2))
    made = live(*orders(1, 2, 3), stages=[{"$sort": {"total": 1}}], bounds=many)
    assert (made.too_large, made.outgrown) == (True, (3, 2))
    least = GroupBounds(documents=10, bytes=2000, frame_bytes=1 << 20)
    held: list[Document] = [{"$group": {"_id": None, "set": {"$addToSet": "$city"}}}]
    made = live(*orders(1, city="x" * 1500), stages=held, bounds=least)
    assert made.too_large
    with pytest.raises(TooLargeError):
        made.apply(settled(insert(11, {"_id": 2, "city": "y" * 4000})), {})
    narrow = GroupBounds(documents=10, bytes=1 << 20, frame_bytes=1 << 20, row_bytes=100)
    with pytest.raises(TooLargeError) as ended:
        live(*orders(1, city="x" * 200), stages=held, bounds=narrow)
    assert (ended.value.details or {})["limit"] == 100
    kept = live(*orders(1, city="x" * 1500), stages=[{"$sort": {"total": 1}}, {"$limit": 1}], bounds=least)
    assert kept.too_large  # the document is held, and what is shown of it


# ------------------------------------------------------------------------------------------------------------ reading


def test_an_update_is_read_where_a_stage_reads_it_of_a_document_that_matches() -> None:
    stages: list[Document] = [{"$match": {"open": True}}, {"$match": {"$expr": {"$gt": ["$total", 1]}}}, BY_CITY]
    made = live({"_id": 1, "open": True, "city": "a", "total": 5}, {"_id": 2, "open": False}, stages=stages)

    def needs(key: int, path: str) -> bool:
        (touch,) = settled(update(11, key, path)).touches["items"].values()
        return made.needs(touch)

    assert {path: needs(1, path) for path in ("total", "city.x", "open", "other")} == {
        "total": True,
        "city.x": True,
        "open": True,
        "other": False,
    }
    assert not needs(2, "city")
    assert needs(2, "open")
    assert made.wanted.fields == {"_id": 1, "city": 1, "total": 1}
    whole = live({"_id": 1, "a": 1}, stages=[{"$sort": {"a": 1}}, {"$limit": 1}])
    assert whole.wanted.fields is None


def test_a_throttled_one_holds_back_what_it_has_to_tell() -> None:
    shapes: list[list[Document]] = [
        [BY_CITY],
        [BY_CITY, {"$sort": {"n": 1}}],
        [{"$sort": {"total": 1}}, {"$limit": 2}],
    ]
    for stages in shapes:
        made = live(*orders(1, 2), stages=stages, throttle=100)
        assert not made.pending
        assert made.apply(settled(replace(11, {"_id": 1, "city": "Rome", "total": 7})), {}) == []
        assert made.pending
        assert made.changes() != []
        assert not made.pending


def test_what_time_moves_is_read_with_what_the_stages_read() -> None:
    minute = {"$expr": {"$gte": ["$at.last", {"$subtract": ["$$NOW", 60_000]}]}}
    asked = replaced(piped(BY_CITY), filter=compile_filter(minute, moving=True))
    made = QueryGroup(asked, 1, EPOCH, ROOMY)
    assert made.wanted.fields == {"_id": 1, "at": 1, "city": 1, "total": 1}


def test_what_a_query_means_is_no_concern_of_one_without_a_pipeline() -> None:
    made = QueryGroup(query(), 1, EPOCH, ROOMY)
    made.means(query())
    assert list(made.steps()) == []


def test_documents_that_are_held_are_told_to_who_watches() -> None:
    heard: list[tuple[str, str]] = []

    class Watching:
        def hold(self, name: str) -> None:
            heard.append(("hold", name))

        def let_go(self, name: str) -> None:
            heard.append(("let go", name))

    made = live(*orders(1), stages=[BY_CITY])
    made.result.watch = Watching()
    made.apply(settled(insert(11, {"_id": 2}), replace(11, {"_id": 1, "total": 7}), delete(11, 1), delete(11, 9)), {})
    assert sorted(heard) == [("hold", "2"), ("let go", "1")]
    assert list(made.names()) == ["2"]


def test_a_zone_that_is_told_later_means_what_it_says_and_keeps_what_was_told() -> None:
    by_hour: Document = {"$group": {"_id": {"$hour": {"date": "$at", "timezone": "Asia/Tokyo"}}, "n": {"$sum": 1}}}
    made = group_of(by_hour)
    assert dict(meaning.zones(made.query)).keys() == {"Asia/Tokyo"}
    at = dt.datetime(2026, 12, 1, 1, 30, tzinfo=dt.UTC)
    for hours, expected in ((9, 10), (8, 9)):
        made.means(meaning.told(made.query, {"Asia/Tokyo": Zone((), (hours * 3600,))}))
        brought_up(made, {"_id": 1, "at": at})
        assert [one["op"] for one in shown(made.changes())] == ([] if expected == 10 else ["leave", "enter"])
        assert [one["_id"] for one in rows(made)] == [expected]
        made.reload()


def test_what_is_hidden_is_cut_before_the_first_stage() -> None:
    vision = Vision.of([Share(compile_filter({"owner": "me"}), Cut(["secret"]))])
    names: Document = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    stages: list[Document] = [{"$group": {"_id": None, "names": {"$addToSet": names}, "sum": {"$sum": "$secret"}}}]
    made = live(
        {"_id": 1, "owner": "me", "secret": 5, "a": 1}, {"_id": 2, "owner": "else"}, stages=stages, vision=vision
    )
    assert rows(made) == [{"_id": None, "names": [["_id", "owner", "a"]], "sum": 0}]
    assert made.wanted.fields is None
    assert made.query.key != piped(*stages).key
    (touch,) = settled(update(11, 1, "secret")).touches["items"].values()
    assert not made.needs(touch)
