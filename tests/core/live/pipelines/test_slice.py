"""Some of what is sorted, told by what comes in and goes out, against sorting everything anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from realtime.core.live.pipelines.slice import ITEM_BYTES, Item, Slice
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.pipelines.pipeline import Top
from tests.chance import fresh_seed, share

ROUNDS, STEPS = share(20), 150
SORT = parse_sort([["s", 1]])


def item(name: int, score: int, payload: Any = b"x") -> Item:
    return Item(str(name), SORT.place({"_id": name, "s": score}), payload, len(payload))


def told(made: Slice) -> dict[str, Item | None]:
    found = list(made.changed())
    assert len({name for name, _ in found}) == len(found), "each once"
    return dict(found)


@pytest.mark.parametrize("bounds", [(0, 1), (0, 5), (3, 4), (10, 1), (0, None), (4, None)])
def test_what_is_handed_on_makes_what_sorting_everything_gives(bounds: tuple[int, int | None]) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    skip, limit = bounds
    seen = 0
    for _ in range(ROUNDS):
        made = Slice(Top(SORT, skip, limit))
        held: dict[str, Item] = {}
        view: dict[str, Item] = {}
        for _ in range(STEPS):
            for _ in range(chance.choice([1, 1, 1, 2, 5, 15])):
                name = chance.randrange(25)
                if chance.random() < 0.4:
                    made.drop(str(name))
                    held.pop(str(name), None)
                else:
                    one = item(name, chance.randrange(6), b"%d" % chance.randrange(99))
                    made.put(one)
                    held[one.name] = one
            assert len(made) == len(held)
            for name_, one_ in told(made).items():
                if one_ is None:
                    view.pop(name_, None)
                else:
                    view[name_] = one_
            assert not made.pending
            inside = sorted(held.values(), key=lambda one: one.place)[skip : None if limit is None else skip + limit]
            assert view == {one.name: one for one in inside}, seed
            assert made.size == sum(one.size + ITEM_BYTES for one in held.values())
            seen += len(inside)
    assert seen


def test_only_what_crosses_an_end_is_handed_on() -> None:
    made = Slice(Top(SORT, 2, 3))
    for name in range(1000):
        made.put(item(name, name))
    assert {name: one is not None for name, one in told(made).items()} == {
        str(name): 2 <= name < 5 for name in range(1000)
    }
    made.put(item(2000, -1))
    assert {name: one is not None for name, one in told(made).items()} == {"2000": False, "1": True, "4": False}
    made.drop("2000")
    assert {name: one is not None for name, one in told(made).items()} == {"2000": False, "4": True, "1": False}
    made.put(item(500, 500, b"other"))
    assert told(made) == {"500": None}
    assert made.get("3") == item(3, 3)
    made.drop("nobody")
    assert not made.pending
    assert len(made) == 1000
