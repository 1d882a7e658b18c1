"""Rules to what somebody sees: by role, by collection, and nothing without a grant."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.rules.model import Grant, Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.mql.vision import EVERYTHING, NOTHING

RULES = Rules.model_validate(
    {
        "collections": {
            "orders": {
                "customer": {"read": {"owner": "$user.sub"}, "insert": True, "fields": {"hide": ["margin"]}},
                "staff": {"read": {"region": {"$in": "$user.claims.regions"}}},
                "writer": {"update": True},
                "nobody": {"read": False},
            },
            "news": {"*": {"read": True, "fields": {"show": ["title"]}}},
            "*": {"admin": {"read": True}, "staff": {"read": True}, "nobody": {"read": True}},
        }
    }
)


def sees(collection: str, *roles: str, **claims: Any) -> Any:
    return Policy(RULES).reading(Principal("anna", frozenset(roles), claims), collection)


def test_without_a_grant_nothing_is_seen() -> None:
    assert sees("orders") is not EVERYTHING
    for none in (sees("orders"), sees("orders", "writer"), sees("other", "customer"), sees("realtime_keys", "admin")):
        assert not none.granted
        assert none.shares == ()
    assert Policy(RULES).reading(None, "news") is NOTHING
    assert not Policy(RULES).hearing(None, ["news"]).others_readable


def test_rows_and_fields_are_those_of_the_grant() -> None:
    (share,) = sees("orders", "customer").shares
    assert share.filter.source == {"owner": {"$eq": "anna"}}
    assert share.cut.hide == ("margin",)


def test_each_role_gives_a_share() -> None:
    both = sees("orders", "customer", "staff", regions=["eu"])
    assert {str(share.filter.source) for share in both.shares} == {
        "{'owner': {'$eq': 'anna'}}",
        "{'region': {'$in': ['eu']}}",
    }


def test_a_false_rule_is_granted_and_shows_nothing() -> None:
    none = sees("orders", "staff")
    assert none.granted
    assert none.shares == ()
    assert len(sees("orders", "staff", "customer").shares) == 1


def test_a_grant_of_all_collections_holds_where_the_role_has_no_other() -> None:
    assert sees("orders", "admin") is EVERYTHING
    assert sees("never made", "admin") is EVERYTHING
    assert sees("other", "staff") is EVERYTHING
    assert sees("orders", "staff", regions=["eu"]) is not EVERYTHING
    assert not sees("orders", "nobody").granted
    assert sees("other", "nobody").granted


def test_the_role_of_everybody_is_everybodys() -> None:
    found = Policy(RULES).reading(ANONYMOUS, "news")
    assert found.shown({"_id": 1, "title": "t", "secret": 2}) == {"_id": 1, "title": "t"}


def test_grants_of_an_operation_are_found() -> None:
    policy, anna = Policy(RULES), Principal("anna", frozenset({"customer", "writer"}))
    assert [grant.insert for grant in policy.granted(anna, "orders", "insert")] == [True]
    assert [grant.update for grant in policy.granted(anna, "orders", "update")] == [True]
    assert policy.granted(anna, "orders", "delete") == ()
    assert policy.granted(None, "orders", "insert") == ()


@pytest.mark.parametrize(
    "grant",
    [
        {"reed": True},
        {"read": "yes"},
        {"read": 1},
        {"fields": {"hid": []}},
        {"keys": "none"},
        {"limits": {"documents": 0}},
    ],
)
def test_unknown_words_are_refused(grant: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Grant.model_validate(grant)


def test_rules_by_which_nobody_may_do_anything_are_idle() -> None:
    assert Rules().idle
    assert Rules.model_validate({"collections": {"orders": {}, "news": {"*": {"read": False}}}}).idle
    assert not RULES.idle
