"""Windows against brute force: whatever happens, a client that folds the changes has what sorting everything gives."""

from __future__ import annotations

import random
from collections import Counter
from heapq import nsmallest
from typing import Any

import orjson
import pytest

from realtime.core.bson import ejson
from realtime.core.bson.keys import identity
from realtime.core.live.query import Query, QueryGroup
from realtime.core.live.window import SPARES, Window
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import compile_projection
from realtime.errors import InvalidRequestError
from tests.chance import fresh_seed, share
from tests.core.examples import (
    brought_up,
    delete,
    group,
    insert,
    live_group,
    query,
    replace,
    settled,
    shown,
    update,
)
from tests.core.live.folding import Folded

SEED = fresh_seed()
ROUNDS, STEPS = share(2), 120
TOP = 6
"""Most of what happens, happens to so many of the first."""

Documents = dict[str, dict[str, Any]]


def ranked(**more: Any) -> Query:
    """The best first: what most of these tests look at."""
    return query(**{"sort": [["score", -1]], "limit": 3, **more})


def scores(*values: int) -> list[dict[str, Any]]:
    return [{"_id": number, "score": value} for number, value in enumerate(values, 1)]


def folded(made: QueryGroup) -> Folded:
    return Folded(list(made.result.told()), ordered=made.query.sort is not None)


# ---------------------------------------------------------------------------------------------------- by brute force

QUERIES: dict[str, dict[str, Any]] = {
    "a few of many": {"sort": [["score", -1]], "limit": 3},
    "one": {"sort": [["score", 1]], "limit": 1},
    "as many as spares": {"sort": [["score", 1], ["name", -1]], "limit": 20},
    "more than there are": {"sort": [["score", 1]], "limit": 500},
    "by _id": {"limit": 5},
    "everything in order": {"sort": [["name", 1], ["score", -1]]},
    "filtered": {"filter": {"team": {"$gt": 0}}, "sort": [["score", -1]], "limit": 4},
    "the sort key is hidden": {"projection": {"name": 1}, "sort": [["score", 1]], "limit": 4},
    "the sort key is hidden, everything": {"projection": {"team": 0, "score": 0}, "sort": [["score", 1]]},
    "throttled": {"sort": [["score", -1]], "limit": 5, "throttle": 100},
    "throttled, hidden": {"projection": {"team": 1}, "sort": [["score", -1]], "limit": 5, "throttle": 100},
    "no window": {"filter": {"team": {"$gt": 0}}, "throttle": 100},
}


def expected(what: Query, world: World) -> list[Any]:
    """What `find` gives, by sorting everything; in no order where none was asked for."""
    found = [name for name, document in world.documents.items() if what.filter.matches(document)]
    if what.sort is not None:
        found = sorted(found, key=world.places.__getitem__)[: what.limit]
    shown = (what.projection.apply(world.documents[name]) for name in found)
    return [orjson.loads(ejson.encode(document)) for document in shown]


def same(what: Query, view: list[Any], found: list[Any]) -> bool:
    if what.sort is not None:
        return view == found
    return sorted(view, key=lambda one: one["_id"]) == sorted(found, key=lambda one: one["_id"])


class World:
    """Documents that change at random, most of them at the top of a query's order, and the events that say so."""

    def __init__(self, chance: random.Random, what: Query, count: int, *, deletes: float) -> None:
        self.chance = chance
        self.place = (what.sort or parse_sort(None)).place
        self.deletes = deletes
        self.time = 10
        self.keys = 0
        self.documents: Documents = {}
        self.places: dict[str, Any] = {}
        for _ in range(count):
            self.insert()

    def fields(self) -> dict[str, Any]:
        chance = self.chance
        return {"score": chance.randrange(60), "name": chance.choice("abcd"), "team": chance.randrange(3)}

    def insert(self) -> Any:
        self.keys += 1
        key = self.chance.choice([self.keys, -self.keys])
        document = {"_id": key, **self.fields()}
        self.store(identity(key), document)
        return insert(self.time, document)

    def store(self, name: str, document: dict[str, Any]) -> None:
        self.documents[name], self.places[name] = document, self.place(document)

    def event(self) -> Any:
        chance, documents = self.chance, self.documents
        dice = chance.random()
        if not documents or dice > 0.5 + self.deletes / 2:
            return self.insert()
        names = list(documents)
        if chance.random() < 0.7:
            names = nsmallest(TOP, names, key=self.places.__getitem__)
        name = chance.choice(names)
        document = documents[name]
        if dice < self.deletes:
            del documents[name]
            return delete(self.time, document["_id"])
        field = chance.choice(["score", "name", "team"])
        self.store(name, {**document, field: self.fields()[field]})
        if chance.random() < 0.3:
            return replace(self.time, documents[name])
        return update(self.time, document["_id"], field)

    def batch(self) -> Any:
        self.time += 1
        return settled(*(self.event() for _ in range(self.chance.choice([1, 1, 2, 5]))))


