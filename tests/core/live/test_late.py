"""A group whose documents are judged later: what it says of itself until then, and who is told of what it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.bson.keys import identity
from realtime.core.live.moments import Settled, Touch
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.errors import InvalidDocumentError
from tests.core.examples import EPOCH, ROOMY, brought_up, delete, insert, query, settled, shown, update

EVEN = {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}
NAME = identity


def routed(*documents: dict[str, Any], **asked: Any) -> tuple[Router, QueryGroup]:
    """A live group at 10 that changes are routed to."""
    router = Router()
    group = QueryGroup(query(**{"filter": EVEN, **asked}), 1, EPOCH, ROOMY)
    router.add(group)
    brought_up(group, *documents)
    router.settle(group)
    return router, group


def touches(what: Settled) -> list[Touch]:
    return list(what.touches["items"].values())


def defer(group: QueryGroup, what: Settled, **images: Any) -> None:
    group.defer(what, images, touches(what))


def found(router: Router, what: Settled) -> set[QueryGroup]:
    return set(router.routes("items", touches(what), {}))


@pytest.mark.parametrize(
    ("filter", "projection", "computes"),
    [
        (EVEN, None, True),
        ({"a": 1, "$or": [{"b": 2}, EVEN]}, None, True),
        ({"$jsonSchema": {"required": ["n"]}}, None, True),
        ({"n": {"$elemMatch": {"$jsonSchema": {}}}}, None, True),
        (None, {"n": 1, "m": {"$add": ["$n", 1]}}, True),
        ({"a": 1, "b": {"$regex": "x"}}, {"a": 1}, False),
    ],
)
def test_it_computes_where_it_asks_for_an_expression_or_a_schema(
    filter: dict[str, Any] | None,  # noqa: A002 - the protocol's own word
    projection: dict[str, Any] | None,
    computes: bool,
) -> None:
    assert query(filter, projection).computes is computes


def test_what_it_holds_and_was_told_stays_until_it_is_judged() -> None:
    _, group = routed({"_id": 1, "n": 2})
    defer(group, settled(insert(11, {"_id": 2, "n": 4}), insert(12, {"_id": 3, "n": 5}), delete(13, 1)))
    assert (group.pending, group.told, group.time) == (True, 10, 13)
    assert group.reached(20) == 10
    assert set(group.documents) == {NAME(1)}
    assert set(group.names()) == {NAME(1), NAME(2), NAME(3)}
    assert not group.recoverable
    assert not group.may_stop_keeping
    group.advance(14)
    assert group.told == 10
    for left in (2, 1, 0):
        group.judge()
        assert len(group.late) == left
    assert [(one["op"], one["key"]) for one in shown(group.changes())] == [("leave", 1), ("enter", 2)]
    assert (group.pending, group.told) == (False, 14)
    assert group.may_stop_keeping


def test_what_was_judged_before_its_time_is_passed_over() -> None:
    _, group = routed({"_id": 1, "n": 2})
    defer(group, settled(delete(9, 1), time=9))
    assert (dict(group.late), group.time) == ({}, 10)


def test_a_document_that_waits_is_needed_whatever_is_updated_of_it() -> None:
    router, group = routed({"_id": 1, "n": 2})
    defer(group, settled(insert(11, {"_id": 2, "n": 4})))
    other = settled(update(12, 2, "other"), update(12, 5, "other"))
    first, second = touches(other)
    assert group.needs(first)
    assert not group.needs(second)
    assert router.needs("items", first)
    assert not router.needs("items", second)


def test_a_document_that_waits_is_routed_to_it_and_forgotten_when_judged_out() -> None:
    router, group = routed()
    defer(group, settled(insert(11, {"_id": 2, "n": 4}), insert(12, {"_id": 3, "n": 5})))
    gone = settled(delete(13, 2), delete(13, 3))
    assert found(router, gone) == {group}
    group.judge()
    group.judge()
    assert found(router, settled(delete(13, 2))) == {group}, "it holds this one"
    assert found(router, settled(delete(13, 3))) == set(), "and not that one"


def test_one_that_falls_out_of_a_window_while_it_waits_is_routed_all_the_same() -> None:
    documents = [{"_id": number, "n": 2 * number} for number in range(1, 60)]
    router, group = routed(*documents, sort=[["n", 1]], limit=1)
    last = max(group.result.names(), key=int)
    number = int(last)
    defer(group, settled(insert(11, {"_id": 0, "n": 0}), insert(12, {"_id": -1, "n": -2}), update(13, number, "n")))
    assert group.late.keys() == {NAME(0), NAME(-1)}
    defer(group, settled(update(14, number, "x")), **{last: {"_id": number, "n": 2 * number, "x": 1}})
    group.judge()
    group.judge()
    assert last not in group.result.names()
    assert found(router, settled(delete(15, number))) == {group}
    group.judge()
    assert found(router, settled(delete(15, number))) == set()


def test_one_without_a_value_is_forgotten_too() -> None:
    router, group = routed(filter={"$expr": {"$gt": [{"$toInt": "$s"}, 0]}})
    defer(group, settled(insert(11, {"_id": 2, "s": "no number"})))
    with pytest.raises(InvalidDocumentError):
        group.judge()
    assert found(router, settled(delete(12, 2))) == set()


def test_read_again_it_waits_for_nothing() -> None:
    router, group = routed({"_id": 1, "n": 2})
    defer(group, settled(insert(11, {"_id": 2, "n": 4})))
    router.unsettle(group)
    group.reload()
    assert (dict(group.late), list(group.names())) == ({}, [])
    brought_up(group, {"_id": 2, "n": 4}, at=12)
    router.settle(group)
    assert found(router, settled(delete(13, 1))) == set()
    assert found(router, settled(delete(13, 2))) == {group}
    assert [(one["op"], one["key"]) for one in shown(group.changes())] == [("leave", 1), ("enter", 2)]


def test_without_anybody_who_watches_it_is_judged_as_well() -> None:
    group = brought_up(QueryGroup(query(EVEN), 1, EPOCH, ROOMY))
    defer(group, settled(insert(11, {"_id": 2, "n": 4}), insert(12, {"_id": 3, "n": 5})))
    group.judge()
    group.judge()
    assert set(group.documents) == {NAME(2)}
    assert compile_filter({}).computes is False
    assert compile_projection({}).computed == frozenset()
