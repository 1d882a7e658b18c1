"""A pipeline in its parts: which stage goes where, what is read, what is sent to MongoDB, and when two are the same."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.pipeline import EVERY, Pipeline
from tests.evaluated import evaluated

M: dict[str, Any] = {"$match": {"a": 1}}
S: dict[str, Any] = {"$set": {"b": {"$add": ["$a", 1]}}}
G: dict[str, Any] = {"$group": {"_id": "$k.x", "n": {"$sum": "$b"}}}


def shape(pipeline: Pipeline) -> list[str]:
    """The parts that there are, in their order."""
    parts = {
        "before": not pipeline.before.empty,
        "first": pipeline.first is not None,
        "between": not pipeline.between.empty,
        "group": pipeline.group is not None,
        "after": not pipeline.after.empty,
        "last": pipeline.last is not None,
        "shown": not pipeline.shown.empty,
    }
    return [name for name, there in parts.items() if there]


TOP: list[Any] = [{"$sort": {"b": -1}}, {"$skip": 1}, {"$limit": 2}]
SHAPES: list[tuple[list[Any], list[str], Any]] = [
    ([], [], None),
    ([M, {"$match": {}}, M], [], None),
    ([S, M], ["before"], None),
    ([S, {"$sort": {"b": 1}}, S], ["before", "last", "shown"], "last"),
    (TOP, ["last"], "last"),
    ([*TOP, S], ["last", "shown"], "last"),
    ([*TOP, S, M], ["first", "between"], "first"),
    ([*TOP, M, {"$sort": {"c": 1}}, S], ["first", "between", "last", "shown"], "last"),
    ([S, *TOP, M, G], ["before", "first", "between", "group"], None),
    ([G, M, S, *TOP, S], ["group", "after", "last", "shown"], "last"),
    ([{"$count": "n"}, S], ["group", "after"], None),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1]}}, S], ["group", "last", "shown"], "last"),
    ([{"$sortByCount": "$a"}, M, S], ["group", "after", "last", "shown"], "last"),
    ([{"$sortByCount": "$a"}, {"$limit": 3}, S], ["group", "last", "shown"], "last"),
    ([{"$sortByCount": "$a"}, {"$skip": 3}], ["group", "last"], "last"),
    ([{"$sortByCount": "$a"}, S, {"$sort": {"b": 1}}], ["group", "after", "last"], "last"),
]


@pytest.mark.parametrize(("stages", "parts", "order"), SHAPES, ids=[repr(case[0])[:90] for case in SHAPES])
def test_a_stage_goes_where_it_is_followed(stages: list[Any], parts: list[str], order: str | None) -> None:
    pipeline = compile_pipeline(stages)
    assert shape(pipeline) == parts
    assert pipeline.order is (None if order is None else getattr(pipeline, order))
    assert pipeline.plain is (parts == [])
    assert pipeline.source is stages


def test_what_goes_around_a_place_that_is_kept_is_taken() -> None:
    root = {"$replaceWith": {"_id": "$_id", "k": "$k"}}
    for stages in ([{"$unset": "t"}, *TOP, root, {"$set": {"t": 1}}, M], [{"$set": {"o.a": "$n"}}, M]):
        assert shape(compile_pipeline(stages))[0] == "before"


def test_the_top_ends_with_the_key() -> None:
    top = compile_pipeline(TOP).last
    assert top is not None
    assert top.source == [{"$sort": {"b": -1, "_id": 1}}, {"$skip": 1}, {"$limit": 2}]
    assert (top.skip, top.limit) == (1, 2)
    by_key = compile_pipeline([{"$sort": {"_id": -1}}, {"$skip": 0}]).last
    assert by_key is not None
    assert by_key.source == [{"$sort": {"_id": -1}}]


def test_what_is_sent_is_what_was_taken() -> None:
    stages = [M, M, {"$addFields": {"b": 1}}, {"$unset": "c"}, {"$unwind": "$k"}, {"$replaceWith": {"_id": 1,
     "k": "$k"}},
              {"$group": {"_id": "$k", "n": {"$sum": 1}}}, M, {"$sort": {"n": 1}}, {"$limit": 3.0},
               {"$project": {"n": 1}}]  # fmt: skip
    assert compile_pipeline(stages).sent() == [
        {"$match": {"$and": [{"a": 1}, {"a": 1}]}},
        {"$set": {"b": 1}},
        {"$project": {"c": 0}},
        {"$unwind": {"path": "$k"}},
        {"$replaceRoot": {"newRoot": {"_id": 1, "k": "$k"}}},
        {"$group": {"_id": "$k", "n": {"$sum": 1}}},
        M,
        {"$sort": {"n": 1, "_id": 1}},
        {"$limit": 3},
        {"$project": {"n": 1}},
    ]
    tops = [{"$group": {"_id": 1, "r": {"$top": {"sortBy": {"a": -1}, "output": "$b"}}}}]
    assert compile_pipeline(tops).sent() == [
        {"$group": {"_id": 1, "r": {"$top": {"sortBy": {"a": -1, "_id": 1}, "output": "$b"}}}}
    ]
    of = {"groupBy": "$a", "boundaries": [0, 1]}
    output = {"r": {"$top": {"sortBy": {"a": 1}, "output": 1}}}
    assert compile_pipeline([{"$bucket": {**of, "output": output}}]).sent() == [
        {"$bucket": {**of, "output": {"r": {"$top": {"sortBy": {"a": 1, "_id": 1}, "output": 1}}}}},
        {"$sort": {"_id": 1}},
    ]
    assert compile_pipeline([{"$bucket": of}]).sent()[0] == {"$bucket": of}


def test_the_rule_comes_first_and_stands_apart() -> None:
    rule, cut, fence = {"owner": "ann"}, {"$project": {"secret": 0}}, {"$limit": EVERY}
    assert compile_pipeline([M]).sent(rule) == [{"$match": {"$and": [rule, {"a": 1}]}}]
    assert compile_pipeline([]).sent(rule) == [{"$match": rule}]
    assert compile_pipeline([]).sent() == []
    assert compile_pipeline([M, G]).sent(rule, [cut]) == [{"$match": {"$and": [rule, {"a": 1}]}}, fence, cut, G]
    asks = {"$match": {"$expr": {"$gt": [{"$divide": [1, "$a"]}, 1]}}}
    assert compile_pipeline([asks]).sent(rule) == [{"$match": rule}, fence, asks]
    assert compile_pipeline([M, G]).sent(None, [cut]) == [M, cut, G]


def test_time_moves_a_leading_match() -> None:
    moving = {"$match": {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", 1000]}]}}}
    pipeline = compile_pipeline([M, moving, G])
    assert pipeline.match.moving is not None
    when = {"$subtract": [dt.datetime(1970, 1, 1, 0, 1, 40, tzinfo=dt.UTC), 1000]}
    assert pipeline.sent(second=100)[0] == {"$match": {"$and": [{"a": 1}, {"$expr": {"$gte": ["$at", when]}}]}}
    assert compile_pipeline([M]).match.moving is None


READ: list[tuple[list[Any], set[str] | None, dict[str, int] | None]] = [
    ([M], None, None),
    ([S], None, None),
    ([G], {"k.x", "b"}, {"_id": 1, "b": 1, "k": 1}),
    ([{"$count": "n"}], set(), {"_id": 1}),
    ([S, {"$project": {"c.d": 1, "e": "$f"}}, {"$set": {"z": "$y"}}], {"a", "c.d", "f"}, {"_id": 1, "a": 1,
     "c": 1, "f": 1}),
    ([{"$sort": {"s": 1}}, {"$project": {"c": 1}}], {"s", "_id", "c"}, {"_id": 1, "c": 1, "s": 1}),
    ([M, {"$unwind": "$u.0.v"}, {"$match": {"w": 1}}, G], {"u.v", "w", "k.x", "b"}, {"_id": 1, "b": 1, "k": 1,
     "u": 1, "w": 1}),
    ([{"$replaceWith": {"_id": "$_id", "a": "$b"}}], {"_id", "b"}, {"_id": 1, "b": 1}),
    ([{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"_id": "$_id"}]}}], None, None),
    ([{"$group": {"_id": {"$getField": {"$literal": "$x"}}}}], {"$x"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "paths", "fields"), READ, ids=[repr(case[0])[:90] for case in READ])
def test_what_is_read_of_a_document(stages: list[Any], paths: set[str] | None, fields: Any) -> None:
    pipeline = compile_pipeline(stages)
    assert pipeline.paths == paths
    assert pipeline.fields == fields
    assert pipeline.reads(frozenset({"nobody"})) is (paths is None)
    for path in paths or ():
        assert pipeline.reads(frozenset({f"{path}.below"}))
        assert pipeline.reads(frozenset({path.split(".")[0]}))


def test_two_are_the_same_that_ask_the_same() -> None:
    def canonical(*stages: Any) -> bytes:
        return compile_pipeline(list(stages)).canonical

    assert canonical({"$match": {"a": 1, "b": 2}}, S) == canonical({"$match": {"b": 2}}, {"$match": {"a": 1}}, S)
    assert canonical({"$addFields": {"b": 1}}) == canonical({"$set": {"b": 1}})
    assert canonical({"$unset": "b"}) == canonical({"$project": {"b": 0}})
    assert canonical({"$sort": {"a": 1}}) == canonical({"$sort": {"a": 1, "_id": 1}}, {"$skip": 0})
    assert canonical(S) != canonical(M, S) != canonical(S, M)


def test_a_pipeline_computes_where_its_cost_goes_with_the_document() -> None:
    assert compile_pipeline([S]).computes
    assert compile_pipeline([{"$set": {"a": 1}}, {"$match": {"$expr": "$a"}}]).computes
    assert not compile_pipeline([M, {"$set": {"a": 1}}, {"$unset": "b"}]).computes


def test_a_pipeline_follows_the_dialect_and_the_zones() -> None:
    old = Dialect(adds_pair_by_pair=False)
    pipeline = compile_pipeline([S])
    assert pipeline.asks == {"adds_pair_by_pair"}
    assert pipeline.spoken(Dialect()) is pipeline
    assert pipeline.spoken(old).dialect == old
    assert pipeline.spoken(old).spoken(Dialect()).canonical == pipeline.canonical
    assert pipeline.told({}) is pipeline
    tops = compile_pipeline([{"$group": {"_id": 1, "r": {"$top": {"sortBy": {"a": 1}, "output": 1}}}}])
    assert tops.asks == {"top_enters_arrays"}
    zoned = compile_pipeline([{"$set": {"h": {"$hour": {"date": "$d", "timezone": "Europe/Berlin"}}}}])
    assert zoned.zones == {"Europe/Berlin": "pipeline.0.$set.h.$hour.timezone"}
    told = zoned.told({"Europe/Berlin": UTC})
    document = {"_id": 0, "d": dt.datetime(2024, 1, 1, 5, tzinfo=dt.UTC)}
    assert evaluated(told, [document])[0]["h"] == 5
    asked = compile_pipeline([{"$match": {"$expr": {"$eq": [5, zoned.source[0]["$set"]["h"]]}}}])
    assert asked.zones.keys() == {"Europe/Berlin"}
    assert asked.match.zones == {"Europe/Berlin": "pipeline.0.$match.$expr.$eq.1.$hour.timezone"}


def test_what_was_taken_is_not_bounded_again() -> None:
    stages = [{"$match": {"a": {"$in": list(range(900))}}}, S]
    wide = compile_pipeline(stages, Bounds(nodes=5000))
    assert wide.spoken(Dialect(adds_pair_by_pair=False)).canonical == wide.canonical
    assert compile_pipeline([]).told({"x": UTC}).plain


def test_where_a_pipeline_stands_may_be_said() -> None:
    assert compile_pipeline(
        [{"$set": {"h": {"$hour": {"date": "$d", "timezone": "Asia/Kathmandu"}}}}], here="body.pipeline"
    ).zones == {"Asia/Kathmandu": "body.pipeline.0.$set.h.$hour.timezone"}
