"""A session under rules: the query is what its principal sees, and what is not ruled yet is forbidden."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.bson import ejson
from realtime.core.connection.session import Effect, OpenSubscription, Send, Session
from realtime.core.live.query import Query
from tests.core.connection.sessions import LIMITS
from tests.core.examples import EPOCH

RULES = Rules.model_validate(
    {
        "collections": {
            "orders": {
                "customer": {"read": {"owner": "$user.sub"}, "fields": {"hide": ["margin"]}},
                "clerk": {"read": {"status": "open"}},
                "author": {"insert": True},
                "few": {"read": {"x": 1}, "limits": {"documents": 3}},
            },
            "*": {"admin": {"read": True}},
        }
    }
)
LIMITED = dataclasses.replace(LIMITS, policy=Policy(RULES))


def subscribed(sub: str, *roles: str, collection: Any = "orders", **fields: Any) -> list[Effect]:
    session = Session("session-1", LIMITED, EPOCH, Principal(sub, frozenset(roles)))
    return session.receive(ejson.encode({"type": "subscribe", "id": "x", "collection": collection, **fields}))


def opened(*given: Any, **fields: Any) -> Query:
    (only,) = subscribed(*given, **fields)
    assert isinstance(only, OpenSubscription), only
    return only.query


def refused(effects: list[Effect]) -> str:
    (only,) = effects
    assert isinstance(only, Send)
    return str(json.loads(only.frame)["code"])


def test_a_query_is_of_what_its_principal_sees() -> None:
    query = opened("anna", "customer", filter={"a": 1})
    assert query.filter.matches({"_id": 1, "owner": "anna", "a": 1})
    assert not query.filter.matches({"_id": 1, "owner": "bert", "a": 1})
    assert query.projection.apply({"_id": 1, "owner": "anna", "margin": 5}) == {"_id": 1, "owner": "anna"}
    assert (query.filter.rule, query.filter.asked) == ({"owner": {"$eq": "anna"}}, {"a": 1})


def test_who_sees_the_same_shares_a_group() -> None:
    assert opened("a", "clerk").key == opened("b", "clerk").key
    assert opened("a", "clerk").key == opened("c", "admin", filter={"status": "open"}).key
    keys = [opened(who, role).key for who in ("a", "b") for role in ("customer", "clerk", "admin")]
    assert len(set(keys)) == 4
    assert opened("a", "customer").key != opened("a", "admin", filter={"owner": "a"}).key  # a field is cut
    assert (
        opened("a", "admin").key
        == Query.of(
            **{
                name: getattr(opened("a", "admin"), name)
                for name in ("mode", "collections", "filter", "projection", "operations")
            }
        ).key
    )


@pytest.mark.parametrize(
    ("roles", "fields"),
    [
        ((), {}),
        (("author",), {}),
        (("customer",), {"collection": "others"}),
        (("customer",), {"filter": {"margin": {"$gt": 1}}}),
        (("customer",), {"sort": [["margin", 1]]}),
        (("customer",), {"group": {"by": ["margin"]}}),
        (("customer",), {"projection": {"m": {"$add": ["$margin", 1]}}}),
        (("customer", "clerk"), {"filter": {"margin": {"$gt": 1}}}),
        ((), {"mode": "events"}),
        ((), {"mode": "events", "collection": "*"}),
        (("customer",), {"mode": "events", "collection": ["orders", "others"]}),
        (("customer",), {"mode": "events", "filter": {"margin": 1}}),
        (("customer",), {"mode": "events", "collection": "*", "projection": {"m": {"$add": ["$margin", 1]}}}),
    ],
)
def test_what_no_rule_lets_is_forbidden(roles: tuple[str, ...], fields: dict[str, Any]) -> None:
    assert refused(subscribed("anna", *roles, **fields)) == "forbidden"


def test_a_window_is_no_larger_than_its_grant_lets() -> None:
    assert refused(subscribed("anna", "few", sort=[["a", 1]], limit=4)) == "invalid_request"
    assert opened("anna", "few", sort=[["a", 1]], limit=3).most == 3
    assert opened("anna", "few", "clerk", sort=[["a", 1]], limit=4).most is None


def test_events_are_of_what_their_principal_sees_of_each_collection() -> None:
    sight = opened("anna", "customer", mode="events").sight
    assert sight is not None
    assert sight.of("orders").sees({"owner": "anna"})
    assert not sight.of("orders").sees({"owner": "bert"})
    assert (sight.tells("orders"), sight.tells("others")) == (True, False)
    everywhere = opened("anna", "customer", mode="events", collection="*")
    assert (everywhere.covers("orders"), everywhere.covers("others"), everywhere.collections) == (True, False, None)
    assert opened("anna", "admin", mode="events", collection="*").sight is None
    mixed = opened("anna", "customer", "admin", mode="events", collection=["orders", "made later"])
    assert mixed.sight is None  # an admin sees all, whatever else they are


def test_who_hears_the_same_shares_a_group() -> None:
    def key(*who: str, **fields: Any) -> str:
        return opened(*who, mode="events", **fields).key

    assert key("a", "clerk") == key("b", "clerk") != key("b", "clerk", collection="*")
    assert key("a", "customer") != key("b", "customer")
    assert key("a", "admin", collection="*") == key("b", "admin", collection="*")
    assert key("a", "admin") != key("a", "clerk")


def test_a_path_that_is_shown_may_be_asked_by() -> None:
    opened("anna", "clerk", filter={"margin": 1}, sort=[["margin", 1]])
    opened("anna", "customer", filter={"a": 1}, sort=[["b", 1]])
    opened("anna", "customer", group={"by": ["a"], "sum": ["b"]})
    opened("anna", "customer", projection={"margin": 1})


def test_events_are_asked_again_where_the_name_of_another_collection_may_be_told_no_more() -> None:
    policy = Policy(Rules.model_validate({"collections": {name: {"*": {"read": True}} for name in ("a", "b")}}))
    session = Session("session-1", dataclasses.replace(LIMITS, policy=policy), EPOCH, Principal("ann"))
    asked = {"type": "subscribe", "id": "x", "collection": "a", "mode": "events"}
    assert isinstance(session.receive(ejson.encode(asked))[0], OpenSubscription)
    fewer = Rules.model_validate({"collections": {"a": {"*": {"read": True}}}})
    about, policy.rules = policy.rules.differs(fewer), fewer
    assert about == frozenset({"b"})
    assert len(session.reconsider(about)) == 1
