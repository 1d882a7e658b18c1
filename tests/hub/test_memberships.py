"""Sets that rules take from other collections: settled before anybody is told, and nothing by the old one after that.

Sabotage: `make sabotage`, rows "sets".
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.projection import compile_projection
from realtime.hub import sets
from realtime.hub.roster import Subscription
from realtime.ports import CollectionFacts
from tests.chance import fresh_seed
from tests.core.examples import EPOCH
from tests.hub.fakes import Peer, Service, Store, rest, until
from tests.hub.scenes import types
from tests.hub.view import View

TEAMS = {"$in": {"$from": {"collection": "memberships", "where": {"user": "$user.sub"}, "values": "team"}}}
RULES = Rules.model_validate(
    {
        "collections": {
            "items": {
                "member": {"read": {"team": TEAMS}},
                "guest": {"read": {"$or": [{"public": True}, {"team": TEAMS}]}, "fields": {"hide": ["secret"]}},
                "reader": {"read": {"_id": {"$gte": 0}}, "fields": {"show": ["team"]}},
            }
        }
    }
)
MOST = 5


def mine(sub: str = "ann", role: str = "member", *, mode: Any = "query", most: int = MOST, **more: Any) -> Query:
    """What somebody's `subscribe` comes to."""
    policy, who = Policy(RULES, most), Principal(sub, frozenset({role}))
    seen: dict[str, Any] = {"vision": policy.reading(who, "items")}
    if mode == "events":
        seen = {"sight": policy.hearing(who, ["items"])}
    return Query.of(
        mode=mode,
        collections=frozenset({"items"}),
        filter=compile_filter(None),
        projection=compile_projection(None),
        operations=None,
        **seen,
        **more,
    )


def join(store: Store, team: str, sub: str = "ann") -> None:
    store.insert("memberships", {"_id": f"{sub} {team}", "user": sub, "team": team})


def leave(store: Store, team: str, sub: str = "ann") -> None:
    store.delete("memberships", f"{sub} {team}")


def seen(store: Store, sub: str = "ann", time: int | None = None) -> dict[str, Any]:
    """What `find` under the rule gives, asked of everything there is."""
    at = store.now if time is None else time
    teams = {one["team"] for one in store.at("memberships", at).values() if one["user"] == sub}
    few = len(teams) <= MOST
    return {name: one for name, one in store.at("items", at).items() if few and one["team"] in teams}


def check(peer: Peer, store: Store, sub: str = "ann", name: str = "s") -> dict[str, Any]:
    """Its view was what the rule gives at each position that it was told of, and is at the end."""
    held = View(peer.frames)[name]
    assert held.history
    for time, documents in held.history:
        assert documents == seen(store, sub, time), time
    return held.documents


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        for number in range(9):
            running.store.insert("items", {"_id": number, "team": f"t{number % 3}", "n": 0})
        join(running.store, "t0")
        join(running.store, "t1", "bob")
        await running.flow()
        yield running


async def live(service: Service, what: Query) -> tuple[Peer, Subscription]:
    peer = Peer()
    return peer, await service.subscribed(Subscription("s", peer, what))


def positions(peer: Peer) -> list[str]:
    return [orjson.loads(frame).get("position", "") for frame in peer.moments()]


def events(peer: Peer) -> list[tuple[str, Any]]:
    told = [event for frame in peer.moments() for event in orjson.loads(frame)["events"]]
    return [(event["op"], event["key"]) for event in told]


# ------------------------------------------------------------------------------------------------------------- queries


async def test_who_is_a_member_sees_their_teams_and_the_key_does_not_say_which(service: Service) -> None:
    peer, subscription = await live(service, mine())
    assert check(peer, service.store).keys() == {"0", "3", "6"}
    assert subscription.query.key == mine().key != mine("bob").key
    assert mine(role="guest").key not in {mine().key, mine("bob").key}


async def test_a_set_is_followed_once_for_all_who_ask_for_it(service: Service) -> None:
    await live(service, mine())
    await live(service, mine(role="guest"))
    await live(service, mine(mode="events"))
    found = [read for read in service.store.reads_of("find") if read.collection == "memberships"]
    assert len(found) == 1
    assert len(service.hub.groups.memberships.sets) == 1
    await live(service, mine("bob"))
    assert len(service.hub.groups.memberships.sets) == 2


