"""Which of many filters a document may match: everything that matches, and little else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from realtime.core.bson.values import NULL, NUMBER, Order, order
from realtime.core.live.index import CROWDED, Interval, Intervals, Needs, PredicateIndex
from tests.chance import share


def probe(document: Mapping[str, Any], path: str) -> Iterable[Order]:
    """One level of fields; an array's elements and the array itself."""
    value = document.get(path)
    elements = value if isinstance(value, list) else []
    return [order(one) for one in [*elements, value]]


def equal(**values: Any) -> Needs:
    return Needs(equal={path: frozenset(map(order, among)) for path, among in values.items()})


def between(path: str, low: float, high: float) -> Needs:
    return Needs(within={path: Interval(order(low), order(high))})


def filled(*needs: Needs) -> PredicateIndex[int]:
    index: PredicateIndex[int] = PredicateIndex(probe)
    for number, need in enumerate(needs):
        index.add(number, need)
    return index


def test_an_equality_is_found_by_its_value_and_by_no_other() -> None:
    index = filled(equal(team=["red"]), equal(team=["blue"]), equal(team=["red", "green"]))
    assert list(index.candidates({"team": "red"})) == [0, 2]
    assert list(index.candidates({"team": "green"})) == [2]
    assert list(index.candidates({"team": "black"})) == []
    assert list(index.candidates({})) == []


def test_numbers_are_found_whatever_their_type() -> None:
    assert list(filled(equal(n=[1])).candidates({"n": 1.0})) == [0]


def test_elements_of_an_array_are_values_of_its_path() -> None:
    index = filled(equal(tags=["a"]), equal(tags=["b"]), equal(tags=[["a", "c"]]))
    assert list(index.candidates({"tags": ["a", "c"]})) == [0, 2]


def test_what_demands_nothing_is_a_candidate_for_every_document_and_null_for_those_without_the_path() -> None:
    index = filled(equal(team=[None]), Needs(), equal(team=["red"]))
    assert sorted(index.candidates({"n": 1})) == [0, 1]
    assert sorted(index.candidates({"team": "red"})) == [1, 2]


def test_the_path_whose_values_the_fewest_share_is_taken() -> None:
    index = filled(*(equal(status=["open"], user=[n]) for n in range(100)))
    assert len(index.candidates({"status": "open", "user": 7})) <= 2


def test_an_interval_is_taken_where_everybody_shares_the_equality() -> None:
    needs = [
        Needs(equal={"region": frozenset([order("eu")])}, within={"price": Interval(order(10 * n), order(10 * n + 5))})
        for n in range(100)
    ]
    found = filled(*needs).candidates({"region": "eu", "price": 123})
    assert 12 in found
    assert len(found) <= CROWDED + 1


def test_an_array_is_a_candidate_for_intervals_that_its_elements_span() -> None:
    # {n: {$gt: 4, $lt: 6}} matches [1, 9]: one element for each bound.
    assert list(filled(between("n", 4, 6)).candidates({"n": [1, 9]})) == [0]


def test_a_document_with_no_value_at_all_at_a_path_is_in_no_interval() -> None:
    index: PredicateIndex[int] = PredicateIndex(lambda _document, _path: ())
    index.add(0, between("n", 4, 6))
    assert index.candidates({"n": 5}) == {}


def test_an_interval_may_end_with_its_type() -> None:
    above = Needs(within={"n": Interval(order(5), (NUMBER + 0.5,))})
    below = Needs(within={"n": Interval((float(NUMBER),), order(5))})
    index = filled(above, below)
    assert list(index.candidates({"n": 6})) == [0]
    assert list(index.candidates({"n": 4})) == [1]
    assert list(index.candidates({"n": "text"})) == []
    assert order(None)[0] == NULL
    assert list(index.candidates({})) == []


