"""Pipelines of stages that each document goes through by itself: kept, resumed and shown as a plain query is."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import orjson
import pytest

from realtime.core.live import meaning
from realtime.core.live.journal import Entry
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.vision import Share, Vision
from realtime.errors import InvalidDocumentError
from tests.chance import fresh_seed, share
from tests.core.examples import EPOCH, ROOMY, brought_up, delete, insert, piped, query, replace, settled, shown, update
from tests.core.live.folding import Folded
from tests.evaluated import evaluated

Document = dict[str, Any]
STEPS = share(400)
STAGES: list[Document] = [
    {"$match": {"open": True}},
    {"$set": {"twice": {"$multiply": ["$n", 2]}}},
    {"$match": {"twice": {"$gt": 4}}},
    {"$project": {"twice": 1}},
]


def live(*documents: Document, stages: list[Document] = STAGES, bounds: GroupBounds = ROOMY, **more: Any) -> QueryGroup:
    return brought_up(QueryGroup(piped(*stages, **more), 1, EPOCH, bounds), *documents)


def touch(*events: Any) -> Any:
    (found,) = settled(*events).touches["items"].values()
    return found


def test_what_a_client_folds_is_what_the_stages_make_of_each() -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    pipeline, held = compile_pipeline(STAGES), dict[int, Document]()
    made, seen = live(), 0
    view = Folded([], ordered=False)
    for time in range(11, 11 + STEPS):
        key = chance.randrange(8)
        if chance.random() < 0.2:
            held.pop(key, None)
            event = delete(time, key)
        else:
            held[key] = {"_id": key, "open": chance.random() < 0.8, "n": chance.randrange(6)}
            event = replace(time, held[key])
        if chance.random() < 0.05:
            made.reload()
            brought_up(made, *held.values(), at=time)
            view.take(made.changes())
        else:
            view.take(made.apply(settled(event), {}))
        wanted = sorted(evaluated(pipeline, held.values()), key=lambda one: one["_id"])
        assert sorted(view.documents, key=lambda one: one["_id"]) == wanted, seed
        assert set(made.result.names()) == {str(key) for key, one in held.items() if one["open"]}, seed
        seen += len(wanted)
    assert seen
    assert view.named


def test_a_pipeline_of_match_alone_is_the_plain_query() -> None:
    alone = piped({"$match": {"a": 1}}, {"$match": {"b": 2}})
    assert alone.key == query({"a": 1, "b": 2}).key
    assert alone.pipeline is None
    more = piped({"$match": {"a": 1}}, {"$set": {"x": 1}})
    assert more.key != query({"a": 1}).key
    assert more.key == piped({"$match": {"a": 1}}, {"$set": {"x": 1}}).key


def test_who_was_away_is_told_what_changed_unless_documents_hang_on_each_other() -> None:
    kept = live({"_id": 1, "open": True, "n": 5})
    assert kept.recoverable
    assert [one["op"] for one in shown(kept.since(["1", "2"]))] == ["leave", "update"]
    for stages in ([{"$group": {"_id": "$a"}}], [{"$sort": {"a": 1}}], [{"$count": "n"}]):
        assert not live({"_id": 1}, stages=list(stages)).recoverable


def test_under_a_rule_a_document_that_a_stage_let_go_is_known_by_what_was_told_alone() -> None:
    rule = Vision.of([Share(compile_filter({"owner": "me"}))])
    made = live({"_id": 1, "owner": "me", "open": True, "n": 5}, vision=rule)
    batch = settled(update(20, 1, "n"))
    entries = [Entry(batch, {"items": {}})]
    assert made.held_since(["1"], entries, 15) == ["1"]
    made.apply(batch, {"1": {"_id": 1, "owner": "me", "open": True, "n": 0}})
    # The update touched nothing that the rule or the first $match reads, and the document was held until then.
    assert made.held_since(["1"], entries, 15) is None
    made.remember()
    assert made.held_since(["1"], entries, 20) == []


def test_an_update_of_a_document_that_a_stage_let_go_is_read_where_a_stage_reads_it() -> None:
    made = live({"_id": 1, "open": True, "n": 0}, {"_id": 2, "open": False, "n": 9})
    assert made.documents == {}
    assert (made.needs(touch(update(11, 1, "n"))), made.needs(touch(update(11, 1, "x")))) == (True, False)
    assert (made.needs(touch(update(11, 2, "n"))), made.needs(touch(update(11, 2, "open")))) == (False, True)
    (entered,) = shown(made.apply(settled(update(11, 1, "n")), {"1": {"_id": 1, "open": True, "n": 4}}))
    assert entered == {"op": "enter", "key": 1, "document": {"_id": 1, "twice": 8}}
    assert {"_id", "n"} <= set(made.wanted.fields or ()) < {"_id", "n", "twice", "open"}


def test_documents_that_match_are_told_to_who_watches_shown_or_not() -> None:
    heard: list[tuple[str, str]] = []

    class Watching:
        def hold(self, name: str) -> None:
            heard.append(("hold", name))

        def let_go(self, name: str) -> None:
            heard.append(("let go", name))

    made = live({"_id": 1, "open": True, "n": 5})
    made.result.watch = Watching()
    made.apply(settled(replace(11, {"_id": 1, "open": True, "n": 0})), {})
    assert heard[-1] == ("hold", "1")
    made.apply(settled(insert(12, {"_id": 2, "open": True, "n": 0}), delete(12, 1)), {})
    assert heard[-2:] == [("hold", "2"), ("let go", "1")]
    made.apply(settled(delete(13, 7)), {})
    assert list(made.names()) == ["2"]


def test_a_document_that_fails_ends_it() -> None:
    made = live({"_id": 1, "open": True, "n": 5})
    with pytest.raises(InvalidDocumentError) as failed:
        made.apply(settled(insert(11, {"_id": 2, "open": True, "n": "x"})), {})
    assert (failed.value.details or {})["key"] == 2


def test_those_that_match_are_bounded_and_those_that_are_shown() -> None:
    bounds = GroupBounds(documents=2, bytes=1 << 20, frame_bytes=1 << 20, grouped=3)
    few = [{"_id": number, "open": True, "n": 0} for number in range(3)]
    made = live(*few, bounds=bounds)
    assert not made.too_large
    made.apply(settled(insert(11, {"_id": 9, "open": True, "n": 0})), {})
    assert (made.too_large, made.outgrown) == (True, (4, 3))
    shown_ones = live(*({**one, "n": 5} for one in few), bounds=bounds)
    assert (shown_ones.too_large, shown_ones.outgrown) == (True, (3, 2))


def test_it_may_go_on_without_its_bytes() -> None:
    made = live({"_id": 1, "open": True, "n": 5})
    assert made.may_stop_keeping
    made.stop_keeping()
    assert made.apply(settled(replace(11, {"_id": 1, "open": True, "n": 5, "more": 1})), {}) == []
    (told,) = shown(made.apply(settled(replace(12, {"_id": 1, "open": True, "n": 6})), {}))
    assert told["document"] == {"_id": 1, "twice": 12}
    (gone,) = shown(made.apply(settled(replace(13, {"_id": 1, "open": True, "n": 0})), {}))
    assert gone["op"] == "leave"


def test_it_follows_the_server_and_is_told_its_zones_under_one_key() -> None:
    hour: Document = {"$set": {"hour": {"$hour": {"date": "$at", "timezone": "Europe/Rome"}}}}
    asked = piped(hour)
    assert asked.computes
    assert dict(meaning.zones(asked)) != {}
    told = meaning.told(asked, {"Europe/Rome": UTC})
    assert (told.key, told.pipeline is asked.pipeline) == (asked.key, False)
    assert meaning.spoken(asked, NEWEST) is asked
    assert meaning.asks(asked) >= (asked.pipeline.asks if asked.pipeline else frozenset())
    made = QueryGroup(asked, 1, EPOCH, ROOMY)
    made.means(told)
    at = {"$date": "2026-12-01T05:00:00Z"}
    brought_up(made, {"_id": 1, "at": dt.datetime(2026, 12, 1, 5, tzinfo=dt.UTC)})
    assert [orjson.loads(one) for one in made.result.told()] == [{"_id": 1, "at": at, "hour": 5}]
