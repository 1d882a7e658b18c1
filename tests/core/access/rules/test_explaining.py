"""What rules let somebody do, as it is told them: bounded, and nothing of what they may not read."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules import explaining
from realtime.core.access.rules.explaining import explained, told
from realtime.core.access.rules.model import Rules


def rules(**grants: Any) -> Rules:
    return Rules.model_validate({"collections": {"orders": grants}})


def of(given: Rules, *roles: str, **claims: Any) -> dict[str, Any]:
    return told(given, Principal("ann", frozenset(roles), claims), "orders")


NONE: dict[str, Any] = {"read": [], "insert": [], "update": [], "delete": []}


def test_without_a_grant_nothing_is_let() -> None:
    assert of(rules(staff={"read": True}), "customer") == NONE
    assert list(explained(rules(staff={"read": True}), Principal("ann"), "orders")) == []


def test_a_grant_is_told_with_the_claims_in_it_and_with_its_fields() -> None:
    given = rules(
        customer={
            "read": {"owner": "$user.sub"},
            "insert": {"owner": "$user.sub"},
            "update": True,
            "delete": {"region": {"$in": "$user.claims.regions"}},
            "fields": {"hide": ["notes.internal", "margin"]},
            "limits": {"documents": 7},
            "keys": "server",
        },
        clerk={"read": True, "insert": True, "update": True, "fields": {"show": ["status"], "write": ["status", "n"]}},
    )
    mine = {"owner": {"$eq": "ann"}}
    hidden = ["margin", "notes.internal"]
    assert of(given, "customer") == {
        "read": [{"documents": mine, "hidden": hidden, "most": 7}],
        "insert": [{"documents": mine, "unwritable": hidden, "keys": "server"}],
        "update": [{"documents": True, "unwritable": hidden}],
        "delete": [{"documents": False}],  # the claim is missing
    }
    assert of(given, "clerk") == NONE | {
        "read": [{"documents": True, "shown": ["_id", "status"]}],
        "insert": [{"documents": True, "writable": ["n", "status"]}],
        "update": [{"documents": True, "writable": ["n", "status"]}],
    }
    assert of(rules(**{"*": {"read": True, "update": True}})) == NONE | {
        "read": [{"documents": True}],
        "update": [{"documents": True}],
    }


@pytest.mark.parametrize(
    "rule",
    [
        {"embargo": {"$ne": "a secret"}},
        {"$or": [{"status": "open"}, {"embargo.until": 1}]},
        {"$expr": {"$eq": ["$embargo", "a secret"]}},
        {"$jsonSchema": {"properties": {"embargo": {"enum": ["a secret"]}}}},
    ],
)
@pytest.mark.parametrize("fields", [{"hide": ["embargo"]}, {"show": ["status"]}])
def test_a_condition_on_a_field_that_is_hidden_is_not_told(rule: dict[str, Any], fields: dict[str, Any]) -> None:
    said = of(rules(customer={"read": rule, "delete": rule, "fields": fields}), "customer")
    assert [(one["documents"], one["why"]) for one in said["read"] + said["delete"]] == [(None, "hidden")] * 2
    assert "secret" not in repr(said)


def test_what_one_grant_hides_another_does_not_tell() -> None:
    """Whatever somebody asks by has to be shown by all that read, so neither is it told by one that shows it."""
    given = rules(
        customer={"read": True, "fields": {"hide": ["embargo"]}},
        clerk={"read": {"embargo": "a secret"}},
        author={"update": {"embargo": "a secret"}},
    )
    assert [one["documents"] for one in of(given, "clerk")["read"]] == [{"embargo": "a secret"}]
    both = of(given, "customer", "clerk", "author")
    assert [one["documents"] for one in both["read"]] == [None, True]
    assert [one["documents"] for one in both["update"]] == [None]
    # Who reads nothing is told what the grant by itself lets be seen.
    assert [one["documents"] for one in of(given, "author")["update"]] == [{"embargo": "a secret"}]


def test_a_long_condition_and_many_grants_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"status": {"$in": [f"status {n}" for n in range(500)]}}
    assert of(rules(customer={"read": long}), "customer")["read"] == [{"documents": None, "why": "long"}]
    roles = [f"role {n:02}" for n in range(explaining.MOST_GRANTS + 1)]
    said = of(rules(**{role: {"read": {"role": role}} for role in roles}), *roles)
    assert said["more"] is True
    assert [one["documents"] for one in said["read"]] == [{"role": role} for role in roles[:-1]]


def test_what_is_taken_from_another_collection_is_told_as_what_is_asked_there_to_who_may_read_it() -> None:
    taken = {"$in": {"$from": {"collection": "members", "where": {"user": "$user.sub"}, "values": "team"}}}
    both = {"$or": [{"team": taken}, {"tags": {"$in": ["a", "b"]}}]}
    for reads in (True, False):
        members = {"member": {"read": reads, "insert": True}}
        rules = Rules.model_validate({"collections": {"tasks": {"member": {"read": both}}, "members": members}})
        (only,) = told(rules, Principal("ann", frozenset({"member"})), "tasks")["read"]
        if reads:
            asked = {"collection": "members", "where": {"user": {"$eq": "ann"}}, "values": "team"}
            wanted = {"$or": [{"team": {"$in": {"$from": asked}}}, {"tags": {"$in": ["a", "b"]}}]}
            assert only == {"documents": wanted}
        else:
            assert only == {"documents": None, "why": "hidden"}


TASKS = Principal("ann", frozenset({"member"}), {"club": "red"})


def of_tasks(rule: dict[str, Any], **fields: Any) -> Any:
    """What is told of a read by this rule; `fields`: which of the members' are shown or hidden."""
    members = {"member": {"read": {"club": "$user.claims.club"}, **({"fields": fields} if fields else {})}}
    rules = Rules.model_validate({"collections": {"tasks": {"member": {"read": rule}}, "members": members}})
    (only,) = told(rules, TASKS, "tasks")["read"]
    return only


def taken(where: dict[str, Any]) -> dict[str, Any]:
    return {"$in": {"$from": {"collection": "members", "where": where, "values": "team"}}}


def test_a_set_that_asks_for_a_claim_that_is_missing_lets_no_document() -> None:
    """Told as what it is, and not as a set of something that nobody can ask for."""
    missing = {"team": taken({"user": "$user.sub", "region": "$user.claims.region"})}
    assert of_tasks(missing) == {"documents": False}
    assert of_tasks({"$or": [missing, {"owner": "$user.sub"}]}) == {"documents": {"$or": [{"owner": {"$eq": "ann"}}]}}
    asked = {"collection": "members", "where": {"club": {"$eq": "red"}}, "values": "team"}
    both = {"$or": [missing, {"team": taken({"club": "$user.claims.club"})}]}
    assert of_tasks(both) == {"documents": {"$or": [{"team": {"$in": {"$from": asked}}}]}}


@pytest.mark.parametrize("fields", [{"hide": ["banned"]}, {"show": ["team"]}, {"hide": ["team"]}], ids=str)
def test_what_a_set_is_asked_by_is_not_told_where_it_is_hidden(fields: dict[str, Any]) -> None:
    assert of_tasks({"team": taken({"banned": "a secret"})}, **fields) == {"documents": None, "why": "hidden"}
    assert of_tasks({"team": taken({"banned": "a secret"})}, hide=["else"])["documents"]