def test_what_was_removed_is_found_no_more_and_leaves_nothing_behind() -> None:
    needs = [equal(a=[1, 2]), equal(a=[2]), between("n", 0, 9), between("n", 5, 6), Needs()]
    index = filled(*needs)
    assert len(index) == 5
    for number in range(5):
        index.remove(number)
        assert number not in index.candidates({"a": [1, 2], "n": 5})
    assert len(index) == 0
    assert list(index.candidates({"a": [1, 2], "n": 5})) == []
    with pytest.raises(KeyError):
        index.remove(0)


def may_match(needs: Needs, document: dict[str, Any]) -> bool:
    """The definition, by trying."""
    for path, values in needs.equal.items():
        if not values & set(probe(document, path)):
            return False
    for path, interval in needs.within.items():
        values_of = list(probe(document, path))
        if max(values_of) < interval.low or min(values_of) > interval.high:
            return False
    return True


def test_everything_that_may_match_is_found_whatever_comes_and_goes() -> None:
    dice = random.Random(7)

    def value() -> Any:
        return dice.choice([dice.randrange(12), dice.choice("abc"), None, [dice.randrange(12), dice.randrange(12)]])

    def needs() -> Needs:
        fields = dice.sample("xyz", dice.randrange(3))
        low = dice.randrange(12)
        within = {"n": Interval(order(low), order(low + dice.randrange(3)))} if dice.random() < 0.5 else {}
        return Needs({path: frozenset(order(value()) for _ in range(dice.randrange(1, 3))) for path in fields}, within)

    index: PredicateIndex[int] = PredicateIndex(probe)
    current: dict[int, Needs] = {}
    matched = tried = 0
    for step in range(700):
        if current and dice.random() < 0.45:
            gone = dice.choice(list(current))
            del current[gone]
            index.remove(gone)
        else:
            current[step] = needs()
            index.add(step, current[step])
        document = {path: value() for path in "xyzn" if dice.random() < 0.8}
        found = index.candidates(document)
        for number, need in current.items():
            tried += 1
            if may_match(need, document):
                matched += 1
                assert number in found
        assert set(found) <= set(current)
    assert matched > 1000
    assert tried > 2 * matched


def test_few_of_many_intervals_are_looked_at() -> None:
    intervals: Intervals[int] = Intervals()
    for n in range(2000):
        intervals.add(n, Interval(order(n), order(n + 4)))
    for place in (0, 1, 1000, 1999):
        found = intervals.overlapping(order(place), order(place))
        assert sorted(found) == list(range(max(0, place - 4), place + 1))
    for n in range(1990):
        intervals.remove(n)
    assert sorted(intervals.overlapping(order(0), order(5000))) == list(range(1990, 2000))
    assert len(intervals) == 10


def test_an_empty_in_went_with_another_ones_path_and_could_not_be_taken_out() -> None:
    """Seen as `{"x": {"$in": []}}` beside `{"x": 1}`: whichever goes first, nothing is left and nothing is raised."""
    for first in (0, 1):
        index = filled(equal(x=[1]), equal(x=[]))
        assert list(index.candidates({"x": 1})) == [0]
        for item in (first, 1 - first):
            index.remove(item)
        assert (len(index), index.candidates({"x": 1}), index._equal) == (0, {}, {})


def test_whatever_comes_and_goes_in_any_order_is_found_while_it_is_there_and_leaves_nothing() -> None:
    dice = random.Random(7)
    for _ in range(share(300)):
        index: PredicateIndex[int] = PredicateIndex(probe)
        there: dict[int, Needs] = {}
        for number in range(40):
            if there and dice.random() < 0.5:
                gone = dice.choice(sorted(there))
                index.remove(gone)
                del there[gone]
            else:
                paths = dice.sample("xyz", dice.randrange(3))
                there[number] = equal(**{path: dice.sample(range(4), dice.choice([0, 1, 1, 2])) for path in paths})
                index.add(number, there[number])
            document = {path: dice.randrange(4) for path in "xyz"}
            fits = {
                item
                for item, need in there.items()
                if all(order(document[path]) in values for path, values in need.equal.items())
            }
            assert fits <= set(index.candidates(document)) <= set(there)
        for item in list(there):
            index.remove(item)
        assert (len(index), index._equal, index._places) == (0, {}, {})