def images(made: QueryGroup, batch: Any, world: World) -> dict[str, dict[str, Any] | None]:
    """What would be read for this group, and no more."""
    touches = batch.touches["items"].values()
    return {touch.identity: world.documents[touch.identity] for touch in touches if made.needs(touch)}


@pytest.mark.parametrize("deletes", [0.25, 0.45], ids=["growing", "shrinking"])
@pytest.mark.parametrize("name", QUERIES)
def test_the_folded_view_is_what_sorting_everything_gives(name: str, deletes: float) -> None:
    chance = random.Random(f"{SEED} {name} {deletes}")
    what = query(**QUERIES[name])
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        world = World(chance, what, 120, deletes=deletes)
        made = brought_up(group_of(what), *world.documents.values(), at=world.time)
        client = folded(made)
        assert same(what, client.documents, expected(what, world))
        for _ in range(STEPS):
            batch = world.batch()
            changes = made.apply(batch, images(made, batch, world))
            if made.short:
                seen["underflows"] += 1
                assert changes == []
                made.reload()
                brought_up(made, *world.documents.values(), at=world.time)
                changes = made.changes()
            elif what.throttle:
                before = list(map(orjson.loads, made.result.told()))
                assert same(what, before, client.documents), "a newcomer gets the view that was told"
                if chance.random() < 0.7:
                    seen["waited"] += 1
                    continue
                changes = made.changes()
            client.take(changes)
            seen["steps"] += 1
            found = expected(what, world)
            assert same(what, client.documents, found), f"seed {SEED}"
            assert same(what, list(map(orjson.loads, made.result.told())), found)
            assert (made.told, made.pending) == (world.time, False)
            check_bounds(made)
        seen["named"] += client.named
    assert seen["steps"] + seen["waited"] == ROUNDS * STEPS
    assert seen["named"] >= ROUNDS * (25 if what.limit != 1 else 10)
    if what.limit is not None and what.limit <= 20 and deletes > 0.4:
        assert seen["underflows"] >= 1, seen


def group_of(what: Query) -> QueryGroup:
    made = group()
    return QueryGroup(what, 1, made.epoch, made.bounds)


def check_bounds(made: QueryGroup) -> None:
    result = made.result
    assert result.size == sum(map(len, result.documents.values()))
    if isinstance(result, Window) and result.room is not None:
        assert result.count <= result.room


def test_changes_that_nobody_has_to_be_told_of_name_nothing() -> None:
    """The least: of 800 hidden changes of the sort key, only those are sent that went past another document."""
    chance = random.Random(SEED)
    made = live_group(*scores(*range(0, 200, 10)), query=ranked(limit=10, projection={"_id": 1}))
    documents = {document["_id"]: document for document in scores(*range(0, 200, 10))}
    place = parse_sort([["score", -1]]).place
    quiet = moved = 0
    for time in range(11, 811):
        key = chance.choice(list(documents))
        before = sorted(documents, key=lambda one: place(documents[one]))[:10]
        documents[key] = {"_id": key, "score": documents[key]["score"] + chance.choice([-3, 2, 4, -15, 14])}
        after = sorted(documents, key=lambda one: place(documents[one]))[:10]
        changes = made.apply(settled(replace(time, documents[key])), {})
        assert bool(changes) is (before != after), f"seed {SEED}"
        quiet, moved = quiet + (before == after), moved + (before != after)
    assert min(quiet, moved) > 80


# ------------------------------------------------------------------------------------------------------ one by one


def test_a_window_shows_the_first_and_keeps_spares() -> None:
    made = live_group(*scores(*range(100)), query=ranked())
    assert made.wanted.limit == 3 + SPARES
    assert made.wanted.cut
    assert made.wanted.sort == {"score": -1, "_id": 1}
    assert [document["score"] for document in folded(made).documents] == [99, 98, 97]
    assert made.result.count == 3 + SPARES


def test_a_large_window_keeps_as_many_spares_as_it_shows() -> None:
    assert group_of(ranked(limit=500)).wanted.limit == 1000


def test_sort_without_limit_reads_everything_up_to_the_bound() -> None:
    wanted = group_of(query(sort={"a": 1})).wanted
    assert (wanted.limit, wanted.cut, wanted.sort) == (1000, False, None)


