"""One connection's protocol state: what each frame leads to, and every refusal that it decides by itself."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS

from realtime.core.access.principal import Principal
from realtime.core.bson import ejson
from realtime.core.connection.admission import NOBODY_BYTES, Ending
from realtime.core.connection.requests import check_collection
from realtime.core.connection.session import (
    Admit,
    Authenticate,
    Close,
    Effect,
    EndSubscription,
    Fence,
    Limits,
    OpenSubscription,
    Send,
    Session,
    StartWrite,
)
from realtime.core.live.events import format_position
from realtime.core.mql.filters import Bounds
from realtime.core.wire import protocol
from realtime.errors import ServiceError, UnauthenticatedError, UnavailableError, UnsupportedCollectionError
from tests.core.examples import EPOCH, query

LIMITS = Limits(frame_bytes=1000, subscriptions=3, documents=50, pending_writes=2, filter=Bounds(depth=4, nodes=20))
SECONDS = 1_700_000_000


def session(limits: Limits = LIMITS) -> Session:
    return Session("session-1", limits, EPOCH)


def receive(to: Session, **fields: Any) -> list[Effect]:
    return to.receive(ejson.encode({"id": "x", **fields}))


def subscribe(to: Session, **fields: Any) -> list[Effect]:
    return receive(to, type="subscribe", **{"collection": "items", **fields})


def events(to: Session, **fields: Any) -> list[Effect]:
    return subscribe(to, mode="events", **fields)


def answer(effects: list[Effect]) -> dict[str, Any]:
    """The one frame that is sent and nothing else."""
    (only,) = effects
    assert isinstance(only, Send)
    fields = json.loads(only.frame)
    assert isinstance(fields, dict)
    return fields


def opened(effects: list[Effect]) -> OpenSubscription:
    (only,) = effects
    assert isinstance(only, OpenSubscription)
    return only


def test_welcome_names_session_position_and_limits() -> None:
    assert json.loads(session().welcome(77, 20)) == {
        "type": "welcome",
        "protocol": 1,
        "session": "session-1",
        "position": format_position(EPOCH, 77),
        "heartbeat": 20.0,
        "principal": "anonymous",
        "requires_auth": False,
        "limits": {
            "frame_bytes": 1000,
            "subscriptions": 3,
            "documents": 50,
            "pending_writes": 2,
            "filter_depth": 4,
            "filter_nodes": 20,
        },
    }


# ------------------------------------------------------------------------------------------------------- subscribe


def test_of_nobody_a_frame_is_smaller_than_it_may_be_later() -> None:
    limits = dataclasses.replace(LIMITS, frame_bytes=1 << 20)
    of_nobody = Session("session-1", limits, EPOCH, None, asked=True)
    assert (of_nobody.largest, session(limits).largest) == (NOBODY_BYTES, 1 << 20)


def test_subscribe_opens_a_subscription_with_its_compiled_query() -> None:
    one = session()
    effect = opened(subscribe(one, filter={"a": {"$gt": 1}}, projection={"a": 1}))
    assert (effect.id, effect.after, effect.query.mode, effect.query.collection) == ("x", None, "query", "items")
    assert effect.query.filter.matches({"a": 2})
    assert effect.query.projection.apply({"a": 2, "b": 1}) == {"a": 2}
    assert set(one.subscriptions) == {"x"}


def test_the_same_question_on_two_connections_is_one_query() -> None:
    keys = {opened(subscribe(session(), filter={"a": 1})).query.key for _ in range(2)}
    assert len(keys) == 1


def test_events_mode_takes_a_name_a_list_or_all() -> None:
    cases: list[tuple[Any, frozenset[str] | None]] = [
        ("items", frozenset({"items"})),
        (["a", "b"], frozenset({"a", "b"})),
        ("*", None),
        (["*"], None),
    ]
    for collection, expected in cases:
        assert opened(events(session(), collection=collection)).query.collections == expected


def test_events_mode_takes_operations() -> None:
    query = opened(events(session(), operations=["insert", "drop"])).query
    assert query.operations == frozenset({"insert", "drop"})
    assert opened(events(session())).query.operations is None


def test_events_mode_goes_on_from_a_position() -> None:
    assert opened(events(session(), position=format_position(EPOCH, 99))).after == 99


def test_a_position_is_no_date() -> None:
    (since,) = events(session(), since={"$date": "2026-01-01T00:00:00Z"})
    (position,) = events(session(), position=f"{EPOCH}-0000000000000001")
    assert isinstance(since, OpenSubscription)
    assert isinstance(position, OpenSubscription)
    assert (since.since, position.since) == (True, False)


def test_since_begins_with_the_first_event_of_its_second() -> None:
    since = dt.datetime.fromtimestamp(SECONDS, dt.UTC)
    assert opened(events(session(), since=since)).after == (SECONDS << 32) - 1
    assert opened(events(session(), since=since + dt.timedelta(milliseconds=999))).after == (SECONDS << 32) - 1
    assert opened(events(session(), since=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))).after == 0


@pytest.mark.parametrize("position", ["nonsense", format_position("FFFFFFFF", 1), format_position(EPOCH, 2**63)])
def test_query_mode_never_fails_for_a_position(position: str) -> None:
    """PROTOCOL 5.2: never an error; there is a snapshot instead."""
    assert opened(subscribe(session(), position=position, query="0" * 32)).after is None


SUBSCRIBE_REFUSED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "operations in query mode": ({"operations": ["insert"]}, "invalid_request", {"field": "operations"}),
    "since in query mode": ({"since": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "invalid_request", {"field": "since"}),
    "skip": ({"skip": 5, "sort": {"a": 1}}, "unsupported_operator", {"operator": "skip", "path": "skip"}),
    "a sort by nothing": ({"sort": [["a", 2]]}, "invalid_request", {"field": "sort", "path": "a"}),
    "a limit over the bound": ({"limit": 101}, "invalid_request", {"field": "limit"}),
    "a limit of nothing": ({"limit": 0}, "invalid_request", {"field": "limit"}),
    "a throttle over a minute": ({"throttle": 60_001}, "invalid_request", {"field": "throttle"}),
    "group with sort": ({"group": {"by": []}, "sort": {"a": 1}}, "invalid_request", {"field": "sort"}),
    "group with limit": ({"group": {"by": []}, "limit": 1}, "invalid_request", {"field": "limit"}),
    "group with projection": (
        {"group": {"by": []}, "projection": {"a": 1}},
        "invalid_request",
        {"field": "projection"},
    ),
    "group by nothing": ({"group": {"count": True}}, "invalid_request", {"field": "group.by"}),
    "group of what is not there": (
        {"group": {"by": ["a"], "median": ["b"]}},
        "invalid_request",
        {"field": "group.median"},
    ),
    "group in events mode": ({"mode": "events", "group": {"by": []}}, "invalid_request", {"field": "group"}),
    "two collections in query mode": ({"collection": ["a", "b"]}, "invalid_request", {"field": "collection"}),
    "sort in events mode": ({"mode": "events", "sort": {"a": 1}}, "invalid_request", {"field": "sort"}),
    "limit in events mode": ({"mode": "events", "limit": 5}, "invalid_request", {"field": "limit"}),
    "throttle in events mode": ({"mode": "events", "throttle": 5}, "invalid_request", {"field": "throttle"}),
    "query in events mode": ({"mode": "events", "query": "q"}, "invalid_request", {"field": "query"}),
    "no collection": ({"mode": "events", "collection": []}, "invalid_request", {"field": "collection"}),
    "a position of another deployment": (
        {"mode": "events", "position": format_position("FFFFFFFF", 1)},
        "invalid_position",
        {"field": "position"},
    ),
    "a position that is none": ({"mode": "events", "position": "82"}, "invalid_position", {"field": "position"}),
    "position and since": (
        {"mode": "events", "position": format_position(EPOCH, 1), "since": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
        "invalid_request",
        {"field": "since"},
    ),
    "since before 1970": (
        {"mode": "events", "since": dt.datetime(1969, 12, 31, tzinfo=dt.UTC)},
        "invalid_position",
        {"field": "since"},
    ),
    "since after 2106": (
        {"mode": "events", "since": dt.datetime(2107, 1, 1, tzinfo=dt.UTC)},
        "invalid_position",
        {"field": "since"},
    ),
    "since past 9999": ({"mode": "events", "since": DatetimeMS(2**60)}, "invalid_request", {"field": "since"}),
    "the service's own collection": (
        {"collection": "realtime_journal"},
        "unsupported_collection",
        {"collection": "realtime_journal"},
    ),
    "a system collection in a list": (
        {"mode": "events", "collection": ["items", "system.views"]},
        "unsupported_collection",
        {"collection": "system.views"},
    ),
    "an unknown operator": (
        {"filter": {"a": {"$where": "1"}}},
        "unsupported_operator",
        {"operator": "$where", "path": "a.$where"},
    ),
    "an invalid filter": ({"filter": {"$or": []}}, "invalid_filter", {"path": "$or"}),
    "a filter over the depth": (
        {"filter": {"$or": [{"$or": [{"$or": [{"$or": [{"$or": [{"a": 1}]}]}]}]}]}},
        "invalid_filter",
        {"path": "$or.0.$or.0.$or.0.$or.0.$or.0"},
    ),
    "a filter over the nodes": ({"filter": {"a": {"$in": list(range(20))}}}, "invalid_filter", {"path": "a.$in.18"}),
    "an invalid projection": (
        {"projection": {"a": 1, "b": 0}},
        "invalid_request",
        {"field": "projection", "path": "b"},
    ),
    "a projection with an operator": (
        {"projection": {"a": {"$slice": 1}}},
        "unsupported_operator",
        {"operator": "$slice", "path": "a.$slice"},
    ),
}


@pytest.mark.parametrize(("fields", "code", "details"), SUBSCRIBE_REFUSED.values(), ids=SUBSCRIBE_REFUSED.keys())
def test_a_subscribe_that_cannot_be_served_is_refused_and_its_id_stays_free(
    fields: dict[str, Any], code: str, details: dict[str, Any]
) -> None:
    one = session()
    refused = answer(subscribe(one, **fields))
    assert (refused["type"], refused["id"], refused["code"], refused["details"]) == ("error", "x", code, details)
    assert refused["retry"] is False
    assert not one.subscriptions
    assert opened(subscribe(one)).id == "x"


def test_an_id_that_is_taken_is_refused_and_the_old_subscription_stays() -> None:
    one = session()
    subscribe(one)
    refused = answer(subscribe(one, filter={"a": 1}))
    assert (refused["code"], refused["details"]) == ("invalid_request", {"field": "id"})
    assert set(one.subscriptions) == {"x"}


def test_one_subscription_too_many_is_refused_until_another_one_ends() -> None:
    one = session()
    for name in "abc":
        subscribe(one, id=name)
    refused = answer(subscribe(one, id="d"))
    assert (refused["code"], refused["retry"], refused["details"]) == ("too_many_subscriptions", False, {"limit": 3})
    receive(one, type="unsubscribe", id="b")
    assert opened(subscribe(one, id="d")).id == "d"


# ----------------------------------------------------------------------------------------------------- unsubscribe


def test_unsubscribe_detaches_and_says_so() -> None:
    one = session()
    subscribe(one)
    end, said = receive(one, type="unsubscribe")
    assert end == EndSubscription("x")
    assert isinstance(said, Send)
    assert json.loads(said.frame) == {"type": "unsubscribed", "id": "x"}
    assert not one.subscriptions


def test_unsubscribing_what_is_not_there_is_not_found() -> None:
    one = session()
    subscribe(one, id="other")
    assert answer(receive(one, type="unsubscribe"))["code"] == "not_found"
    assert set(one.subscriptions) == {"other"}


def test_an_id_is_free_again_when_the_service_ended_the_subscription() -> None:
    one = session()
    subscribe(one)
    one.subscription_ended("x")
    one.subscription_ended("never there")
    assert opened(subscribe(one)).id == "x"


# ---------------------------------------------------------------------------------------------------------- writes

WRITES: dict[str, dict[str, Any]] = {
    "insert": {"document": {"a": 1}},
    "replace": {"key": 1, "document": {"_id": 1.0, "a": 1}, "where": {"v": 1}, "upsert": True},
    "update": {"key": 1, "update": {"$set": {"a": 1}}, "where": {"v": {"$lt": 3}}},
    "delete": {"key": {"a": 1}},
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_is_started(kind: str) -> None:
    one = session()
    (effect,) = receive(one, type=kind, collection="items", **WRITES[kind])
    assert isinstance(effect, StartWrite)
    assert effect.request.type == kind
    assert one.pending_writes == 1


@pytest.mark.parametrize("kind", WRITES)
def test_a_read_only_service_forbids_every_write(kind: str) -> None:
    limits = Limits(1000, 3, 50, 2, Bounds(), read_only=True)
    one = session(limits)
    assert answer(receive(one, type=kind, collection="items", **WRITES[kind]))["code"] == "forbidden"
    assert one.pending_writes == 0


def test_more_writes_than_may_wait_are_rate_limited_until_one_is_answered() -> None:
    one = session()
    for _ in range(2):
        receive(one, type="delete", collection="items", key=1)
    refused = answer(receive(one, type="delete", collection="items", key=1))
    assert (refused["code"], refused["retry"], refused["retry_after"]) == ("rate_limited", True, 1.0)
    one.write_ended()
    assert isinstance(receive(one, type="delete", collection="items", key=1)[0], StartWrite)


WRITE_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the service's own collection": (
        {"type": "delete", "collection": "realtime_x", "key": 1},
        "unsupported_collection",
    ),
    "an unknown operator in where": ({"type": "delete", "key": 1, "where": {"$where": "1"}}, "unsupported_operator"),
    "an invalid where": ({"type": "update", "key": 1, "update": {"$set": {}}, "where": {"$or": []}}, "invalid_filter"),
    "a where over the depth": (
        {"type": "delete", "key": 1, "where": {"a": {"$not": {"$not": {"$not": {"$not": {"$not": {"$eq": 1}}}}}}}},
        "invalid_filter",
    ),
    "operators in a document": ({"type": "insert", "document": {"a": {"$gt": 1}}}, "invalid_request"),
    "operators in a replacement": ({"type": "replace", "key": 1, "document": {"$set": {}}}, "invalid_request"),
    "an update without operators": ({"type": "update", "key": 1, "update": {"a": 1}}, "invalid_update"),
    "an unknown update operator": ({"type": "update", "key": 1, "update": {"$x": {}}}, "unsupported_operator"),
    "another key in the replacement": ({"type": "replace", "key": 1, "document": {"_id": 2}}, "invalid_request"),
    "a key of another type in the replacement": (
        {"type": "replace", "key": 1, "document": {"_id": "1"}},
        "invalid_request",
    ),
}


@pytest.mark.parametrize(("fields", "code"), WRITE_REFUSED.values(), ids=WRITE_REFUSED.keys())
def test_a_write_that_cannot_be_carried_out_is_refused_before_mongodb_is_asked(
    fields: dict[str, Any], code: str
) -> None:
    one = session()
    refused = answer(receive(one, **{"collection": "items", **fields}))
    assert (refused["id"], refused["code"]) == ("x", code)
    assert one.pending_writes == 0


# ---------------------------------------------------------------------------------------------------- the others


def test_ping_waits_for_its_position_or_for_nothing() -> None:
    assert receive(session(), type="ping") == [Fence("x", 0)]
    assert receive(session(), type="ping", position=format_position(EPOCH, 99)) == [Fence("x", 99)]


def test_ping_with_a_position_of_another_deployment_is_invalid_position() -> None:
    refused = answer(receive(session(), type="ping", position=format_position("FFFFFFFF", 1)))
    assert (refused["code"], refused["retry"]) == ("invalid_position", False)


def test_auth_is_refused_while_there_is_no_authentication() -> None:
    assert answer(receive(session(), type="auth", token="t"))["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("text", "code", "request_id"),
    [
        ("{", "malformed_frame", None),
        ("[" * 100_000, "malformed_frame", None),
        ('{"type":"nothing","id":"x"}', "unknown_type", "x"),
        ('{"type":"ping","id":"x","more":1}', "invalid_request", "x"),
        ('{"type":"ping","id":""}', "invalid_request", None),
    ],
)
def test_a_frame_that_cannot_be_parsed_is_answered_and_changes_nothing(
    text: str, code: str, request_id: str | None
) -> None:
    one = session()
    subscribe(one, id="mine")
    refused = answer(one.receive(text))
    assert (refused["code"], refused.get("id")) == (code, request_id)
    assert (one.subscriptions, one.pending_writes) == ({"mine": None}, 0)


def test_every_client_frame_has_a_handler() -> None:
    samples: dict[str, dict[str, Any]] = {
        **{kind: {"collection": "items", **fields} for kind, fields in WRITES.items()},
        "subscribe": {"collection": "items"},
        "unsubscribe": {},
        "auth": {"token": "t"},
        "ping": {},
    }
    assert samples.keys() == protocol.CLIENT_FRAMES.keys()
    assert all(receive(session(), type=kind, **fields) for kind, fields in samples.items())


# ---------------------------------------------------------------------------------------------------- who is asking

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


# ---------------------------------------------------------------------------------------------------- collections


@pytest.mark.parametrize(
    "name",
    ["realtime_x", "realtime_", "system.views", ".x", "x.", "a..b", "*", "a$b", "$cmd", "a\0b", "tmp.agg_out.1"],
)
def test_names_that_are_not_to_be_had_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedCollectionError) as refused:
        check_collection(name)
    assert refused.value.details == {"collection": name}
    assert refused.value.message.count(": ") == 1  # the reason


@pytest.mark.parametrize("name", ["items", "realtime", "realtime.x", "systems", "é", "a.b", "my realtime_x"])
def test_other_names_are_taken(name: str) -> None:
    check_collection(name)
    assert opened(subscribe(session(), collection=name)).query.collection == name


@pytest.mark.parametrize(
    ("position", "same_query", "after"),
    [
        (f"{EPOCH}-0000000000000063", True, 99),
        (f"{EPOCH}-0000000000000063", False, None),
        ("rubbish", True, None),
        ("00000000-0000000000000063", True, None),
        (None, True, None),
    ],
)
def test_a_position_in_query_mode_is_taken_up_or_passed_over(
    position: str | None, same_query: bool, after: int | None
) -> None:
    what = query({"a": 1}, collections="c")
    frame = {"type": "subscribe", "id": "x", "collection": "c", "filter": {"a": 1}}
    frame |= {"query": what.key if same_query else "0" * 32}
    if position is not None:
        frame |= {"position": position}
    (effect,) = Session("s", Limits(1, 1, 1, 1, Bounds()), EPOCH).receive(json.dumps(frame))
    assert isinstance(effect, OpenSubscription)
    assert (effect.query.key, effect.after) == (what.key, after)
