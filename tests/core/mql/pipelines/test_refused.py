"""What is refused, by its place, with the mend; and how large a pipeline may be."""

from __future__ import annotations

from typing import Any

import pytest
from bson.decimal128 import Decimal128

from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.language import ACCUMULATORS, REFUSED, REFUSED_ACCUMULATORS, STAGES
from realtime.errors import InvalidFilterError, UnsupportedOperatorError

LIMITED: list[Any] = [{"$sort": {"a": 1}}, {"$limit": 2}]
PUT: dict[str, Any] = {"$setField": {"field": {"$literal": "x"}, "input": "$d", "value": 1}}
G: dict[str, Any] = {"$group": {"_id": "$a", "n": {"$sum": 1}}}


def group(**accumulators: Any) -> list[Any]:
    return [{"$group": {"_id": None, **accumulators}}]


def bucket(**changed: Any) -> list[Any]:
    return [{"$bucket": {"groupBy": "$a", "boundaries": [0, 5], **changed}}]


UNSUPPORTED: list[tuple[list[Any], str, str]] = [
    ([{"$lookup": {}}], "0.$lookup", "by itself"),
    ([{"$nonsense": {}}], "0.$nonsense", "$match"),
    ([{"$limit": 1}], "0.$limit", "put a $sort"),
    ([{"$skip": 1}], "0.$skip", "put a $sort"),
    ([{"$sort": {"a": 1}}, {"$set": {"b": 1}}, {"$limit": 1}], "2.$limit", "put a $sort"),
    ([*LIMITED, {"$skip": 1}], "2.$skip", "put it before"),
    ([{"$sort": {"a": 1}}, {"$match": {"a": 1}}], "1.$match", "before the $sort"),
    ([*LIMITED, {"$sort": {"b": 1}}, {"$match": {"a": 1}}], "3.$match", "before the $sort"),
    ([*LIMITED, {"$sort": {"b": 1}}, {"$sort": {"c": 1}}], "3.$sort", "one $sort more"),
    ([{"$sort": {"a": 1}}, {"$sort": {"b": 1}}], "1.$sort", "one $sort more"),
    ([{"$sort": {"a": 1}}, G], "0.$sort", "leave it out"),
    ([{"$unwind": "$b"}, *LIMITED, G], "1.$sort", "put $group between"),
    ([{"$replaceWith": "$b"}, *LIMITED, G], "1.$sort", "keep _id"),
    ([{"$limit": 1}, G], "0.$limit", "put a $sort"),
    ([*LIMITED, {"$sort": {"b": 1}}, G], "2.$sort", "one $sort more"),
    ([G, G], "1.$group", "second group"),
    ([G, {"$count": "n"}], "1.$count", "second group"),
    ([G, {"$sort": {"n": 1}}, {"$match": {"n": 1}}], "2.$match", "before the $sort"),
    ([{"$sortByCount": "$a"}, {"$set": {"k": 1}}, {"$match": {"count": 1}}], "2.$match", "right behind"),
    ([{"$unwind": "$b"}], "0.$unwind", "$group has to follow"),
    ([G, {"$unwind": "$n"}], "1.$unwind", "$group has to follow"),
    ([{"$project": {"_id": 0}}], "0.$project", "leave _id"),
    ([{"$project": {"_id.x": 0}}], "0.$project", "leave _id"),
    ([{"$project": {"_id": "$a", "b": 1}}], "0.$project", "leave _id"),
    ([{"$project": {"_id": {"k": "$a"}}}], "0.$project", "leave _id"),
    ([{"$set": {"_id": 1}}], "0.$set", "leave _id"),
    ([{"$unset": "_id.x"}], "0.$unset", "leave _id"),
    ([G, {"$set": {"_id.k": 1}}], "1.$set", "leave _id"),
    ([{"$replaceRoot": {"newRoot": "$b"}}], "0.$replaceRoot.newRoot", "$mergeObjects"),
    ([{"$replaceWith": {"a": 1}}], "0.$replaceWith", '"_id": "$_id"'),
    ([{"$replaceWith": {"_id": 1}}], "0.$replaceWith", '"_id": "$_id"'),
    ([{"$replaceWith": {"$mergeObjects": ["$$ROOT", "$b"]}}], "0.$replaceWith", '"_id": "$_id"'),
    ([{"$count": "n"}, {"$set": {"_id": 1}}], "1.$set", "leave _id"),
    ([{"$count": "n"}, {"$replaceWith": {"n": "$n"}}], "1.$replaceWith", '"_id": "$_id"'),
    (group(r={"$push": "$a"}), "0.$group.r.$push", "$topN"),
    (group(r={"$first": "$a"}), "0.$group.r.$first", "$topN"),
    (group(r={"$last": "$a"}), "0.$group.r.$last", "$topN"),
    (group(r={"$abs": "$a"}), "0.$group.r.$abs", "$sum"),
    ([{"$replaceWith": "$b"}, *group(r={"$top": {"sortBy": {"a": 1}, "output": 1}})], "1.$group.r.$top", "keep _id"),
    (group(r={"$minN": {"n": "$a", "input": 1}}), "0.$group.r.$minN.n", "constant"),
    (bucket(boundaries=["$a", 5]), "0.$bucket.boundaries.0", "constant"),
    (bucket(default="$a"), "0.$bucket.default", "constant"),
    ([{"$match": {"$expr": {"$lte": ["$a", "$$NOW"]}}}], "0.$match.$expr.$lte.1", "above a bound"),
    ([{"$set": {"a": "$$NOW"}}], "0.$set.a", "$$NOW"),
    ([{"$set": {"a": "$$CLUSTER_TIME"}}], "0.$set.a", "clock"),
    (group(r={"$max": {"$rand": {}}}), "0.$group.r.$max.$rand", "chance"),
    ([{"$match": {"a": {"$where": 1}}}], "0.$match.a.$where", "code"),
    ([{"$set": {"t": "$x"}}, {"$sort": {"a": 1}}, {"$set": {"t": 1}}], "2.$set.t", "$ifNull"),
    ([{"$unset": "t"}, *LIMITED, {"$set": {"t.u": 1}}, G], "3.$set.t.u", "$ifNull"),
    ([G, {"$unset": "n"}, {"$sort": {"a": 1}}, {"$set": {"n": 1}}], "3.$set.n", "$ifNull"),
    ([{"$set": {"o": {"$ifNull": ["$p", {"a": "$b"}]}}}, {"$set": {"o.a": 1}}], "1.$set.o.a", "$mergeObjects"),
    ([{"$unset": "d.x"}, {"$set": {"q": "$d"}}, {"$set": {"q.x": 1}}], "2.$set.q.x", "$mergeObjects"),
    ([{"$unset": "d.x"}, {"$set": {"e": "$d"}}, {"$set": {"d": "$e"}}, {"$set": {"d.x": 9}}], "3.$set.d.x", "$merge"),
    ([{"$unset": "x"}, {"$replaceWith": "$$ROOT"}, {"$set": {"x": 1}}], "2.$set.x", "$mergeObjects"),
    ([{"$unset": "d.x"}, {"$set": {"q": [PUT]}}], "1.$set", "$mergeObjects"),
    ([{"$unset": "d.x"}, {"$group": {"_id": None, "q": {"$max": PUT}}}], "1.$group", "$mergeObjects"),
    ([{"$group": {"_id": {"a": "$a", "b": "$b"}}}, {"$set": {"k": "$_id"}}, {"$set": {"k.a": 1}}],
     "2.$set.k.a", "$merge"),
    ([{"$set": {"k": 1}}, {"$project": {"o.a": 1, "k": 1}}, {"$set": {"o.z": 1}}], "2.$set.o.z", "in that $project"),
    ([G, {"$project": {"n.a": 1}}, {"$set": {"n.z": 1}}], "2.$set.n.z", "in that $project"),
    ([{"$set": {"o": "$n"}}, {"$project": {"k": 1, "o.a": 1}}], "1.$project.o", "a $project before this one"),
    ([{"$set": {"o": "$o.p"}}, {"$set": {"k": 1}}, *LIMITED, {"$project": {"o": {"a": 1}}}],
     "4.$project.o", "a $project before"),
    ([{"$unwind": {"path": "$b", "includeArrayIndex": "w.v"}}, {"$project": {"w.v": 1}}, G],
     "1.$project.w", "a $project before"),
    ([{"$set": {"o": 1}}, {"$set": {"k": {"$and": [False, "$o"]}}}, {"$project": {"o.a": 1}}],
     "2.$project.o", "a $project before"),
    ([{"$set": {"o.a": "$n"}}, {"$match": {"o.a": 1}}], "1.$match", "$ifNull"),
    ([{"$group": {"_id": "$a"}}, {"$match": {"_id": {"$type": 10}}}], "1.$match", "$ifNull"),
    ([{"$group": {"_id": {"a": "$a"}}}, {"$match": {"$or": [{"_id.a": {"$exists": 1}}]}}], "1.$match", "$ifNull"),
    ([{"$sortByCount": "$a"}, {"$match": {"$expr": {"$eq": ["$$ROOT", 1]}}}], "1.$match", "$ifNull"),
]  # fmt: skip