def test_a_document_that_takes_the_lead_pushes_the_last_one_out() -> None:
    made = live_group(*scores(5, 4, 3, 2), query=ranked())
    assert shown(made.apply(settled(insert(11, {"_id": 9, "score": 4})), {})) == [
        {"op": "leave", "key": 3},
        {"op": "enter", "key": 9, "document": {"_id": 9, "score": 4}, "index": 2},
    ]


def test_when_the_first_is_deleted_a_spare_moves_up() -> None:
    made = live_group(*scores(5, 4, 3, 2), query=ranked())
    assert shown(made.apply(settled(delete(11, 1)), {})) == [
        {"op": "leave", "key": 1},
        {"op": "enter", "key": 4, "document": {"_id": 4, "score": 2}, "index": 2},
    ]


def test_equal_documents_are_in_the_order_of_their_keys() -> None:
    made = live_group(*scores(1, 1, 1, 1), query=ranked())
    assert [document["_id"] for document in folded(made).documents] == [1, 2, 3]
    assert shown(made.apply(settled(insert(11, {"_id": 0, "score": 1})), {}))[1]["index"] == 0


def test_an_update_names_its_new_place_and_nothing_else() -> None:
    made = live_group(*scores(5, 4, 3, 2), query=ranked())
    image = {"_id": 3, "score": 9}
    assert shown(made.apply(settled(update(11, 3, "score")), {"3": image})) == [
        {"op": "update", "key": 3, "document": image, "index": 0}
    ]


def test_what_happens_among_the_spares_is_not_told() -> None:
    made = live_group(*scores(9, 8, 7, 2, 1), query=ranked())
    assert made.apply(settled(insert(11, {"_id": 6, "score": 3}), delete(12, 5)), {}) == []
    assert (made.told, made.result.count) == (12, 5)


def test_what_is_beyond_the_edge_is_not_taken_in_and_what_goes_there_is_let_go() -> None:
    made = live_group(*scores(*range(100)), query=ranked())
    held = made.result.count
    made.apply(settled(insert(11, {"_id": 200, "score": 1})), {})
    assert made.result.count == held
    made.apply(settled(replace(12, {"_id": 99, "score": 1})), {})
    assert made.result.count == held - 1
    assert not made.short


def test_without_an_edge_everything_is_taken_in_up_to_the_room() -> None:
    made = live_group(*scores(5, 4), query=ranked())
    made.apply(settled(*(insert(11, {"_id": 10 + i, "score": -i}) for i in range(40))), {})
    assert made.result.count == 3 + SPARES
    for number in range(21):
        assert not made.short, number
        made.apply(settled(delete(12 + number, [1, 2, *range(10, 60)][number])), {})
    assert made.short


def test_a_window_that_has_everything_is_never_short() -> None:
    made = live_group(*scores(5, 4, 3, 2), query=ranked())
    changes = made.apply(settled(*(delete(11, key) for key in (1, 2, 3, 4))), {})
    assert not made.short
    assert [change["op"] for change in shown(changes)] == ["leave"] * 3
    assert folded(made).documents == []


def test_while_it_is_short_nobody_is_told_and_the_view_stays_where_it_was() -> None:
    made = live_group(*scores(*range(100)), query=ranked())
    client = folded(made)
    assert made.apply(settled(*(delete(11, key) for key in range(78, 101))), {}) == []
    assert (made.short, made.position[-2:], made.reached(11)) == (True, "0A", 10)
    made.reload()
    assert (made.live, made.reached(12)) == (False, 10)
    assert list(map(orjson.loads, made.result.told())) == client.documents
    made.collect(settled(delete(13, 77)))
    for document in scores(*range(77))[-23:]:
        made.put(document)
    assert made.loaded(12, 23) == [77]
    made.caught_up({}, 13)
    assert made.live
    client.take(made.changes())
    assert [document["_id"] for document in client.documents] == [76, 75, 74]
    assert (made.told, made.reached(12)) == (13, 13)
    made.advance(15)
    assert (made.told, made.time) == (15, 15)


def test_a_snapshot_that_is_used_up_before_it_is_taken_in_is_short_again() -> None:
    made = group_of(ranked())
    for document in scores(*range(100))[-23:]:
        made.put(document)
    made.collect(settled(*(delete(12, key) for key in range(78, 101))))
    made.loaded(11, 23)
    made.caught_up({}, 12)
    assert made.short
    assert not made.live


def test_what_a_window_needs_to_read() -> None:
    what = ranked(filter={"team": 1}, projection={"name": 1})

    def needed(made: QueryGroup, key: int, path: str) -> bool:
        (touch,) = settled(update(11, key, path)).touches["items"].values()
        return made.needs(touch)

    few = live_group(*({**one, "team": 1} for one in scores(5, 4)), query=what)
    many = live_group(*({**one, "team": 1} for one in scores(*range(99))), query=what)
    assert [needed(many, 99, path) for path in ("team", "score", "score.x", "name", "other")] == [True] * 4 + [False]
    # One that is not held may come up from beyond the edge, where there is one.
    assert [needed(many, 1, path) for path in ("team", "score", "name", "other")] == [True, True, False, False]
    assert [needed(few, 7, path) for path in ("team", "score", "name", "other")] == [True, False, False, False]
    assert needed(few, 1, "score")