async def test_a_membership_that_comes_and_goes_is_one_moment_each_on_the_same_channel(service: Service) -> None:
    peer, _ = await live(service, mine())
    join(service.store, "t1")
    await service.flow()
    assert check(peer, service.store).keys() == {"0", "1", "3", "4", "6", "7"}
    leave(service.store, "t0")
    await service.flow()
    assert check(peer, service.store).keys() == {"1", "4", "7"}
    assert types(peer) == ["subscribed", "snapshot", "live", "changes", "changes"]


@pytest.mark.parametrize("first", ["set", "documents"])
async def test_a_set_and_documents_of_one_transaction_are_one_position(service: Service, first: str) -> None:
    peer, _ = await live(service, mine())
    store = service.store
    with store.transaction():
        if first == "set":
            leave(store, "t0")
        store.update("items", 0, n=1)
        store.insert("items", {"_id": 30, "team": "t0"})
        if first == "documents":
            leave(store, "t0")
    await service.flow()
    assert check(peer, store) == {}
    assert len(peer.moments()) == 1
    assert b'"n":1' not in b"".join(peer.frames)


async def test_nothing_of_the_old_state_is_told_while_it_is_read_again(service: Service) -> None:
    peer, subscription = await live(service, mine())
    store = service.store
    store.hold("find")
    leave(store, "t0")
    await service.flow()
    store.update("items", 0, n=1)
    await service.flow()
    assert peer.moments() == []
    service.hub.heartbeat([peer])
    assert View(peer.frames).heartbeats[-1]["behind"] == ["s"]
    # And others go on meanwhile.
    other, _ = await _everybody(service)
    assert len(other.moments()) == 1
    store.let_go("find")
    await until(lambda: subscription.group is not None and subscription.group.live)
    await rest()
    assert check(peer, store) == {}
    assert len(peer.moments()) == 1


async def _everybody(service: Service) -> tuple[Peer, Subscription]:
    """Somebody who is under no rule, and has a document told."""
    store, peer = service.store, Peer()
    store.let_go("find")
    query = Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=compile_filter({"team": "t9"}),
        projection=compile_projection(None),
        operations=None,
    )
    store.hold("find")
    subscription = Subscription("s", peer, query)
    service.attach(subscription)
    store.let_go("find")
    await until(lambda: subscription.live)
    store.hold("find")
    store.insert("items", {"_id": 90, "team": "t9"})
    await service.flow()
    return peer, subscription


async def test_a_set_that_changes_while_a_query_of_it_is_read_starts_it_again(service: Service) -> None:
    store, peer = service.store, Peer()
    store.hold("find")
    subscription = Subscription("s", peer, mine())
    service.attach(subscription)
    await until(lambda: store.waits("find"))
    store.let_go("find")
    store.hold("catch up", "find")
    await rest()
    join(store, "t2")
    leave(store, "t0")
    await service.flow()
    store.let_go("find")
    store.let_go("catch up")
    await until(lambda: subscription.live)
    assert check(peer, store).keys() == {"2", "5", "8"}


async def test_a_read_ahead_of_the_feed_waits_until_it_is_known_what_the_set_was_then(service: Service) -> None:
    store, peer = service.store, Peer()
    service.attach(subscription := Subscription("s", peer, mine()))
    await until(lambda: store.reads_of("find"))
    # MongoDB has more than the feed brought so far: a document of a team that she has left by then.
    leave(store, "t0")
    store.update("items", 0, secret="s")
    await rest()
    assert not subscription.live
    await service.flow()
    await until(lambda: subscription.live)
    assert check(peer, store) == {}
    assert b"secret" not in b"".join(peer.frames)


@pytest.mark.parametrize("kind", ["window", "rows", "throttle", "nothing kept"])
async def test_every_kind_of_query_goes_by_its_set(kind: str) -> None:
    more: dict[str, Any] = {"window": {"sort": parse_sort([["_id", 1]]), "limit": 2}, "throttle": {"throttle": 1}}
    async with Service(kept=2) if kind == "nothing kept" else Service() as service:
        store = service.store
        for number in range(9):
            store.insert("items", {"_id": number, "team": f"t{number % 3}", "n": 0})
        join(store, "t0")
        await service.flow()
        if kind == "rows":
            from realtime.core.live.aggregate import compile_grouping

            more["rows"] = {"grouping": compile_grouping({"by": ["team"], "count": True})}
        peer, subscription = await live(service, mine(**more.get(kind, {})))
        join(store, "t1")
        await service.flow()
        leave(store, "t0")
        await service.flow()
        await until(lambda: subscription.group is not None and not subscription.group.result.pending)  # type: ignore[union-attr]
        held = View(peer.frames)["s"].documents
        assert {one.get("team") or one["_id"]["team"] for one in held.values()} == {"t1"}
        assert "resync" not in types(peer)


