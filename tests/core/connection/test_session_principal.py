"""Who asks on a connection: nobody, one who sent a token, and one who renews it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.connection.admission import Ending
from realtime.core.connection.session import Admit, Authenticate, Close, Effect, Send, Session
from realtime.core.live.events import format_position
from realtime.core.wire import protocol
from realtime.errors import ServiceError, UnauthenticatedError, UnavailableError
from tests.core.connection.sessions import LIMITS, SECONDS, WRITES, answer, opened, receive, subscribe
from tests.core.examples import EPOCH

ANN, BOB = Principal("ann", frozenset({"staff", "admin"}), expires=SECONDS + 60), Principal("bob")
LATER = Principal("ann", expires=SECONDS + 120)


def asked(principal: Principal | None = None) -> Session:
    return Session("session-1", LIMITS, EPOCH, principal, asked=True)


def told(to: Session, outcome: Principal | ServiceError, *, now: float = SECONDS) -> list[Effect]:
    return to.authenticated(outcome, now=now, time=77)


def test_who_asks_is_no_part_of_a_querys_key() -> None:
    keys = {opened(subscribe(asked(one), filter={"a": 1})).query.key for one in (ANN, BOB)}
    assert len(keys) == 1


def test_nobody_is_told_to_send_a_token_and_not_how_far_the_database_is() -> None:
    shown = json.loads(asked().welcome(77, 20))
    assert shown["requires_auth"] is True
    assert not {"position", "principal", "roles", "expires"} & shown.keys()
    shown = json.loads(asked(ANN).welcome(77, 20))
    assert (shown["requires_auth"], shown["principal"], shown["roles"]) == (False, "ann", ["admin", "staff"])
    assert "roles" not in json.loads(asked(BOB).welcome(77, 20))
    assert (shown["position"], shown["expires"]) == (
        format_position(EPOCH, 77),
        {"$date": "2023-11-14T22:14:20Z"},
    )


def test_of_nobody_everything_but_auth_and_ping_is_unauthenticated() -> None:
    one = asked()
    samples: dict[str, dict[str, Any]] = {
        **{kind: {"collection": "items", **fields} for kind, fields in WRITES.items()},
        "subscribe": {"collection": "items"},
        "unsubscribe": {},
    }
    assert samples.keys() == protocol.CLIENT_FRAMES.keys() - {"auth", "ping"}
    for kind, fields in samples.items():
        refused = answer(receive(one, type=kind, **fields))
        assert (refused["code"], refused["retry"], refused["id"]) == ("unauthenticated", False, "x")
    assert (one.subscriptions, one.pending_writes) == ({}, 0)
    assert answer(receive(one, type="ping")) == {"type": "pong", "id": "x"}
    assert answer(receive(one, type="ping", position=format_position(EPOCH, 99)))["code"] == "unauthenticated"


def test_an_auth_admits_and_is_answered_with_who_and_until_when() -> None:
    one = asked()
    (asks,) = receive(one, type="auth", token="secret", id="a")
    assert asks == Authenticate("secret")
    assert "secret" not in repr(asks)
    said, admit = told(one, ANN)
    assert admit == Admit(ANN)
    assert isinstance(said, Send)
    assert json.loads(said.frame) == {
        "type": "authenticated",
        "id": "a",
        "principal": "ann",
        "roles": ["admin", "staff"],
        "expires": {"$date": "2023-11-14T22:14:20Z"},
        "position": format_position(EPOCH, 77),
    }
    assert opened(subscribe(one)).id == "x"


def test_a_principal_without_an_end_is_told_without_one() -> None:
    one = asked()
    receive(one, type="auth", token="t")
    said, _ = told(one, BOB)
    assert isinstance(said, Send)
    assert not {"expires", "roles"} & json.loads(said.frame).keys()


def test_frames_behind_an_auth_wait_and_are_the_new_principals() -> None:
    one = asked()
    receive(one, type="auth", token="t")
    assert subscribe(one, id="one") == []
    assert receive(one, type="auth", token="u") == []
    assert subscribe(one, id="two") == []
    assert one.release() is None
    told(one, ANN)
    first = one.release()
    assert first is not None
    assert opened(one.receive(first)).id == "one"
    second = one.release()
    assert second is not None
    assert one.receive(second) == [Authenticate("u")]
    assert one.release() is None
    told(one, LATER)
    third = one.release()
    assert third is not None
    assert opened(one.receive(third)).id == "two"


def test_a_token_that_is_refused_ends_a_connection_of_nobody_with_why() -> None:
    one = asked()
    receive(one, type="auth", token="t", id="a")
    subscribe(one)
    said, close = told(one, UnauthenticatedError("the token has expired", reason="expired"))
    assert answer([said])["code"] == "unauthenticated"
    assert answer([said])["id"] == "a"
    assert close == Close(Ending(4501, "unauthenticated"))
    assert (one.ended, one.release(), subscribe(one), told(one, ANN)) == (True, None, [], [])


def test_a_token_that_cannot_be_decided_for_now_is_worth_another_try() -> None:
    one = asked()
    receive(one, type="auth", token="t")
    said, close = told(one, UnavailableError("revocations cannot be read"))
    assert (answer([said])["code"], answer([said])["retry"]) == ("unavailable", True)
    assert close == Close(Ending(4003, "unavailable"))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(UnauthenticatedError("bad"), "unauthenticated"), (UnavailableError("away"), "unavailable"), (BOB, "forbidden")],
)
def test_a_renewal_that_is_refused_ends_nothing(outcome: Principal | ServiceError, code: str) -> None:
    one = asked(ANN)
    subscribe(one, id="mine")
    receive(one, type="auth", token="t")
    assert answer(told(one, outcome))["code"] == code
    assert (one.principal, one.ended, set(one.subscriptions)) == (ANN, False, {"mine"})


def test_a_renewal_of_the_same_principal_is_in_place() -> None:
    one = asked(ANN)
    subscribe(one, id="mine")
    receive(one, type="auth", token="t")
    _, admit = told(one, LATER)
    assert (admit, one.principal, set(one.subscriptions)) == (Admit(LATER), LATER, {"mine"})


def test_an_ended_session_takes_nothing_and_ends_once() -> None:
    one = asked(ANN)
    ending = Ending(4002, "expired")
    assert one.end(ending) == [Close(ending)]
    assert (one.end(ending), receive(one, type="ping"), one.ended) == ([], [], True)