def test_two_hidden_documents_that_change_places_are_told() -> None:
    """Neither went past where the other one is now, only past where it was."""
    made = live_group(*scores(1, 5, 3), query=ranked(sort=[["score", 1]], projection={"_id": 1}))
    client = folded(made)
    assert [document["_id"] for document in client.documents] == [1, 3, 2]
    client.take(made.apply(settled(replace(11, {"_id": 1, "score": 9}), replace(11, {"_id": 3, "score": 0})), {}))
    assert [document["_id"] for document in client.documents] == [3, 2, 1]
    client.take(made.apply(settled(replace(12, {"_id": 2, "score": 9.5}), replace(12, {"_id": 1, "score": 4})), {}))
    assert [document["_id"] for document in client.documents] == [3, 1, 2]


def test_under_throttle_what_came_and_went_is_not_told() -> None:
    made = live_group(*scores(5, 4, 3, 2), query=ranked(throttle=100))
    made.apply(settled(insert(11, {"_id": 9, "score": 9})), {})
    made.advance(11)
    assert (made.pending, made.reached(11)) == (True, 10)
    made.apply(settled(delete(12, 9), delete(12, 2)), {})
    made.apply(settled(insert(13, {"_id": 2, "score": 4})), {})
    assert made.changes() == []
    assert (made.pending, made.told) == (False, 13)


def test_a_key_that_changes_its_number_type_is_another_document_in_the_same_place() -> None:
    made = live_group(*scores(5, 4, 3), query=ranked())
    client = folded(made)
    moment = settled(delete(11, 2), insert(11, {"_id": 2.0, "score": 4}))
    client.take(made.apply(moment, {}))
    assert client.documents == [{"_id": 1, "score": 5}, {"_id": 2.0, "score": 4}, {"_id": 3, "score": 3}]
    assert len(client.view) == 3


def test_a_document_that_cannot_be_sorted_is_said() -> None:
    made = live_group(query=query(sort=[["a", 1], ["b", 1]]))
    with pytest.raises(InvalidRequestError, match="two arrays"):
        made.apply(settled(insert(11, {"_id": 1, "a": [1], "b": [2]})), {})


def test_only_documents_without_order_and_without_waiting_changes_can_be_recovered() -> None:
    assert live_group().recoverable
    assert not live_group(query=ranked()).recoverable
    assert not live_group(query=query(group={"by": []})).recoverable
    throttled = live_group(query=query(throttle=100))
    assert throttled.recoverable
    throttled.apply(settled(insert(11, {"_id": 1})), {})
    assert not throttled.recoverable
    assert not group().recoverable


def test_a_window_is_too_large_by_bytes_alone() -> None:
    made = group_of(ranked(limit=1000))
    made = QueryGroup(made.query, 1, made.epoch, type(made.bounds)(documents=1000, bytes=4000, frame_bytes=1000))
    for document in scores(*range(100)):
        made.put(document)
    assert not made.too_large
    for number in range(200):
        made.put({"_id": f"{number}", "score": 5, "text": "x" * 20})
    assert made.too_large


def test_windows_throttle_and_group_make_other_queries() -> None:
    same_query = [query(sort=[["a", 1]]), query(sort={"a": 1}), query(sort=[["a", 1], ["_id", 1]])]
    others = [
        query(),
        query(sort=[["a", -1]]),
        query(sort=[["a", 1], ["b", 1]]),
        query(sort=[["b", 1], ["a", 1]]),
        query(sort=[["a", 1]], limit=5),
        query(limit=5),
        query(throttle=5),
        query(group={"by": ["a"]}),
        query(group={"by": ["a"], "count": True}),
        query(group={"by": ["a"], "sum": ["b"]}),
    ]
    assert len({one.key for one in same_query}) == 1
    assert len({one.key for one in [*same_query, *others]}) == 1 + len(others)
    assert query(group={"by": ["a"], "sum": []}).key == query(group={"sum": [], "by": ["a"], "count": False}).key


def test_projected_windows_show_what_the_projection_shows() -> None:
    made = live_group(*scores(3, 2), query=ranked(projection={"score": 0}))
    assert folded(made).documents == [{"_id": 1}, {"_id": 2}]
    assert compile_projection({"score": 0}).apply({"_id": 1, "score": 3}) == {"_id": 1}
