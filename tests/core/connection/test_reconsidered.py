"""A session whose rules or claims change: what that means to its subscriptions, and that it means nothing to others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.bson import ejson
from realtime.core.connection.admission import Ending
from realtime.core.connection.session import Admit, Revoke, Send, Session, Succeed
from tests.core.connection.sessions import LIMITS
from tests.core.connection.test_ruled import RULES
from tests.core.examples import EPOCH


def again(session: Session, **fields: Any) -> None:
    session.receive(ejson.encode({"type": "subscribe", "collection": "orders", **fields}))


def with_roles(sub: str, *roles: str, policy: Policy | None = None) -> Session:
    limits = dataclasses.replace(LIMITS, policy=policy or Policy(RULES))
    return Session("session-1", limits, EPOCH, Principal(sub, frozenset(roles)), asked=True)


def test_a_token_that_changes_what_is_seen_changes_the_query_and_one_that_does_not_says_nothing() -> None:
    session = with_roles("anna", "customer")
    again(session, id="x")
    again(session, id="y", filter={"owner": "anna"})
    session.receive(ejson.encode({"type": "auth", "id": "a", "token": "t"}))
    told = session.authenticated(Principal("anna", frozenset({"customer"}), expires=9e9), now=0, time=1)
    assert [type(one) for one in told] == [Send, Admit]
    session.receive(ejson.encode({"type": "auth", "id": "a", "token": "t"}))
    told = session.authenticated(Principal("anna", frozenset({"clerk"})), now=0, time=1)
    assert [type(one) for one in told] == [Send, Admit, Succeed, Succeed]
    first = told[2]
    assert isinstance(first, Succeed)
    assert first.id == "x"
    assert first.query.filter.matches({"_id": 1, "status": "open"})
    assert not first.query.filter.matches({"_id": 1, "owner": "anna"})
    assert session.reconsider() == [], "it was changed already"


def test_rules_that_let_somebody_no_more_revoke_and_the_id_is_free_when_that_was_said() -> None:
    policy = Policy(RULES)
    session = with_roles("anna", "customer", policy=policy)
    again(session, id="x")
    again(session, id="y", sort={"total": 1})
    policy.rules = Rules.model_validate(
        {"collections": {"orders": {"customer": {"read": True, "fields": {"hide": ["total"]}}}}}
    )
    first, second = session.reconsider()
    assert isinstance(first, Succeed)
    assert isinstance(second, Revoke), "by what it is sorted is hidden now"
    assert (first.id, second.id, second.error.code) == ("x", "y", "forbidden")
    session.subscription_ended("y")
    policy.rules = Rules()
    (only,) = session.reconsider()
    assert isinstance(only, Revoke)
    assert (only.id, only.error.code) == ("x", "forbidden")


def test_rules_in_other_words_change_nothing() -> None:
    policy = Policy(RULES)
    session = with_roles("anna", "customer", policy=policy)
    again(session, id="x")
    policy.rules = Rules.model_validate(
        {
            "collections": {
                "orders": {
                    "customer": {"read": {"owner": {"$eq": "$user.sub"}}, "fields": {"hide": ["margin"]}},
                    "other": {"read": True},
                }
            }
        }
    )
    assert session.reconsider() == []


def test_without_rules_nothing_is_kept_of_what_was_asked() -> None:
    session = Session("session-1", LIMITS, EPOCH)
    again(session, id="x")
    assert session.subscriptions == {"x": None}
    assert session.reconsider() == []
    session.end(Ending(4001, "revoked"))
    assert session.reconsider() == []


def test_only_what_is_of_collections_whose_grants_changed_is_asked_again() -> None:
    policy = Policy(RULES)
    session = with_roles("anna", "customer", policy=policy)
    again(session, id="x")
    grants = RULES.model_dump()["collections"]
    other = Rules.model_validate({"collections": {**grants, "others": {"a": {"read": True}}}})
    assert RULES.differs(RULES) == frozenset()
    assert RULES.differs(other) == other.differs(RULES) == frozenset({"others"})
    assert RULES.differs(Rules()) is None, "of every collection there was one"
    one, true = (Rules.model_validate({"collections": {"a": {"b": {"read": {"n": said}}}}}) for said in (1, True))
    assert one == true
    assert one.differs(true) == frozenset({"a"}), "to MongoDB they are not the same"
    policy.rules = Rules()
    assert session.reconsider(frozenset({"others"})) == []
    assert len(session.reconsider(frozenset({"orders", "others"}))) == 1


OTHERS = Rules.model_validate({"collections": {"orders": {"customer": {"read": {"vip": True}}}}})


def foreseen(session: Session, rules: Rules) -> int:
    return sum(1 for _ in session.foresee(Policy(rules)))


def told(effect: Any) -> tuple[Any, ...]:
    if isinstance(effect, Succeed):
        return effect.id, effect.query.key
    return effect.id, effect.error.code, effect.error.message


def judged(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the session compiles from now on."""
    asked: list[Any] = []
    query = Session._query

    def noted(self: Session, request: Any, policy: Any) -> Any:
        asked.append(request.id)
        return query(self, request, policy)

    monkeypatch.setattr(Session, "_query", noted)
    return asked


def test_what_was_foreseen_is_not_judged_again_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, plain = Policy(RULES), Policy(RULES)
    session, other = with_roles("anna", "customer", policy=policy), with_roles("anna", "customer", policy=plain)
    for one in (session, other):
        again(one, id="x")
        again(one, id="y", sort={"total": 1}, filter={"owner": "anna"})
        again(one, id="z", collection="news")
    assert foreseen(session, OTHERS) == len(session.subscriptions) >= 2
    again(session, id="late")
    asked = judged(session, monkeypatch)
    policy.rules = plain.rules = OTHERS
    effects = session.reconsider()
    assert asked == ["late"], "it came after"
    assert list(map(told, effects[:-1])) == list(map(told, other.reconsider()))
    assert len(effects) >= 3
    assert session.reconsider() == []


def test_what_was_foreseen_of_other_rules_or_of_somebody_else_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy(RULES)
    session = with_roles("anna", "customer", policy=policy)
    again(session, id="x")
    foreseen(session, OTHERS)
    asked = judged(session, monkeypatch)
    policy.rules = Rules.model_validate(OTHERS.model_dump())
    (one,) = session.reconsider()
    assert isinstance(one, Succeed)
    assert asked == ["x"], "by rules that say the same and are others"
    foreseen(session, RULES)
    asked.clear()
    session.receive(ejson.encode({"type": "auth", "id": "a", "token": "t"}))
    session.authenticated(Principal("anna", frozenset({"customer", "clerk"})), now=0, time=1)
    assert asked == ["x"]


def test_what_rules_are_not_about_is_not_foreseen() -> None:
    session = with_roles("anna", "customer", "admin")
    again(session, id="x")
    again(session, id="y", collection="news")
    assert sum(1 for _ in session.foresee(Policy(OTHERS), frozenset({"news"}))) == 1


def test_a_session_that_has_ended_foresees_nothing() -> None:
    session = with_roles("anna", "customer")
    again(session, id="x")
    session.end(Ending(1000, "over"))
    assert foreseen(session, OTHERS) == 0


def test_what_was_foreseen_as_forbidden_is_revoked() -> None:
    policy = Policy(RULES)
    session = with_roles("anna", "customer", policy=policy)
    again(session, id="x")
    rules = Rules()
    assert foreseen(session, rules) == 1
    policy.rules = rules
    (one,) = session.reconsider()
    assert isinstance(one, Revoke)
    assert one.error.code == "forbidden"
