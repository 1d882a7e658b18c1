"""Who is subscribed to what, and which connections hear a group's channel."""

from __future__ import annotations

import json

import pytest

from realtime.core.live.query import QueryGroup
from realtime.errors import HistoryLostError
from realtime.hub.roster import Fence, Roster, Subscription, farewell
from tests.core.examples import EPOCH, delete, live_group, query, settled
from tests.hub.fakes import Peer

POSITION = f"{EPOCH}-{77:016X}"


@pytest.fixture
def group() -> QueryGroup:
    return live_group()


def joined(roster: Roster, group: QueryGroup, peer: Peer, name: str, *, live: bool = True) -> Subscription:
    subscription = Subscription(name, peer, group.query)
    members = roster.join(subscription, group)
    if live:
        roster.unmute(subscription, members)
    return subscription


def test_a_connection_is_in_a_groups_sinks_once_until_its_last_subscription_leaves(group: QueryGroup) -> None:
    roster, peer = Roster(), Peer()
    roster.open(group)
    one, two = joined(roster, group, peer, "one"), joined(roster, group, peer, "two")
    members = roster.members(group)
    assert members is not None
    assert list(members.sinks) == [peer]
    assert roster.leave(one) is None
    assert list(members.sinks) == [peer]
    assert roster.leave(two) is group
    assert list(members.sinks) == []
    assert (roster.count, roster.of(peer)) == (0, [])


def test_a_subscription_that_is_not_live_hears_nothing(group: QueryGroup) -> None:
    roster, peer = Roster(), Peer()
    roster.open(group)
    syncing = joined(roster, group, peer, "s", live=False)
    members = roster.members(group)
    assert members is not None
    assert not members.sinks
    roster.mute(syncing, members)
    assert not members.sinks
    assert roster.find(peer, "s") is syncing
    assert roster.find(peer, "t") is None
    assert roster.find(Peer(), "s") is None


def test_a_closed_group_has_no_members(group: QueryGroup) -> None:
    roster, peer = Roster(), Peer()
    roster.open(group)
    left_over = joined(roster, group, peer, "s")
    roster.close(group)
    assert roster.members(group) is None
    assert roster.leave(left_over) is None
    assert roster.count == 0


def test_a_fence_waits_for_live_subscriptions_only(group: QueryGroup) -> None:
    roster, peer = Roster(), Peer()
    roster.open(group)
    fence = Fence(peer, 50, lambda: None)
    assert roster.passed(fence, 0)
    joined(roster, group, peer, "syncing", live=False)
    assert roster.passed(fence, 0)
    joined(roster, group, peer, "live")
    assert not roster.passed(fence, 49)
    assert roster.passed(fence, 50)
    group.advance(50)
    assert roster.passed(fence, 0)


def test_a_fence_waits_for_those_whose_view_is_behind_what_was_dispatched() -> None:
    group = live_group({"_id": 1}, query=query(throttle=1000), at=40)
    roster, peer = Roster(), Peer()
    roster.open(group)
    joined(roster, group, peer, "s")
    fence = Fence(peer, 50, lambda: None)
    assert roster.passed(fence, 50)
    group.apply(settled(delete(45, 1), time=60), {})
    assert not roster.passed(fence, 60)
    group.changes()
    assert roster.passed(fence, 60)


def test_the_end_is_an_error_before_it_was_accepted_and_unsubscribed_after(group: QueryGroup) -> None:
    subscription = Subscription("s", Peer(), group.query)
    error = HistoryLostError("gone", details={"oldest": 1})
    before = json.loads(farewell(subscription, error, POSITION))
    subscription.accepted = True
    after = json.loads(farewell(subscription, error, POSITION))
    assert (before["type"], before["code"], before["details"]) == ("error", "history_lost", {"oldest": 1})
    assert after == {
        "type": "unsubscribed",
        "id": "s",
        "code": "history_lost",
        "message": "gone",
        "retry": False,
        "details": {"oldest": 1},
        "position": POSITION,
    }