@pytest.mark.parametrize(("pipeline", "path", "mend"), UNSUPPORTED, ids=[repr(case[0])[:80] for case in UNSUPPORTED])
def test_what_cannot_be_followed_is_refused_by_place_with_the_mend(pipeline: list[Any], path: str, mend: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_pipeline(pipeline)
    assert (refused.value.details or {})["path"] == f"pipeline.{path}"
    assert mend in refused.value.message


INVALID: list[tuple[Any, str]] = [
    ({}, ""),
    ([5], ".0"),
    ([{}], ".0"),
    ([{"$match": {}, "$set": {}}], ".0"),
    ([{"$match": 5}], ".0.$match"),
    ([{"$match": {"a": {"$in": 1}}}], ".0.$match.a.$in"),
    ([{"$set": 5}], ".0.$set"),
    ([{"$set": {"": 1}}], ".0.$set."),
    ([{"$set": {"$a": 1}}], ".0.$set.$a"),
    ([{"$set": {"a..b": 1}}], ".0.$set.a..b"),
    ([{"$set": {"a": {}}}], ".0.$set.a"),
    ([{"$set": {"a": {"b.c": 1}}}], ".0.$set.a.b.c"),
    ([{"$set": {"a": {"b": 1, "$add": [1]}}}], ".0.$set.a.$add"),
    ([{"$set": {"a": 1, "a.b": 2}}], ".0.$set.a.b"),
    ([{"$set": {"a.b": 1, "a": 2}}], ".0.$set.a"),
    ([{"$set": {"a.b": 1, "a": {"b": 2}}}], ".0.$set.a.b"),
    ([{"$set": {"a." * 100 + "a": 1}}], ".0.$set." + "a." * 100 + "a"),
    ([{"$project": {"b." * 99 + "b": {"a": 1}}}], ".0.$project." + "b." * 99 + "b.a"),
    ([{"$project": {}}], ".0.$project"),
    ([{"$project": 1}], ".0.$project"),
    ([{"$project": {"a": {}}}], ".0.$project.a"),
    ([{"$project": {"a": 1, "b": 0}}], ".0.$project.b"),
    ([{"$project": {"a": 0, "b": "$c"}}], ".0.$project.a"),
    ([{"$project": {"a": 1, "a.b": 1}}], ".0.$project.a.b"),
    ([{"$project": {"a": {"b": 1}, "a.b": 1}}], ".0.$project.a.b"),
    ([{"$unset": []}], ".0.$unset"),
    ([{"$unset": [1]}], ".0.$unset"),
    ([{"$unset": ["a", "a"]}], ".0.$unset"),
    ([{"$unset": ["a", "a.b"]}], ".0.$unset.a.b"),
    ([{"$unset": "$a"}], ".0.$unset"),
    ([{"$replaceRoot": {}}], ".0.$replaceRoot"),
    ([{"$replaceRoot": {"newRoot": "$a", "x": 1}}], ".0.$replaceRoot"),
    ([{"$replaceRoot": {"newRoot": {"a.b": 1}}}], ".0.$replaceRoot.newRoot.a.b"),
    ([{"$replaceWith": 5}], ".0.$replaceWith"),
    ([{"$unwind": 5}], ".0.$unwind"),
    ([{"$unwind": "a"}], ".0.$unwind"),
    ([{"$unwind": "$$ROOT"}], ".0.$unwind"),
    ([{"$unwind": {"path": "$a", "q": 1}}], ".0.$unwind.q"),
    ([{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": 1}}], ".0.$unwind.preserveNullAndEmptyArrays"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": "$i"}}], ".0.$unwind.includeArrayIndex"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": "a"}}], ".0.$unwind.includeArrayIndex"),
    ([{"$unwind": {"path": "$a.b", "includeArrayIndex": "a.b.c"}}], ".0.$unwind.includeArrayIndex"),
    ([{"$sort": {}}], ".0.$sort"),
    ([{"$sort": 5}], ".0.$sort"),
    ([{"$sort": {"a": 2}}], ".0.$sort"),
    ([{"$sort": {"a": {"$meta": "x"}}}], ".0.$sort.a"),
    ([{"$sort": {"a": 1}}, {"$limit": 0}], ".1.$limit"),
    ([{"$sort": {"a": 1}}, {"$limit": 2.5}], ".1.$limit"),
    ([{"$sort": {"a": 1}}, {"$skip": -1}], ".1.$skip"),
    ([{"$sort": {"a": 1}}, {"$skip": 10**6}], ".1.$skip"),
    ([{"$group": {}}], ".0.$group"),
    ([{"$group": 5}], ".0.$group"),
    ([{"$group": {"_id": {"a": 1}}}], ".0.$group._id.a"),
    ([{"$group": {"_id": {"a": Decimal128("1")}}}], ".0.$group._id.a"),
    ([{"$group": {"_id": {"a.b": "$a"}}}], ".0.$group._id.a.b"),
    (group(**{"a.b": {"$sum": 1}}), ".0.$group.a.b"),
    (group(r=5), ".0.$group.r"),
    (group(r={"$sum": 1, "$avg": 1}), ".0.$group.r"),
    (group(r={"$sum": ["$a"]}), ".0.$group.r.$sum"),
    (group(r={"$count": 1}), ".0.$group.r.$count"),
    (group(r={"$minN": {"n": 0, "input": 1}}), ".0.$group.r.$minN.n"),
    (group(r={"$minN": {"n": 1001, "input": 1}}), ".0.$group.r.$minN.n"),
    (group(r={"$minN": {"input": 1}}), ".0.$group.r.$minN"),
    (group(r={"$top": {"sortBy": {"a": 1}, "output": 1, "n": 1}}), ".0.$group.r.$top"),
    (group(r={"$top": {"sortBy": ["a"], "output": 1}}), ".0.$group.r.$top.sortBy"),
    (group(**{f"r{index}": {"$sum": 1} for index in range(33)}), ".0.$group"),
    (bucket(boundaries=[0]), ".0.$bucket.boundaries"),
    (bucket(boundaries=[5, 0]), ".0.$bucket.boundaries.1"),
    (bucket(boundaries=[0, "a"]), ".0.$bucket.boundaries.1"),
    (bucket(default=3), ".0.$bucket.default"),
    (bucket(groupBy=5), ".0.$bucket.groupBy"),
    (bucket(x=1), ".0.$bucket.x"),
    (bucket(output=1), ".0.$bucket.output"),
    (bucket(output={"_id": {"$sum": 1}}), ".0.$bucket.output._id"),
    ([{"$bucket": {"groupBy": "$a"}}], ".0.$bucket"),
    ([{"$sortByCount": "a"}], ".0.$sortByCount"),
    ([{"$sortByCount": {"x": 1}}], ".0.$sortByCount"),
    ([{"$count": ""}], ".0.$count"),
    ([{"$count": "_id"}], ".0.$count"),
    ([{"$count": "a.b"}], ".0.$count"),
]


@pytest.mark.parametrize(("pipeline", "path"), INVALID, ids=[repr(case[0])[:80] for case in INVALID])
def test_what_mongodb_refuses_is_refused_at_its_place(pipeline: Any, path: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compile_pipeline(pipeline)
    assert (refused.value.details or {})["path"] == f"pipeline{path}"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_stage_that_is_refused_has_its_reason(name: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_pipeline([{"$match": {}}, {name: {}}])
    assert refused.value.details == {"operator": name, "path": f"pipeline.1.{name}"}
    assert REFUSED[name] in refused.value.message
    assert name not in STAGES


@pytest.mark.parametrize("name", sorted(REFUSED_ACCUMULATORS))
def test_every_accumulator_that_is_refused_has_its_reason(name: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_pipeline(group(r={name: "$a"}))
    assert REFUSED_ACCUMULATORS[name] in refused.value.message
    assert name not in ACCUMULATORS


LARGE: list[list[Any]] = [
    [{"$match": {}}] * 33,
    [{"$set": {f"a{index}": {"$add": ["$a", 1, 2, 3]} for index in range(200)}}],
    [{"$match": {"a": {"$in": list(range(600))}}}, {"$set": {"x": 1}}, {"$match": {"b": {"$in": list(range(600))}}}],
    [{"$project": {f"a{index}": 1 for index in range(1001)}}],
    [{"$match": {"a": {"$in": list(range(2000))}}}],
]


@pytest.mark.parametrize("pipeline", LARGE, ids=["stages", "expressions", "conditions", "paths", "one filter"])
def test_a_pipeline_is_bounded(pipeline: list[Any]) -> None:
    with pytest.raises(InvalidFilterError, match="more than"):
        compile_pipeline(pipeline)
    assert compile_pipeline(pipeline, Bounds(taken=True)).source is pipeline


@pytest.mark.parametrize("field", [5, ["y"], {"$literal": "y"}, "y", {}])
def test_what_is_put_elsewhere_is_taken(field: Any) -> None:
    data = {"$match": {"a": {"$eq": {"$setField": {"field": field}}}}}
    put = {"$set": {"q": {"$setField": {"field": "y", "input": "$d", "value": 1}}}}
    assert len(compile_pipeline([{"$set": {"b": 1}}, {"$unset": "d.x"}, data, put]).source) == 4


@pytest.mark.parametrize("reads", ["$o", "$$ROOT", {"$ifNull": ["$o", {"$or": ["$b", 1]}]}], ids=repr)
def test_parts_of_what_is_set_are_shown_where_it_is_read_as_a_whole(reads: Any) -> None:
    pipeline = compile_pipeline([{"$set": {"o": "$n", "k": reads}}, {"$project": {"k": 1, "o.a": 1}}])
    assert not pipeline.plain
