"""What a connection makes of `subscribe` and `unsubscribe`: what is opened, and every refusal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS

from realtime.core.connection.admission import NOBODY_BYTES
from realtime.core.connection.requests import check_collection
from realtime.core.connection.session import EndSubscription, Limits, OpenSubscription, Send, Session
from realtime.core.live.events import format_position
from realtime.core.mql.filters import Bounds
from realtime.errors import UnsupportedCollectionError
from tests.core.connection.sessions import LIMITS, SECONDS, answer, events, opened, receive, session, subscribe
from tests.core.examples import EPOCH, query


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


def test_last_is_the_condition_that_it_is_short_for() -> None:
    long = {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", 900_000]}]}}
    last = {"path": "at", "seconds": 900}
    asked: list[dict[str, Any]] = [
        {"filter": {"a": 1, **long}},
        {"filter": {"a": 1}, "last": last},
        {"last": {**last, "seconds": 901}},
    ]
    queries = [opened(subscribe(session(), **fields)).query for fields in asked]
    assert all(query.filter.moving is not None for query in queries)
    assert queries[0].key == queries[1].key != queries[2].key


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
    **{
        f"pipeline with {name}": ({"pipeline": [], name: value}, "invalid_request", {"field": name})
        for name, value in {
            "filter": {},
            "sort": {"a": 1},
            "limit": 1,
            "projection": {"a": 1},
            "group": {"by": []},
        }.items()
    },
    "pipeline in events mode": ({"mode": "events", "pipeline": []}, "invalid_request", {"field": "pipeline"}),
    "pipeline that is no list": ({"pipeline": {"$count": "n"}}, "invalid_request", {"field": "pipeline"}),
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
    "last in events mode": (
        {"mode": "events", "last": {"path": "at", "seconds": 1}},
        "invalid_request",
        {"field": "last"},
    ),
    "last of no time": ({"last": {"path": "at", "seconds": 0}}, "invalid_request", {"field": "last.seconds"}),
    "moving time in events mode": (
        {"mode": "events", "filter": {"$expr": {"$gte": ["$at", "$$NOW"]}}},
        "unsupported_operator",
        {"operator": "$$NOW", "path": "$expr.$gte.1"},
    ),
    "the cluster's time": (
        {"filter": {"$expr": {"$gte": ["$at", "$$CLUSTER_TIME"]}}},
        "unsupported_operator",
        {"operator": "$$CLUSTER_TIME", "path": "$expr.$gte.1"},
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
