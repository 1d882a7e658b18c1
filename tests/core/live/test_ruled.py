"""Live queries under rules: through whatever is written each view is exactly what is seen, and nothing else is told."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import orjson
import pytest

from realtime.core.bson.keys import identity
from realtime.core.live.events import ChangeEvent
from realtime.core.live.query import Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.cut import Cut
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.vision import EVERYTHING, Share, Vision
from tests.chance import fresh_seed
from tests.core.examples import EPOCH, ROOMY, brought_up, delete, insert, replace, settled, update

MINE = Share(compile_filter({"owner": "me"}), Cut(["secret", "in.secret"]))
OPEN = Share(compile_filter({"open": True, "secret": {"$lt": 6}}), Cut(show=["a", "in.a"]))
VISIONS = {
    "everything": EVERYTHING,
    "rows": Vision.of([Share(compile_filter({"owner": "me"}))]),
    "rows and fields": Vision.of([MINE]),
    "few fields": Vision.of([OPEN]),
    "two grants": Vision.of([MINE, OPEN]),
    "a rule of hidden values": Vision.of([Share(compile_filter({"secret": {"$gt": 4}}), Cut(["secret"]))]),
    "nothing": Vision.of([]),
}


def query(vision: Vision, asked: dict[str, Any] | None = None, **more: Any) -> Query:
    return Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=compile_filter(asked),
        projection=compile_projection(more.pop("projection", None)),
        operations=None,
        vision=vision,
        **more,
    )


def document(chance: random.Random, key: int) -> dict[str, Any]:
    made: dict[str, Any] = {"_id": key, "owner": chance.choice(["me", "else"]), "open": chance.random() < 0.5}
    made["secret"], made["a"] = chance.randrange(10), chance.randrange(3)
    made["in"] = chance.choice([{"secret": chance.randrange(5), "a": 1}, [{"secret": 1}, 5], 7])
    return made


def changed(chance: random.Random, stored: dict[int, Any], time: int) -> ChangeEvent:
    key = chance.randrange(12)
    if key not in stored:
        stored[key] = document(chance, key)
        return insert(time, stored[key])
    if chance.random() < 0.15:
        del stored[key]
        return delete(time, key)
    if chance.random() < 0.2:
        stored[key] = document(chance, key)
        return replace(time, stored[key])
    paths = chance.sample(["owner", "open", "secret", "a", "in"], chance.choice([1, 1, 2]))
    fresh = document(chance, key)
    stored[key] = {**stored[key], **{path: fresh[path] for path in paths}}
    return update(time, key, *paths)


def expected(query: Query, vision: Vision, stored: dict[int, Any]) -> dict[str, Any]:
    """By the definition: the rule, the filter, and of what is shown the fields."""
    found = {}
    for one in stored.values():
        seen = vision.shown(one)
        if seen is not None and (not query.filter.asked or compile_filter(query.filter.asked).matches(one)):
            found[identity(one["_id"])] = seen
    return found


@pytest.mark.parametrize("name", VISIONS)
@pytest.mark.parametrize("asked", [{}, {"a": {"$gt": 0}}])
def test_a_live_view_is_what_is_seen_through_whatever_is_written(name: str, asked: dict[str, Any]) -> None:
    vision, seed = VISIONS[name], fresh_seed()
    chance, count = random.Random(f"{seed}{name}{asked}"), Counter[str]()
    stored = {key: document(chance, key) for key in range(6)}
    one = query(vision, asked)
    group = brought_up(QueryGroup(one, 1, EPOCH, ROOMY), *stored.values())
    router, view = Router(), {**{key: orjson.loads(raw) for key, raw in group.documents.items()}}
    router.add(group)
    router.settle(group)
    assert view == expected(one, vision, stored)
    for time in range(11, 400):
        before = dict(view)
        batch = settled(changed(chance, stored, time))
        touches = batch.touches["items"].values()
        images = {touch.identity: stored.get(touch.key) for touch in touches if router.needs("items", touch)}
        routed = router.routes("items", touches, images).get(group, [])
        for entry in map(orjson.loads, group.apply(batch, images, routed)):
            count[entry["op"]] += 1
            if entry["op"] == "leave":
                del view[identity(entry["key"])]
            else:
                view[identity(entry["key"])] = entry["document"]
        assert view == expected(one, vision, stored), f"seed {seed}, {time}"
        count["nothing told" if view == before else "told"] += 1
    told = 0 if name == "nothing" else 20
    assert count["told"] >= told, count
    assert sum(count[op] for op in ("enter", "update", "leave")) >= count["told"]
    assert count["nothing told"] >= 20, count


def test_an_update_of_hidden_fields_alone_is_told_to_nobody_who_may_not_see_it() -> None:
    stored = {"_id": 1, "owner": "me", "secret": 1, "a": 1}
    groups = {name: brought_up(QueryGroup(query(VISIONS[name]), 1, EPOCH, ROOMY), stored) for name in VISIONS}
    batch = settled(update(11, 1, "secret"))
    images = {identity(1): {**stored, "secret": 2}}
    told = {name for name, group in groups.items() if group.apply(batch, images)}
    assert told == {"everything", "rows"}


def test_a_snapshot_reads_by_the_rule_apart_from_what_was_asked() -> None:
    for more in ({}, {"sort": parse_sort([["a", 1]]), "limit": 3}):
        wanted = QueryGroup(query(VISIONS["rows"], {"a": 1}, **more), 1, EPOCH, ROOMY).wanted
        assert (wanted.rule, wanted.selection) == ({"owner": "me"}, {"a": 1})
    plain = QueryGroup(query(EVERYTHING, {"a": 1}), 1, EPOCH, ROOMY).wanted
    assert (plain.rule, plain.selection) == ({}, {"a": 1})


def test_groups_are_those_of_equal_effective_queries() -> None:
    keys = {name: query(vision).key for name, vision in VISIONS.items()}
    assert len(set(keys.values())) == len(VISIONS)
    assert query(EVERYTHING, {"owner": "me"}).key == keys["rows"]
    assert query(VISIONS["rows"], {"owner": "me"}).key == keys["rows"]
    assert query(Vision.of([OPEN, MINE])).key == keys["two grants"]


def test_a_live_query_holds_as_many_documents_as_the_most_generous_grant_lets() -> None:
    few = Share(compile_filter({"owner": "me"}), most=2)
    documents = [{"_id": key, "owner": "me"} for key in range(3)]
    bounds = {}
    for name, shares in {"few": [few], "both": [few, MINE], "more": [few, Share(few.filter, most=9)]}.items():
        made = query(Vision.of(shares))
        bounds[name] = brought_up(QueryGroup(made, 1, EPOCH, ROOMY), *documents[:2]).bounds.documents
        assert made.key != query(VISIONS["rows"]).key
    assert bounds == {"few": 2, "both": ROOMY.documents, "more": 9}
    group = brought_up(QueryGroup(query(Vision.of([few])), 1, EPOCH, ROOMY), *documents)
    assert group.too_large
    assert Vision.of([few]).most == 2
    assert EVERYTHING.most is None