@pytest.mark.parametrize("stages", [[{"$sort": {"team": 1}}], [{"$group": {"_id": "$team", "most": {"$max": "$n"}}}]])
async def test_a_pipeline_reads_the_fields_that_a_set_lets_be_seen(service: Service, stages: list[Any]) -> None:
    """Of two grants one shows all fields of the teams that she is in, and the other a few of every document."""
    pipeline = compile_pipeline(stages)
    policy, who = Policy(RULES, MOST), Principal("ann", frozenset({"member", "reader"}))
    what = Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=pipeline.match,
        projection=compile_projection(None),
        operations=None,
        vision=policy.reading(who, "items"),
        pipeline=pipeline,
    )
    peer, subscription = await live(service, what)

    def numbered() -> set[str]:
        """The teams of whose documents she sees the number."""
        documents = View(peer.frames)["s"].documents.values()
        teams = [one.get("team", one["_id"]) for one in documents if one.get("n", one.get("most")) is not None]
        return set(teams)

    assert len(View(peer.frames)["s"].documents) == (3 if "$group" in stages[0] else 9)
    assert numbered() == {"t0"}
    join(service.store, "t1")
    await service.flow()
    assert numbered() == {"t0", "t1"}
    leave(service.store, "t0")
    await service.flow()
    service.store.update("items", 0, n=5)
    await service.flow()
    assert _is_live(subscription)
    assert numbered() == {"t1"}
    assert "resync" not in types(peer)


