"""Claims in a rule: placed as values, false where they are missing, and the whole rule false below a negation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bson.objectid import ObjectId

from realtime.core.access.principal import Principal
from realtime.core.access.rules.placing import MAX_VALUES, RuleError, place, try_out
from realtime.core.mql.filters import compile_filter

ID = "0123456789abcdef01234567"
WHO = Principal(
    "anna",
    frozenset({"staff", "author"}),
    {
        "team": 7,
        "regions": ["eu", "us"],
        "none": [],
        "null": None,
        "object": {"$gt": ""},
        "objects": [{"$gt": ""}],
        "deep": {"er": {"x": True}},
        "https://a.example/tenant": "t1",
        "many": list(range(MAX_VALUES + 1)),
        "huge": 2**63,
        "nan": float("nan"),
        "id": ID,
    },
)


def placed(rule: Any) -> Any:
    return place(rule, WHO)


def test_a_rule_of_one_word_is_all_or_nothing() -> None:
    assert place(True, WHO) == {}
    assert place(False, WHO) is None
    assert (try_out(True), try_out(False)) == ({}, None)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"owner": "$user.sub"}, {"owner": {"$eq": "anna"}}),
        ({"a": "$user.claims.team"}, {"a": {"$eq": 7}}),
        ({"a": "$user.claims.deep.er.x"}, {"a": {"$eq": True}}),
        ({"a": "$user.claims.https://a.example/tenant"}, {"a": {"$eq": "t1"}}),
        ({"a": {"$in": "$user.claims.regions"}}, {"a": {"$in": ["eu", "us"]}}),
        ({"a": {"$in": "$user.roles"}}, {"a": {"$in": ["author", "staff"]}}),
        ({"a": {"$in": ["public", "$user.sub"]}}, {"a": {"$in": ["public", "anna"]}}),
        ({"a": {"$all": ["$user.sub", "b"]}}, {"a": {"$all": ["anna", "b"]}}),
        ({"a": {"$ne": "$user.sub", "$gt": 1}}, {"a": {"$ne": "anna", "$gt": 1}}),
        ({"a": {"$not": {"$eq": "$user.sub"}}}, {"a": {"$not": {"$eq": "anna"}}}),
        ({"a": {"$nin": "$user.claims.regions"}}, {"a": {"$nin": ["eu", "us"]}}),
        ({"a": {"$elemMatch": {"$gte": "$user.claims.team"}}}, {"a": {"$elemMatch": {"$gte": 7}}}),
        ({"a": {"$elemMatch": {"who": "$user.sub"}}}, {"a": {"$elemMatch": {"who": {"$eq": "anna"}}}}),
        ({"$nor": [{"a": "$user.sub"}]}, {"$nor": [{"a": {"$eq": "anna"}}]}),
        ({"a": {"$oid": "$user.claims.id"}}, {"a": {"$eq": ObjectId(ID)}}),
        ({"a": {"$in": [{"$oid": "$user.claims.id"}]}}, {"a": {"$in": [ObjectId(ID)]}}),
        ({"a": None, "b": {"x": 1}, "c": [1], "d": ""}, {"a": None, "b": {"x": 1}, "c": [1], "d": ""}),
        ({"a": {"$in": []}}, {"a": {"$in": []}}),
        ({"$comment": "x", "$expr": {"$gt": ["$a", 1]}}, {"$comment": "x", "$expr": {"$gt": ["$a", 1]}}),
        (
            {"a": {"$all": [{"$elemMatch": {"b": "$user.sub"}}]}},
            {"a": {"$all": [{"$elemMatch": {"b": {"$eq": "anna"}}}]}},
        ),
    ],
)
def test_claims_are_placed_as_values(rule: dict[str, Any], expected: dict[str, Any]) -> None:
    assert placed(rule) == expected
    compile_filter(placed(rule))


MISSING = [
    "$user.claims.missing",
    "$user.claims.null",
    "$user.claims.object",
    "$user.claims.objects",
    "$user.claims.none",
    "$user.claims.regions",
    "$user.claims.deep.er",
    "$user.claims.team.x",
    "$user.claims.huge",
    "$user.claims.nan",
    {"$oid": "$user.sub"},
    {"$oid": "$user.claims.team"},
]


@pytest.mark.parametrize("said", MISSING)
def test_what_is_no_value_makes_its_condition_false(said: Any) -> None:
    for condition in (said, {"$eq": said}, {"$gt": said}, {"$in": [said]}, {"$all": ["x", said]}):
        assert placed({"a": condition, "b": 1}) is None
        assert placed({"$and": [{"b": 1}, {"a": condition}]}) is None
        assert placed({"$or": [{"b": 1}, {"a": condition}]}) == {"$or": [{"b": 1}]}
        assert placed({"$or": [{"a": condition}]}) is None
        assert placed({"c": {"$elemMatch": {"a": condition}}}) is None
    assert placed({"a": {"$in": ["x", said]}}) == {"a": {"$in": ["x"]}}
    assert placed({"a": {"$all": [{"$elemMatch": {"b": said}}]}}) is None
    assert placed({"a": {"$elemMatch": {"$eq": said}}}) is None


@pytest.mark.parametrize("said", MISSING)
def test_below_a_negation_it_makes_the_whole_rule_false(said: Any) -> None:
    for condition in ({"$ne": said}, {"$not": {"$eq": said}}, {"$nin": [said]}, {"$nin": ["x", said]}):
        assert placed({"$or": [{"b": 1}, {"a": condition}]}) is None
    assert placed({"$or": [{"b": 1}, {"$nor": [{"a": said}, {"c": 1}]}]}) is None
    assert placed({"$or": [{"b": 1}, {"a": {"$not": {"$in": [said]}}}]}) is None


@pytest.mark.parametrize("name", ["missing", "none", "objects", "object", "null", "team", "many"])
def test_a_list_is_one_that_has_values_and_is_not_too_long(name: str) -> None:
    said = f"$user.claims.{name}"
    for operator in ("$in", "$all"):
        assert placed({"a": {operator: said}}) is None
    assert placed({"$or": [{"b": 1}, {"a": {"$nin": said}}]}) is None


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"a": "$user.name"}, "a"),
        ({"a": "$user"}, "a"),
        ({"a": "$user.claims."}, "a"),
        ({"a": "$$user.sub"}, "a"),
        ({"a": {"$ne": "$User.sub"}}, "a.$ne"),
        ({"a": {"$nin": ["${user.sub}"]}}, "a.$nin.0"),
        ({"a": " $user.sub"}, "a"),
        ({"a": {"$regex": "$user.sub"}}, "a.$regex"),
        ({"a": {"$exists": "$user.sub"}}, "a.$exists"),
        ({"a": {"b": "$user.sub"}}, "a.b"),
        ({"a": ["$user.sub"]}, "a.0"),
        ({"$expr": {"$eq": ["$a", "$user.sub"]}}, "$expr.$eq.1"),
        ({"$jsonSchema": {"enum": ["$user.sub"]}}, "$jsonSchema.enum.0"),
        ({"$or": [{"a": 1}, {"b": {"$size": "$user.sub"}}]}, "$or.1.b.$size"),
        ({"$or": {"a": 1}}, "$or"),
        ({"$or": [1]}, "$or.0"),
        ({"a": {"$nin": {"$from": {}}}}, "a.$nin"),
        ({"a": {"$not": {"$in": {"$from": {}}}}}, "a.$not.$in"),
        ({"a": {"$in": {"$from": {}, "x": 1}}}, "a.$in"),
        ({"a": {"$from": {}}}, "a.$from"),
        ({"a": {"b": {"$from": {}}}}, "a.b"),
    ],
)
def test_a_claim_that_stands_where_none_is_placed_is_no_rule(rule: dict[str, Any], path: str) -> None:
    for ask in (placed, try_out):
        with pytest.raises(RuleError) as wrong:
            ask(rule)
        assert ".".join(map(str, wrong.value.path)) == path


def test_what_the_compiler_refuses_is_left_to_it() -> None:
    for rule in ({"a": {"$in": 5}}, {"a": {"$not": 5}}, {"a": {"$elemMatch": 5}}, {"$where": "x"}):
        assert placed(rule) == rule


def test_a_rule_is_tried_out_with_whatever_it_asks_for() -> None:
    rule = {
        "a": "$user.claims.x",
        "b": {"$in": "$user.claims.y"},
        "c": {"$oid": "$user.sub"},
        "d": {"$in": {"$from": {}}},
    }
    found = try_out(rule)
    assert found is not None
    compile_filter(found)


def test_sets_are_asked_for_the_values_of_the_one_who_asks() -> None:
    class Teams:
        def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any] | None:
            return {"anna": ["a", "b"], "none": []}.get(principal.sub)

    rule = {"team": {"$in": {"$from": {"collection": "memberships"}}}}
    assert place(rule, WHO, Teams()) == {"team": {"$in": ["a", "b"]}}
    assert place(rule, Principal("none"), Teams()) is None
    assert place(rule, Principal("else"), Teams()) is None
    assert place(rule, WHO) is None
