"""Finding the groups that a change may concern: none is missed, few are tried, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from realtime.core.bson.keys import identity
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from tests.core.examples import EPOCH, ROOMY, brought_up, delete, insert, query, replace, settled, update

Documents = list[dict[str, Any]]


def live(router: Router, *documents: dict[str, Any], **asked: Any) -> QueryGroup:
    """A group of these documents that is routed to as a live one."""
    made = QueryGroup(query(**asked), router.next_channel(), EPOCH, ROOMY)
    router.add(made)
    brought_up(made, *documents)
    router.settle(made)
    return made


def found(router: Router, *events: Any, images: Any = None) -> set[QueryGroup]:
    batch = settled(*events)
    return set(router.routes("items", batch.touches["items"].values(), images or {}))


def needed(router: Router, *events: Any) -> list[bool]:
    return [router.needs("items", touch) for touch in settled(*events).touches["items"].values()]


def test_a_new_document_is_routed_by_what_filters_demand() -> None:
    router = Router()
    red, blue = live(router, filter={"team": "red"}), live(router, filter={"team": "blue"})
    high = live(router, filter={"n": {"$gt": 10}})
    everything = live(router)
    assert found(router, insert(11, {"_id": 1, "team": "red", "n": 1})) == {red, everything}
    assert found(router, insert(11, {"_id": 1, "n": 11})) == {high, everything}
    assert found(router, insert(11, {"_id": 1, "team": ["blue", "red"]})) == {red, blue, everything}


def test_a_document_that_is_held_is_routed_to_its_holders_whatever_became_of_it() -> None:
    router = Router()
    red = live(router, {"_id": 1, "team": "red"}, filter={"team": "red"})
    live(router, {"_id": 2, "team": "blue"}, filter={"team": "blue"})
    assert found(router, replace(11, {"_id": 1, "team": "green"})) == {red}
    assert found(router, delete(11, 1)) == {red}
    assert found(router, update(11, 1, "team"), images={"1": {"_id": 1, "team": "green"}}) == {red}
    assert found(router, update(11, 1, "other")) == set()
    assert found(router, delete(11, 9)) == set()


@pytest.mark.parametrize("asked", [{}, {"sort": [["n", 1]], "limit": 1}, {"group": {"by": ["n"]}}])
def test_what_is_held_is_noted_as_it_comes_and_goes(asked: dict[str, Any]) -> None:
    router = Router()
    held = live(router, {"_id": 1, "n": 1}, filter={"team": None}, **asked)
    batch = settled(insert(11, {"_id": 2, "n": 2}))
    held.apply(batch, {})
    assert found(router, delete(12, 1)) == found(router, delete(12, 2)) == {held}
    held.apply(settled(delete(12, 1)), {})
    held.apply(settled(replace(13, {"_id": 2, "team": "red"})), {})
    assert found(router, delete(14, 1)) == found(router, delete(14, 2)) == set()


def test_an_update_is_read_only_where_it_may_change_something() -> None:
    router = Router()
    live(router, {"_id": 1, "team": "red", "n": 5}, filter={"team": "red"}, projection={"n": 1})
    assert needed(router, update(11, 1, "n")) == [True]
    assert needed(router, update(11, 1, "hidden")) == [False]
    assert needed(router, update(11, 9, "n")) == [False]
    assert needed(router, update(11, 9, "team")) == [True]
    assert needed(router, update(11, 9, "team.colour")) == [True]
    assert not router.needs("others", next(iter(settled(update(11, 9, "team")).touches["items"].values())))


def test_an_update_of_unknown_paths_is_read_where_anybody_listens() -> None:
    router = Router()
    unknown = settled(update(11, 9, "a"), update(11, 9, "b"))
    touch = dataclasses.replace(next(iter(unknown.touches["items"].values())), paths=None)
    assert not router.needs("items", touch)
    live(router, filter={"team": "red"})
    assert router.needs("items", touch)


def test_a_window_may_gain_by_what_it_sorts_by() -> None:
    router = Router()
    live(router, filter={"team": "red"}, sort=[["stats.score", -1]], limit=3)
    assert needed(router, update(11, 9, "stats")) == [True]
    assert needed(router, update(11, 9, "stats.score")) == [True]
    assert needed(router, update(11, 9, "stats.other")) == [False]


def test_a_group_on_its_way_to_live_is_told_of_everything() -> None:
    router = Router()
    made = QueryGroup(query({"team": "red"}), 1, EPOCH, ROOMY)
    router.add(made)
    assert router.unsettled("items") == (made,)
    assert found(router, insert(11, {"_id": 1, "team": "red"})) == set()
    brought_up(made, {"_id": 1, "team": "red"})
    router.settle(made)
    router.settle(made)
    assert router.unsettled("items") == ()
    router.unsettle(made)
    router.unsettle(made)
    assert router.unsettled("items") == (made,)
    assert found(router, delete(11, 1)) == set()
    assert router.unsettled("nothing") == ()


def test_a_group_that_is_removed_leaves_nothing_behind() -> None:
    router = Router()
    groups = [live(router, {"_id": n, "n": n}, filter={"n": n}) for n in range(5)]
    groups.append(live(router, {"_id": 9, "n": 9}, filter={"n": {"$gte": 9, "$lt": "text"}}))
    for group in groups:
        router.remove(group)
        router.remove(group)
        assert found(router, insert(11, {"_id": 100, "n": groups.index(group)})) - set(groups) == set()
    assert router.collections() == ()
    assert router._collections == {}
    assert len(router) == 0


def test_a_document_without_a_path_is_found_by_null() -> None:
    router = Router()
    absent = live(router, filter={"a.b": None})
    assert found(router, insert(11, {"_id": 1})) == {absent}
    assert found(router, insert(11, {"_id": 1, "a": {"b": 1}})) == set()


def test_ranges_of_several_types_at_one_path_miss_no_array() -> None:
    router = Router()
    both = live(router, filter={"a": {"$gt": 5, "$lt": "m"}})
    assert found(router, insert(11, {"_id": 1, "a": [9, "b"]})) == {both}


def random_filter(dice: random.Random) -> dict[str, Any]:
    path = dice.choice(["a", "b", "c.d"])
    low = dice.randrange(8)
    value = dice.choice([low, "text", None, {"d": low}])
    return dice.choice(
        [
            {path: value},
            {path: {"$in": [low, low + 3, "text"]}},
            {path: {"$gt": low, "$lte": low + 2}},
            {path: {"$gte": low}, "b": low},
            {"$or": [{path: low}, {path: low + 1, "b": 2}]},
            {"$or": [{path: low}, {"b": low}]},
            {"$and": [{path: low}, {"b": {"$lt": 6}}]},
            {path: {"$ne": low}},
            {path: {"$exists": True}},
            {},
        ]
    )


def random_document(dice: random.Random, key: int) -> dict[str, Any]:
    def value() -> Any:
        number = dice.randrange(8)
        return dice.choice([number, float(number), "text", None, [number, number + 2], {"d": number}, [{"d": number}]])

    return {"_id": key, **{name: value() for name in "abc" if dice.random() < 0.7}}


def test_the_groups_found_are_those_of_trying_all_and_hardly_more() -> None:
    dice = random.Random(11)
    router, groups, current = Router(), list[QueryGroup](), dict[int, dict[str, Any]]()
    concerned = tried = missed = 0
    for step in range(400):
        if len(groups) < 40 or dice.random() < 0.3:
            groups.append(live(router, *current.values(), filter=random_filter(dice)))
        if len(groups) > 60:
            router.remove(groups.pop(dice.randrange(len(groups))))
        key, time = dice.randrange(30), 20 + step
        if key in current and dice.random() < 0.3:
            event = delete(time, key)
            after = None
            del current[key]
        else:
            after = current[key] = random_document(dice, key)
            event = insert(time, after)
        batch = settled(event)
        routed = set(router.routes("items", batch.touches["items"].values(), {}))
        for group in groups:
            holds = identity(key) in group.documents
            if holds or (after is not None and group.query.filter.matches(after)):
                concerned += 1
                missed += group not in routed
            group.advance(time - 1)
            if group in routed:
                tried += 1
                group.apply(batch, {})
    assert missed == 0
    assert concerned > 3000
    assert tried < 1.5 * concerned
