"""Which documents somebody may have held who was away, as far as it is known."""

from __future__ import annotations

from typing import Any

from realtime.core.live import leaves
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.journal import Entry
from realtime.core.live.leaves import Leaves, unheld
from realtime.core.live.moments import settle
from realtime.core.mql.filters import compile_filter
from tests.core.examples import live_group

MINE = compile_filter({"owner": "me"})


def entry(time: int, *events: dict[str, Any]) -> Entry:
    made = tuple(
        ChangeEvent(**{"collection": "items", "time": time, "identity": str(one["key"]), **one}) for one in events
    )
    return Entry(settle(Batch(made, time)))


def test_a_group_knows_whom_it_told_to_go_since_it_began() -> None:
    told = Leaves()
    told.begin(10)
    told.note(["a"], 11)
    told.note(["b", "c"], 12)
    assert told.after(10) == {"a", "b", "c"}
    assert told.after(11) == {"b", "c"}
    assert told.after(12) == set()
    assert told.after(9) is None
    told.begin(20)
    assert told.after(12) is None
    assert told.after(20) == set()


def test_it_forgets_the_oldest_and_knows_that_it_did(monkeypatch: Any) -> None:
    monkeypatch.setattr(leaves, "MOST", 2)
    told = Leaves()
    told.begin(10)
    told.note(["a", "b", "c"], 11)
    assert told.after(10) is None
    assert told.after(11) == set()
    told.note(["d"], 12)
    assert told.after(11) == {"d"}


def test_what_was_inserted_since_was_not_held_and_what_was_not_decided_is_as_it_was() -> None:
    entries = [
        entry(
            11,
            {"op": "insert", "key": 1, "document": {"_id": 0}},
            {"op": "update", "key": 1, "updated": ("owner",)},
            {"op": "update", "key": 2, "updated": ("n",)},
            {"op": "update", "key": 3, "updated": ("n",)},
            {"op": "update", "key": 4, "removed": ("owner",)},
            {"op": "delete", "key": 5},
            {"op": "replace", "key": 6, "document": {"_id": 6}},
            {"op": "update", "key": 7, "updated": ("owner.first",)},
        ),
        entry(12, {"op": "update", "key": 3, "updated": ("owner",)}, {"op": "update", "key": 2, "updated": ("m.n",)}),
    ]
    assert unheld(MINE, entries, "items", 10) == {"1", "2"}
    assert unheld(MINE, entries, "items", 11) == {"2"}, "what came before is not asked"
    assert unheld(MINE, entries, "others", 10) == set()


def test_an_image_of_before_says_it() -> None:
    entries = [
        entry(
            11,
            {"op": "delete", "key": 1, "before": {"owner": "me"}},
            {"op": "delete", "key": 2, "before": {"owner": "you"}},
            {"op": "update", "key": 3, "updated": ("owner",), "before": {"owner": "you"}},
        ),
        entry(12, {"op": "update", "key": 3, "updated": ("owner",), "before": {"owner": "me"}}),
    ]
    assert unheld(MINE, entries, "items", 10) == {"2", "3"}


def test_a_group_names_what_may_have_been_held_or_says_that_it_does_not_know() -> None:
    group = live_group({"_id": 1, "owner": "me"}, {"_id": 2, "owner": "me"}, filter={"owner": "me"})
    inserted = [entry(12, {"op": "insert", "key": 9, "document": {"_id": 0}})]
    deleted = [entry(12, {"op": "delete", "key": 8})]
    assert group.held_since(["1", "9"], inserted, 11) == ["1"]
    assert group.held_since(["1", "8"], deleted, 11) is None
    assert group.held_since(["1", "2"], [], 11) == ["1", "2"]
    group.remember()
    group.remember()
    for touched in ("2", "8"):
        settled = settle(Batch((ChangeEvent("delete", "items", 12, key=int(touched), identity=touched),), 12))
        group.apply(settled, {})
    assert group.held_since(["1", "2", "8"], deleted, 11) == ["1", "2"], "what it let go, and nobody else's"
    assert group.held_since(["1", "8"], deleted, 9) is None, "from before it began"
    group.reload()
    group.loaded(20)
    group.caught_up({}, 20)
    assert group.held_since(["8"], deleted, 12) is None, "it was read anew since"
