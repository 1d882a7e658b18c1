"""From a change to the groups that it may concern."""

from __future__ import annotations

from realtime.core.live.event_group import EventGroup
from realtime.core.live.moments import Touch
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from tests.core.examples import EPOCH, ROOMY, query


def in_query_mode(router: Router, collection: str, **filters: int) -> QueryGroup:
    group = QueryGroup(query(filters, collections=collection), router.next_channel(), EPOCH, ROOMY)
    router.add(group)
    return group


def in_events_mode(router: Router, collections: str | None) -> EventGroup:
    group = EventGroup(query(mode="events", collections=collections), router.next_channel(), EPOCH)
    router.add(group)
    return group


def test_a_change_reaches_the_groups_of_its_collection_and_no_others() -> None:
    router = Router()
    one, two, other = (in_query_mode(router, name, a=value) for name, value in (("a", 1), ("a", 2), ("b", 1)))
    assert router.query_groups("a") == (one, two)
    assert router.query_groups("b") == (other,)
    assert router.query_groups("c") == ()
    assert set(router.collections()) == {"a", "b"}


def test_groups_of_events_mode_are_apart_from_those_of_query_mode() -> None:
    router = Router()
    held, told = in_query_mode(router, "a"), in_events_mode(router, "a")
    assert router.event_groups() == (told,)
    assert router.query_groups("a") == (held,)
    assert len(router) == 2


def test_the_same_query_finds_its_group_and_another_one_does_not() -> None:
    router = Router()
    held = in_query_mode(router, "a", x=1)
    assert router.find(query({"x": 1}, collections="a")) is held
    assert router.find(query({"x": 2}, collections="a")) is None
    assert router.find(query({"x": 1}, collections="a", mode="events")) is None


def test_a_group_that_is_removed_hears_of_nothing() -> None:
    router = Router()
    one, two, told = in_query_mode(router, "a", x=1), in_query_mode(router, "a", x=2), in_events_mode(router, None)
    router.remove(one)
    assert router.query_groups("a") == (two,)
    router.remove(two)
    router.remove(told)
    assert (router.query_groups("a"), router.collections(), router.event_groups(), len(router)) == ((), (), (), 0)
    assert router.find(one.query) is None


def test_removing_a_group_twice_leaves_its_successor_alone() -> None:
    router = Router()
    old = in_query_mode(router, "a")
    router.remove(old)
    new = in_query_mode(router, "a")
    router.remove(old)
    assert router.find(new.query) is new
    assert router.query_groups("a") == (new,)


def test_a_channel_number_is_never_used_twice() -> None:
    router = Router()
    first = in_query_mode(router, "a")
    router.remove(first)
    numbers = [first.channel, in_query_mode(router, "a").channel, in_events_mode(router, "a").channel]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)


def test_a_group_beside_another_of_its_query_is_routed_to_and_not_found() -> None:
    router = Router()
    first, beside = (QueryGroup(query({"a": 1}), 1, EPOCH, ROOMY) for _ in range(2))
    router.add(first)
    router.add(beside, beside=True)
    assert router.find(first.query) is first
    assert router.query_groups("items") == router.unsettled("items") == (first, beside)
    router.remove(beside)
    assert (router.find(first.query), router.query_groups("items"), len(router)) == (first, (first,), 1)


def test_groups_in_events_mode_are_found_by_collection_and_those_of_all_always() -> None:
    router = Router()
    groups = {names: EventGroup(query(mode="events", collections=names), 1, EPOCH) for names in ("a", "a b", "b", None)}
    for group in groups.values():
        router.add(group)
    assert set(router.hearing(["a"])) == {groups["a"], groups["a b"], groups[None]}
    assert list(router.hearing(["a", "b"])).count(groups["a b"]) == 1
    assert set(router.hearing(["c"])) == {groups[None]}
    assert set(router.event_groups()) == set(groups.values())
    router.remove(groups["a b"])
    router.remove(groups["a b"])
    assert set(router.hearing(["b"])) == {groups["b"], groups[None]}
    for group in groups.values():
        router.remove(group)
    assert (router.hearing(["a", "b"]), router.event_groups()) == ({}, ())


def test_who_reads_the_whole_document_needs_every_update() -> None:
    """`$$ROOT` in an expression: no path tells an update apart."""
    router = Router()
    group = QueryGroup(query({"$expr": {"$gt": ["$$ROOT", 1]}}, collections="a"), 1, EPOCH, ROOMY)
    router.add(group)
    router.settle(group)
    touch = Touch(5, "1", 1, None, exact=False, paths=frozenset({"anything"}))
    assert router.needs("a", touch)
    router.remove(group)
    assert not router.needs("a", touch)


def test_who_asks_for_what_is_known_by_name_in_either_mode() -> None:
    router = Router()
    assert router.asked() == frozenset()
    held, told = in_query_mode(router, "a"), in_events_mode(router, "b c")
    assert router.asked() == frozenset("abc")
    assert [router.hears(name) for name in "abcd"] == [True, True, True, False]
    everything = in_events_mode(router, None)
    assert router.asked() is None
    assert router.hears("d")
    for group in (held, told, everything):
        router.remove(group)
    assert router.asked() == frozenset()
    assert not router.hears("a")


def test_updates_are_completed_of_collections_that_somebody_watches_or_hears_the_updates_of() -> None:
    router = Router()
    in_query_mode(router, "watched", a=1)
    heard = EventGroup(query(mode="events", collections="heard"), router.next_channel(), EPOCH)
    inserts = query(mode="events", collections="only inserts", operations={"insert"})
    router.add(heard)
    router.add(EventGroup(inserts, router.next_channel(), EPOCH))
    assert router.completed() == frozenset({"watched", "heard"})
    router.add(EventGroup(query(mode="events", collections=None), router.next_channel(), EPOCH))
    assert router.completed() is None
