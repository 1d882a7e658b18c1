"""What a group for a set holds: values by document, and nobody is told of them."""

from __future__ import annotations

from typing import Any

from realtime.core.live.members import Values, common, same
from realtime.core.live.query import Phase, Query, QueryGroup
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.membership import Members
from realtime.core.mql.projection import EVERYTHING
from tests.core.examples import EPOCH, ROOMY, delete, insert, settled, update

ASKED = Members("items", {"user": "ann"}, "team", 3)


class Watcher:
    def __init__(self) -> None:
        self.held: set[str] = set()

    def hold(self, name: str) -> None:
        self.held.add(name)

    def let_go(self, name: str) -> None:
        self.held.discard(name)


def values_of(*documents: dict[str, Any]) -> Values:
    values = Values(ASKED)
    for document in documents:
        values.put(str(document["_id"]), document, lambda _: b"")
    values.loaded(len(documents))
    return values


def test_it_holds_the_values_of_each_document() -> None:
    values = values_of({"_id": 1, "team": "a"}, {"_id": 2, "team": ["b", "a"]}, {"_id": 3})
    assert values.values == ["a", "b"]
    assert (values.count, set(values.names())) == (3, {"1", "2", "3"})
    values.put("1", {"_id": 1, "team": "c"}, lambda _: b"")
    values.drop("2")
    values.drop("2")
    assert values.values == ["c"]


def test_its_size_is_what_it_holds_and_nothing_when_it_is_empty() -> None:
    values = values_of({"_id": 1, "team": "a" * 100}, {"_id": 2, "team": 5})
    assert values.size > 300
    values.reload()
    assert (values.size, values.count, values.values) == (0, 0, [])


def test_over_the_bound_of_documents_or_values_there_are_none() -> None:
    assert values_of(*({"_id": n, "team": n} for n in range(3))).values == [0, 1, 2]
    assert values_of(*({"_id": n, "team": 0} for n in range(4))).values is None
    assert values_of({"_id": 1, "team": [1, 2, 3, 4]}).values is None


def test_who_watches_hears_of_what_is_held() -> None:
    values, watcher = Values(ASKED), Watcher()
    values.watch = watcher
    values.put("1", {"team": "a"}, lambda _: b"")
    values.put("2", {"team": "a"}, lambda _: b"")
    values.drop("1")
    assert watcher.held == {"2"}


def test_only_an_update_of_the_values_path_changes_a_held_document() -> None:
    values = values_of({"_id": 1, "team": "a"})
    assert values.reads("1", frozenset({"team"}))
    assert values.reads("1", frozenset({"team.0"}))
    assert not values.reads("1", frozenset({"user"}))
    assert not values.reads("2", frozenset({"team"}))


def test_nobody_is_told_of_it() -> None:
    values = values_of({"_id": 1, "team": "a"})
    values.settle()
    assert (values.changes(), list(values.told()), values.pending, values.short) == ([], [], False, False)
    assert values.documents == {}


def test_sets_are_compared_as_mongodb_compares_values() -> None:
    assert same(["a", 1], [1.0, "a"])
    assert not same(["a"], ["a", "b"])
    assert same(None, None)
    assert not same(None, [])
    assert common(["a", 1, "b"], ["b", 1.0]) == [1, "b"]
    assert common(None, ["a"]) is None
    assert common(["a"], None) is None


def test_a_group_of_one_goes_from_loading_to_live_as_any_and_counts_documents() -> None:
    query = Query("query", frozenset({"items"}), compile_filter({"user": "ann"}), EVERYTHING, None, "k", members=ASKED)
    assert query.sets == ()
    group = QueryGroup(query, 1, EPOCH, ROOMY)
    assert isinstance(group.result, Values)
    group.put({"_id": 1, "team": "a"}, 10)
    group.loaded(10, 1)
    group.caught_up({}, 10)
    assert group.phase is Phase.LIVE
    batch = settled(
        insert(11, {"_id": 2, "user": "ann", "team": "b"}),
        insert(11, {"_id": 3, "user": "bob", "team": "c"}),
        delete(12, 1),
        update(12, 2, "team"),
    )
    assert group.needs(batch.touches["items"]["2"])
    assert group.apply(batch, {"2": {"_id": 2, "user": "ann", "team": "d"}}) == []
    assert group.result.values == ["d"]
    assert group.keeps
    assert not group.may_stop_keeping
