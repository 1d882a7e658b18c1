"""`$from` in a rule: which sets it asks for, what names them, and what is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules.checking import check
from realtime.core.access.rules.membership import members, slots
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.placing import place
from realtime.core.access.rules.policy import Policy
from realtime.core.mql.membership import Members
from realtime.core.mql.vision import NEVER

SPEC = {"collection": "memberships", "where": {"user": "$user.sub"}, "values": "team"}
TEAMS = {"$in": {"$from": SPEC}}
ANN, BOB = Principal("ann", frozenset({"member"})), Principal("bob", frozenset({"member"}))


def rules(read: Any, **more: Any) -> Rules:
    return Rules.model_validate({"collections": {"orders": {"member": {"read": read, **more}}}})


def wrong(read: Any, served: frozenset[str] | None = None) -> list[str]:
    return [str(problem) for problem in check(rules(read), served)]


def test_a_set_is_asked_for_with_the_principals_claims_in_it() -> None:
    assert members(SPEC, ANN, 7) == Members("memberships", {"user": {"$eq": "ann"}}, "team", 7)
    missing = {**SPEC, "where": {"user": "$user.claims.none"}}
    assert members(missing, ANN, 7).selection == NEVER
    assert slots({"owner": "$user.sub"}, ANN, 7) is None
    assert slots(True, ANN, 7) is None


def test_a_rule_is_placed_by_what_is_found_and_false_without_it() -> None:
    found = slots({"$or": [{"public": True}, {"team": TEAMS}]}, ANN, 7)
    assert found is not None
    ((asked,), key) = found[0].asked, found[1]
    assert found[0].place({asked.key: ["a", "b"]}) == {"$or": [{"public": True}, {"team": {"$in": ["a", "b"]}}]}
    empty: list[dict[bytes, Any]] = [{}, {asked.key: None}, {asked.key: []}]
    for nothing in empty:
        assert found[0].place(nothing) == {"$or": [{"public": True}]}
    assert key
    assert place({"team": TEAMS}, ANN) is None


def test_the_key_of_a_query_is_rule_and_user_and_not_the_values() -> None:
    policy = Policy(rules({"team": TEAMS}), 7)
    mine, theirs = (policy.reading(who, "orders") for who in (ANN, BOB))
    assert mine.sets == (Members("memberships", {"user": {"$eq": "ann"}}, "team", 7),)
    assert mine.shares[0].canonical != theirs.shares[0].canonical
    filled = mine.filled({mine.sets[0].key: ["a"]})
    assert filled.shares[0].canonical == mine.shares[0].canonical
    assert filled.sees({"_id": 1, "team": "a"})
    # Another rule over the same set is another query, and one that no claim can be taken for.
    other = Policy(rules({"board": TEAMS}), 7).reading(ANN, "orders")
    assert other.shares[0].canonical != mine.shares[0].canonical


def test_what_does_not_name_a_user_is_one_set_for_all() -> None:
    policy = Policy(rules({"team": {"$in": {"$from": {**SPEC, "where": {"open": True}}}}}))
    assert policy.reading(ANN, "orders").shares[0].canonical == policy.reading(BOB, "orders").shares[0].canonical


def test_a_rule_that_is_false_of_somebody_whatever_is_found_is_so() -> None:
    rule = {"team": TEAMS, "region": {"$ne": "$user.claims.none"}}
    vision = Policy(rules(rule)).reading(ANN, "orders")
    assert vision.granted
    assert not vision.filled({vision.sets[0].key: ["a"]}).sees({"_id": 1, "team": "a", "region": "n"})


def test_of_several_collections_each_set_is_asked_for() -> None:
    sight = Policy(rules({"team": TEAMS}), 7).hearing(ANN, None)
    assert [one.collection for one in sight.sets] == ["memberships"]


def test_a_good_one_is_let_in() -> None:
    assert wrong({"team": TEAMS}) == []
    assert wrong({"$or": [{"public": True}, {"lines": {"$elemMatch": {"team": TEAMS}}}]}) == []
    assert wrong({"team": TEAMS}, frozenset({"orders", "memberships"})) == []


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, "$from: takes collection, where, values, and nothing else"),
        ([], "$from: takes collection, where, values, and nothing else"),
        ({**SPEC, "most": 1}, "$from: takes collection, where, values, and nothing else"),
        ({**SPEC, "collection": 5}, "$from.collection: a collection is a name"),
        ({**SPEC, "collection": "realtime_keys"}, "$from.collection: no collection to take values from"),
        ({**SPEC, "values": "a..b"}, "$from.values: is no path of a field"),
        ({**SPEC, "values": "a.0"}, "$from.values: is no path of a field"),
        ({**SPEC, "values": 5}, "$from.values: is no path of a field"),
        ({**SPEC, "where": 5}, "$from.where: a filter is an object"),
        ({**SPEC, "where": {"a": {"$in": {"$from": SPEC}}}}, "$from.where: $from takes from documents alone"),
        ({**SPEC, "where": {"a": "$user.name"}}, "$from.where.a: there is no $user.name"),
        ({**SPEC, "where": {"a": {"$near": 1}}}, "$from.where.a.$near: $near"),
        ({**SPEC, "where": {"$expr": {"$eq": ["$a", 1]}}}, "$from.where: asks by fields alone"),
    ],
)
def test_what_is_wrong_with_one_is_told_with_its_place(spec: Any, told: str) -> None:
    (only,) = wrong({"team": {"$in": {"$from": spec}}})
    assert only.startswith(f"orders.member.read.team.$in.{told}")


def test_it_stands_below_in_and_no_negation_and_beside_no_time_zone() -> None:
    (only,) = wrong({"team": {"$nin": {"$from": SPEC}}})
    assert "$from stands alone, below $in, and below no negation" in only
    hour = {"$hour": {"date": "$at", "timezone": "Europe/Berlin"}}
    (only,) = wrong({"team": TEAMS, "$expr": {"$eq": [hour, 5]}})
    assert only.endswith("$from: does not go with a time zone in the same rule")


def test_a_collection_that_is_not_served_is_not_followed() -> None:
    (only,) = wrong({"team": TEAMS}, frozenset({"orders"}))
    assert only.startswith("orders.member.read.team.$in.$from.collection: is not served here, and so not followed")