async def test_over_the_bound_the_rule_is_false_and_the_log_says_so(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    peer, _ = await live(service, mine())
    for number in range(MOST):
        join(service.store, f"x{number}")
    await service.flow()
    assert check(peer, service.store) == {}
    assert "more than 5 values" in caplog.text
    leave(service.store, "x0")
    await service.flow()
    assert len(check(peer, service.store)) == 3


async def test_a_set_that_is_too_large_to_be_followed_is_looked_at_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(sets, "FOLLOWED", 1)
    for number in range(MOST):
        join(service.store, f"x{number}")
    await service.flow()
    peer, _ = await live(service, mine())
    assert check(peer, service.store) == {}
    leave(service.store, "x0")
    await service.flow()
    await until(lambda: View(peer.frames)["s"].documents)
    assert len(check(peer, service.store)) == 3
    # And one that outgrows that while it is followed.
    join(service.store, "x0")
    await service.flow()
    await until(lambda: not View(peer.frames)["s"].documents)


@pytest.mark.parametrize("mode", ["query", "events"])
async def test_what_cannot_be_read_lets_nobody_in(
    service: Service, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, peer = service.store, Peer()
    store.facts["memberships"] = CollectionFacts(exists=True, pre_images=False, capped=True)
    service.attach(Subscription("s", peer, mine(mode=mode)))
    await until(lambda: peer.ended)
    (told,) = View(peer.frames).errors
    assert (told["code"], told["retry"]) == ("unavailable", True)
    assert "memberships" not in told["message"]
    assert "memberships is a capped collection" in caplog.text
    # And whoever comes when it can be read again is let in.
    store.facts.clear()
    assert await live(service, mine(mode=mode))


async def test_who_was_let_in_waits_as_long_as_their_set_cannot_be_read(service: Service) -> None:
    store = service.store
    peer, subscription = await live(service, mine())
    store.facts["memberships"] = CollectionFacts(exists=True, pre_images=False, capped=True)
    store.create("memberships", "capped")
    await service.flow()
    store.update("items", 0, n=1)
    await service.flow()
    assert subscription.group is not None
    assert not subscription.group.live
    assert not peer.moments()
    assert not peer.ended
    store.facts.clear()
    async with asyncio.timeout(10):
        while not subscription.group.live:
            await asyncio.sleep(0.01)
    assert check(peer, store).keys() == {"0", "3", "6"}


@pytest.mark.parametrize("how", ["dropped", "lost"])
async def test_a_set_that_cannot_be_followed_is_read_again_before_anybody_is_told(service: Service, how: str) -> None:
    store = service.store
    peer, subscription = await live(service, mine())
    watcher, hearing = await live(service, mine(mode="events"))
    if how == "dropped":
        store.drop("memberships")
    store.update("items", 0, n=1)
    await service.flow(lost=how == "lost")
    await until(lambda: subscription.live and subscription.group is not None and subscription.group.live)
    await rest()
    assert View(peer.frames)["s"].documents == seen(store)
    assert bool(seen(store)) is (how == "lost")
    assert watcher.ended == ["s"]
    assert not hearing.live
    assert watcher.moments() == []


async def test_a_set_goes_with_the_last_who_asks_for_it(service: Service) -> None:
    peer, _ = await live(service, mine())
    other, _ = await live(service, mine(mode="events"))
    service.hub.detach(peer, "s")
    await rest()
    assert len(service.hub.groups.memberships.sets) == 1
    service.hub.detach(other, "s")
    await until(lambda: not len(service.hub.groups.memberships.sets))
    assert service.hub.router.asked() == frozenset()
    assert not service.hub.groups.memberships.sets.collections
    assert not service.hub.groups.memberships.sets.hearing


async def test_at_random_every_view_is_what_the_rule_gives_at_its_position() -> None:
    dice = random.Random(fresh_seed())
    told = 0
    for _ in range(30):
        async with Service() as service:
            store = service.store
            for number in range(6):
                store.insert("items", {"_id": number, "team": f"t{number % 3}", "n": 0})
            await service.flow()
            people = ["ann", "bob"]
            watching = [(sub, await live(service, mine(sub))) for sub in people]
            for _ in range(15):
                held = dice.choice([(), ("find",), ("catch up",), ("images",)])
                store.hold(*held)
                for _ in range(dice.randrange(1, 4)):
                    with store.transaction():
                        for _ in range(dice.randrange(1, 4)):
                            _something(store, dice, people)
                    if dice.random() < 0.5:
                        service.put()
                        await rest()
                store.let_go(*held)
                await service.flow()
            for sub, (peer, subscription) in watching:
                await until(lambda: _is_live(subscription))  # noqa: B023 - it is awaited here
                assert check(peer, store, sub) == seen(store, sub)
                told += len(peer.moments())
    assert told > 100


def _is_live(subscription: Subscription) -> bool:
    return subscription.group is not None and subscription.group.live


def _something(store: Store, dice: random.Random, people: Iterable[str]) -> None:
    now = store.at("memberships", store.now), store.at("items", store.now)
    sub, team = dice.choice(list(people)), f"t{dice.randrange(3)}"
    if dice.random() < 0.4:
        key = orjson.dumps(f"{sub} {team}").decode()
        if key in now[0]:
            leave(store, team, sub)
        else:
            join(store, team, sub)
    else:
        number = dice.randrange(6)
        if str(number) not in now[1]:
            store.insert("items", {"_id": number, "team": team, "n": 0})
        elif dice.random() < 0.3:
            store.delete("items", number)
        else:
            store.update("items", number, team=team, n=dice.randrange(100))


# -------------------------------------------------------------------------------------------------------------- events


async def test_events_are_judged_by_the_set_as_it_was_at_each(service: Service) -> None:
    peer, _ = await live(service, mine(mode="events"))
    store = service.store
    store.insert("items", {"_id": 20, "team": "t0"})
    store.insert("items", {"_id": 21, "team": "t1"})
    join(store, "t1")
    store.insert("items", {"_id": 22, "team": "t1"})
    leave(store, "t0")
    store.insert("items", {"_id": 23, "team": "t0"})
    store.insert("items", {"_id": 24, "team": "t1"})
    await service.flow()
    assert events(peer) == [("insert", 20), ("insert", 22), ("insert", 24)]
    assert positions(peer) == sorted(set(positions(peer)))


async def test_in_a_transaction_with_its_set_an_event_is_judged_by_what_holds_after_it(service: Service) -> None:
    peer, _ = await live(service, mine(mode="events"))
    store = service.store
    with store.transaction():
        store.insert("items", {"_id": 20, "team": "t0"})
        store.insert("items", {"_id": 21, "team": "t1"})
        leave(store, "t0")
        join(store, "t1")
    await service.flow()
    assert events(peer) == [("insert", 21)]


async def test_updates_before_the_change_of_a_set_have_the_image_of_before_it(service: Service) -> None:
    peer, _ = await live(service, mine(mode="events"))
    store = service.store
    store.update("items", 0, n=1)
    leave(store, "t0")
    store.update("items", 0, n=2)
    await service.flow()
    assert b'"n":2' not in b"".join(peer.frames)
    (time,) = positions(peer)
    assert int(time.removeprefix(f"{EPOCH}-"), 16) == store.now - 2


async def test_a_replay_begins_no_earlier_than_the_sets_last_change(service: Service) -> None:
    store = service.store
    _, keeps = await live(service, mine(mode="events"))
    before = store.now
    store.insert("items", {"_id": 20, "team": "t1"})
    join(store, "t1")
    changed = store.now
    store.insert("items", {"_id": 21, "team": "t1"})
    await service.flow()
    early, late = Peer(), Peer()
    service.attach(Subscription("s", early, mine(mode="events"), before))
    service.attach(Subscription("s", late, mine(mode="events"), changed))
    await until(lambda: early.ended and late.moments())
    await rest()
    told = View(early.frames).errors[0]
    assert told["code"] == "history_lost"
    assert "oldest" in told["details"]
    assert b"20" not in b"".join(late.moments())
    assert events(late) == [("insert", 21)]
    assert keeps.live


async def test_a_set_that_nobody_followed_is_known_to_have_been_the_same_by_what_happened(service: Service) -> None:
    store = service.store
    before = store.now
    store.insert("items", {"_id": 20, "team": "t0"})
    join(store, "t2", "bob")
    await service.flow()
    peer = Peer()
    service.attach(Subscription("s", peer, mine(mode="events"), before))
    await until(peer.moments)
    assert events(peer) == [("insert", 20)]
    join(store, "t1")
    await service.flow()
    service.hub.detach(peer, "s")
    await until(lambda: not len(service.hub.groups.memberships.sets))
    again = Peer()
    service.attach(Subscription("s", again, mine(mode="events"), before))
    await until(lambda: again.ended)
    assert View(again.frames).errors[0]["code"] == "history_lost"


async def test_a_replay_that_is_under_way_ends_where_its_set_changes(service: Service) -> None:
    store = service.store
    await live(service, mine(mode="events"))
    before = store.now
    store.insert("items", {"_id": 20, "team": "t0"})
    await service.flow()
    peer = Peer()
    service.attach(subscription := Subscription("s", peer, mine(mode="events"), before))
    await until(lambda: subscription.live)
    leave(store, "t0")
    await service.flow()
    # Its frames are made now, when the connection takes them.
    peer.lapse = lambda channel, after: None  # type: ignore[method-assign]
    assert b'"_id":20' not in b"".join(peer.frames)
    ended = orjson.loads(peer.frames[-1])
    assert (ended["type"], ended["code"]) == ("unsubscribed", "history_lost")
    assert ended["position"] == f"{EPOCH}-{before:016X}"


# -------------------------------------------------------------------------------------------------------------- resume


async def test_a_view_from_before_a_change_of_its_set_is_a_snapshot() -> None:
    async with Service(linger_seconds=60.0) as service:
        store = service.store
        for number in range(6):
            store.insert("items", {"_id": number, "team": f"t{number % 3}", "n": 0})
        join(store, "t0")
        await service.flow()
        peer, _ = await live(service, mine())
        steady = store.now
        store.update("items", 0, n=1)
        await service.flow()
        assert await _comes_back(service, steady) == ["subscribed", "changes", "live"]
        before = store.now
        leave(store, "t0")
        join(store, "t1")
        await service.flow()
        changed = store.now
        store.update("items", 1, n=1)
        await service.flow()
        assert await _comes_back(service, before) == ["subscribed", "snapshot", "live"]
        assert await _comes_back(service, changed) == ["subscribed", "changes", "live"]
        assert check(peer, store).keys() == {"1", "4"}


async def _comes_back(service: Service, after: int) -> list[str]:
    peer = Peer()
    service.attach(subscription := Subscription("s", peer, mine(), after))
    await until(lambda: subscription.live)
    await rest()
    return types(peer)[:3]
