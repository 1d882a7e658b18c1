"""What a principal may write, by rules."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules import writing as writing_module
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.writing import Ruling, Rulings, writing
from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.membership import Members
from realtime.core.mql.vision import NEVER
from realtime.errors import ForbiddenError

TEAMS = {"$in": {"$from": {"collection": "teams", "where": {"user": "$user.sub"}, "values": "team.id"}}}
BOARD = {"$in": {"$from": {"collection": "boards", "where": {"user": "$user.claims.none"}, "values": "id"}}}
RULES = Rules.model_validate(
    {
        "collections": {
            "orders": {
                "*": {"read": {"owner": "$user.sub"}, "update": {"owner": "$user.sub"}, "fields": {"hide": ["margin"]}},
                "clerk": {"read": True, "update": True, "fields": {"hide": ["margin"], "write": ["margin", "a.b"]}},
                "poor": {"insert": {"level": "$user.claims.none"}},
                "machine": {"insert": True, "keys": "server"},
                "member": {
                    "read": {"team": TEAMS},
                    "insert": {"team": TEAMS, "board": BOARD},
                    "delete": {"team": TEAMS},
                },
            }
        }
    }
)


def anna(*roles: str) -> Principal:
    return Principal("anna", frozenset(roles))


def test_each_grant_is_a_permit_with_its_rows_and_fields() -> None:
    rule = writing(RULES, anna("clerk"), "orders")
    assert [one.filter.source for one in rule.update] == [{"owner": {"$eq": "anna"}}, {}]
    assert (rule.insert, rule.delete) == ((), ())
    own, clerks = (one.writable for one in rule.update)
    # Without a list what is shown is what is written; with one, what is named alone, hidden or not.
    assert (own.may_hold("title"), own.may_hold("margin")) == (True, False)
    assert [clerks.may_hold(path) for path in ("margin", "a.b", "a", "title")] == [True, True, False, False]


def test_a_claim_that_is_missing_makes_a_permit_that_lets_nothing() -> None:
    rule = writing(RULES, anna("poor"), "orders")
    (only,) = rule.insert
    assert only.filter.source == NEVER
    with pytest.raises(ForbiddenError, match="the document is none that you may insert"):
        rule.made(rule.sent({"level": None}), {"_id": 1, "level": None})


def test_keys_are_made_where_the_grant_says_so() -> None:
    assert [one.keys for one in writing(RULES, anna("machine"), "orders").insert] == [False]
    assert [one.keys for one in writing(RULES, anna("poor"), "orders").insert] == [True]


def test_a_rule_without_sets_asks_nothing() -> None:
    ruling = Ruling(RULES, anna("clerk"))
    assert ruling.asks("orders") == ()
    assert len(ruling.rule("orders").update) == 2
    assert ruling.rule("others").update == ()


def test_a_set_is_asked_once_with_the_principals_claims_in_it() -> None:
    ruling = Ruling(RULES, anna("member"))
    assert ruling.asks("orders") == (
        Members("teams", {"user": {"$eq": "anna"}}, "team.id", 1000),
        Members("boards", NEVER, "id", 1000),
    )
    rule = ruling.placed("orders", [["red", "blue"], ["b"]])
    assert [one.filter.source for one in rule.insert] == [{"team": {"$in": ["red", "blue"]}, "board": {"$in": ["b"]}}]
    assert ruling.placed("orders", [["red"], None]).insert[0].filter.source == NEVER


def test_what_was_placed_for_one_write_serves_the_next_as_long_as_the_rules_hold() -> None:
    policy, rulings = Policy(RULES), Rulings()
    before = rulings.of(policy, anna("clerk"), NEWEST)
    assert rulings.of(policy, anna("clerk"), NEWEST) is before
    assert before.rule("orders") is before.rule("orders")
    assert rulings.of(policy, anna(), NEWEST) is not before
    policy.rules = Rules()
    assert rulings.of(policy, anna("clerk"), NEWEST).rule("orders").update == ()
    assert len(before.rule("orders").update) == 2


def test_another_dialect_or_another_claim_is_another_ruling() -> None:
    policy, rulings = Policy(RULES), Rulings()
    before = rulings.of(policy, anna("clerk"), NEWEST)
    old = dataclasses.replace(NEWEST, any_decimal_has_bits=not NEWEST.any_decimal_has_bits)
    assert rulings.of(policy, anna("clerk"), old) is not before
    claimed = Principal("anna", frozenset({"clerk"}), {"none": 1})
    assert rulings.of(policy, claimed, old) is not rulings.of(policy, anna("clerk"), old)
    number, boolean = (Principal("anna", claims={"level": level}) for level in (1, True))
    assert number == boolean
    assert rulings.of(policy, number, old) is not rulings.of(policy, boolean, old)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.core.access.rules.writing.MOST_KEPT", 2)
    policy, rulings = Policy(RULES), Rulings()
    one, two, three = (Principal(name) for name in "abc")
    first = rulings.of(policy, one, NEWEST)
    rulings.of(policy, two, NEWEST)
    assert rulings.of(policy, one, NEWEST) is first
    rulings.of(policy, three, NEWEST)
    assert rulings.of(policy, one, NEWEST) is first  # the second was last asked for before it
    kept = [first.rule(name) for name in ("a", "b", "c")]
    assert first.rule("c") is kept[2]
    assert first.rule("a") is not kept[0]


@pytest.mark.parametrize(
    ("documents", "values"),
    [
        ([{"team": {"id": "a"}}, {"team": {"id": ["b", "c"]}}], ["a", "b", "c"]),
        ([{"team": [{"id": "a"}, {"id": "b"}]}, {"team": 5}, {}], ["a", "b"]),
        ([{"team": {"id": [1, 2, 3, 4]}}], None),
        ([], []),
    ],
    ids=str,
)
def test_a_sets_values_are_all_at_its_path(documents: list[dict[str, Any]], values: list[Any] | None) -> None:
    assert Members("teams", {}, "team.id", 3).values(documents) == values


def test_claims_that_an_application_changes_are_not_remembered_as_they_were() -> None:
    policy, rulings = Policy(RULES), Rulings()
    kept = Principal("ann", frozenset({"customer"}), MappingProxyType({"team": 1}))
    assert rulings.of(policy, kept, NEWEST) is rulings.of(policy, kept, NEWEST)
    claims: dict[str, Any] = {"team": 1}
    theirs = Principal("ann", frozenset({"customer"}), claims)
    first = rulings.of(policy, theirs, NEWEST)
    claims["team"] = True
    assert rulings.of(policy, theirs, NEWEST) is not first


def test_what_is_remembered_of_claims_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "MOST_KEPT", 2)
    policy, rulings = Policy(RULES), Rulings()
    people = [Principal(f"user {n}", frozenset({"customer"}), MappingProxyType({"n": n})) for n in range(5)]
    for principal in people:
        rulings.of(policy, principal, NEWEST)
    assert len(rulings._texts) <= 2
