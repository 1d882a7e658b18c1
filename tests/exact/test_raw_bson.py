"""The fuzzer's documents: every class, at every place, of bytes that are what they are said to be."""

from __future__ import annotations

import random
from collections import Counter

import bson
import pytest
from bson.errors import BSONError, InvalidBSON

from realtime.core.bson import stored
from realtime.core.mql.language import BSON_TYPES
from realtime.core.mql.operators import type_code
from tests.exact import raw_bson
from tests.exact.raw_bson import ALL_PLACES, APART, CALM, NAMES, OTHERWISE, PLACES, UPDATES, VALUES, RawBson

CLASSES = len(VALUES) * len(ALL_PLACES) - len(APART)


def some(seed: int = 1) -> RawBson:
    return RawBson(random.Random(seed))


def test_every_class_comes_at_every_place_before_any_comes_again() -> None:
    made = some()
    turns = [(one.kind, one.place) for one in (made.made() for _ in range(CLASSES))]
    assert len(turns) == len(set(turns)) == CLASSES > 500
    calm = {made.made(calm=True).kind for _ in range(CLASSES)}
    assert calm == set(CALM) < set(VALUES)


def test_every_type_and_subtype_and_name_is_among_them() -> None:
    made = some()
    raws = [one.raw for one in (made.made() for _ in range(6 * CLASSES))]
    documents = [stored.decode(raw) for raw in raws]
    types = Counter(type_code(document["v"]) for document in documents)
    assert types.keys() == set(BSON_TYPES.values())
    subtypes = {value.data[4] for value in (VALUES[kind](made.dice) for kind in raw_bson.BINARIES for _ in range(1500))}
    assert subtypes == set(range(256))
    names = {stored.utf8(name) for document in documents for name in document}
    assert {name for named in NAMES.values() for name in named} <= names


def test_what_is_read_is_written_as_the_same_bytes() -> None:
    made, same = some(), Counter[str]()
    for one in (made.made() for _ in range(3 * CLASSES)):
        if one.kind == OTHERWISE:
            continue  # is written with other names
        assert stored.encode(stored.decode(one.raw)) == one.raw, (one.kind, one.place)
        same[one.kind] += 1
    assert same.keys() == VALUES.keys() - {OTHERWISE}
    assert min(same.values()) >= 20


def test_most_of_it_no_driver_would_have_read_as_it_is() -> None:
    """Else it would not be worth the bytes."""
    made, lost = some(), Counter[str]()
    for one in (made.made() for _ in range(CLASSES)):
        try:
            lost[one.kind] += bson.encode(bson.decode(one.raw)) != one.raw
        except (BSONError, UnicodeError, OverflowError, ValueError):
            lost[one.kind] += 1
    assert sum(count > 0 for count in lost.values()) >= 20


def test_a_seed_repeats_a_run() -> None:
    one, same, other = some(1), some(1), some(2)
    made = [[each.made().raw for _ in range(200)] for each in (one, same, other)]
    assert made[0] == made[1] != made[2]


def test_what_is_no_bson_is_none_for_us_either() -> None:
    wrong = list(some().wrong())
    assert len(wrong) == 2 * len(raw_bson.WRONG) >= 20
    for one in wrong:
        with pytest.raises(InvalidBSON):
            stored.decode(one.raw)


def test_large_ones_are_as_large_as_they_may_be() -> None:
    sizes = [len(one.raw) for one in some().large()]
    assert len(sizes) == 6
    assert all(15_900_000 < size < 16 * 1024 * 1024 for size in sizes)


@pytest.mark.parametrize("place", PLACES)
def test_a_value_at_its_place_is_no_deeper_than_mongodb_stores(place: str) -> None:
    made = some()
    levels = []
    for kind in VALUES:
        value = PLACES[place](VALUES[kind](made.dice), made.dice)
        levels.append(_levels(stored.decode(raw_bson.fields(v=value))))
    assert max(levels) <= raw_bson.DEEPEST
    assert (max(levels) > 170) is (place == "deep")


def _levels(value: object) -> int:
    scope = getattr(value, "scope", None)
    if scope is not None:
        return 1 + _levels(scope)
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_levels, inner), default=0)


def test_every_update_is_a_document_or_a_pipeline() -> None:
    made = some()
    for name, update in UPDATES.items():
        _, _, value = made.placed(calm=True)
        statement = stored.decode(raw_bson.statement(raw_bson.number(1), update(value)))
        assert statement["q"] == {"_id": {"$eq": 1}}
        assert type(statement["u"]) is (list if name.startswith("pipeline") else dict), name
