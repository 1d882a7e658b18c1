"""What a row holds for each accumulator, against all of its contributions looked at anew after every step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.bson import ejson
from realtime.core.bson.stored import Undefined
from realtime.core.bson.values import MISSING, order
from realtime.core.live.pipelines import accumulators
from realtime.core.live.pipelines.accumulators import State, Tie, Token, state_of, token_of
from realtime.core.live.totals import Total
from realtime.core.mql.expressions.accumulators import average_of, sum_of
from realtime.core.mql.expressions.numbers import is_number, nullish
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.pipelines.pipeline import Accumulator
from tests.chance import fresh_seed

STEPS = 1500
N = 3
Document = dict[str, Any]
SORT = parse_sort([["s", -1], ["_id", 1]])


def shown(document: Document) -> Any:
    value = document.get("v", MISSING)
    return None if value is MISSING else value


def accumulator(operator: str) -> Accumulator:
    several = N if operator.endswith("N") else None
    if operator.startswith(("$top", "$bottom")):
        return Accumulator("x", operator, shown, several, SORT.place)
    if operator == "$count":
        return Accumulator("x", operator, lambda _: 1)
    return Accumulator("x", operator, lambda document: document.get("v", MISSING), several)


def given(documents: list[Document]) -> list[Any]:
    return [document["v"] for document in documents if "v" in document]


def numbers(documents: list[Document]) -> list[Any]:
    return [value for value in given(documents) if is_number(value)]


def compared(documents: list[Document]) -> list[Any]:
    return sorted((value for value in given(documents) if not nullish(value)), key=order)


def ranked(documents: list[Document]) -> list[Any]:
    return [shown(document) for document in sorted(documents, key=SORT.place)]


def distinct(documents: list[Document]) -> list[Any]:
    found = {order(value): value for value in given(documents)}
    return [found[place] for place in sorted(found)]


def deviation(documents: list[Document], less: int) -> float | None:
    found = [float(value) for value in numbers(documents)]
    if len(found) <= less:
        return None
    mean = math.fsum(found) / len(found)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (len(found) - less))


EXPECTED: dict[str, Callable[[list[Document]], Any]] = {
    "$sum": lambda documents: sum_of(numbers(documents)),
    "$avg": lambda documents: average_of(numbers(documents)),
    "$count": len,
    "$stdDevPop": lambda documents: deviation(documents, 0),
    "$stdDevSamp": lambda documents: deviation(documents, 1),
    "$min": lambda documents: next(iter(compared(documents)), None),
    "$max": lambda documents: next(iter(compared(documents)[::-1]), None),
    "$minN": lambda documents: compared(documents)[:N],
    "$maxN": lambda documents: compared(documents)[::-1][:N],
    "$addToSet": distinct,
    "$top": lambda documents: ranked(documents)[0],
    "$topN": lambda documents: ranked(documents)[:N],
    "$bottom": lambda documents: ranked(documents)[-1],
    "$bottomN": lambda documents: ranked(documents)[-N:],
}
VALUES = [0, 1, 1.0, 2.5, Int64(7), -3, "a", "b", None, True, [1, 2], {"k": 1}, {"k": 1.0}, MISSING]


def put(state: State, one: Accumulator, document: Document, tie: Tie) -> Token:
    token = token_of(one, document, tie)
    state.add(token)
    return token


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-12)
    return order(found) == order(wanted)


def test_every_accumulator_is_compared() -> None:
    assert set(EXPECTED) == set(accumulators._STATES)


@pytest.mark.parametrize("operator", EXPECTED)
def test_a_state_is_what_its_contributions_make_from_scratch(operator: str) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    one = accumulator(operator)
    state = state_of(one)
    held: dict[int, tuple[Document, Token]] = {}
    texts = kept = 0
    for step in range(STEPS):
        key = chance.randrange(12)
        document: Document = {"_id": key, "s": chance.randrange(4)}
        value = chance.choice(VALUES)
        if value is not MISSING:
            document["v"] = value
        gone = held.get(key)
        if gone is not None and chance.random() < 0.4:
            state.remove(held.pop(key)[1])
        elif gone is not None:
            token = token_of(one, document, (str(key), 0))
            if gone[1].same(token):
                kept += 1
                held[key] = document, gone[1]
            else:
                state.remove(gone[1])
                state.add(token)
                held[key] = document, token
        else:
            held[key] = document, put(state, one, document, (str(key), 0))
        if not held:
            continue  # there is no such row
        wanted = EXPECTED[operator]([document for document, _ in held.values()])
        assert same(state.value(), wanted), f"seed {seed}, step {step}: {state.value()} {wanted}"
        text = state.text()
        if text is not None:
            texts += 1
            assert orjson.loads(text) == orjson.loads(ejson.encode(state.value())), seed
            assert state.text() is text or operator in {"$minN", "$maxN"}
            assert state.value() is state.value()
    assert bool(texts) is (operator in {"$minN", "$maxN", "$addToSet", "$topN", "$bottomN"})
    assert kept


def test_of_nothing_that_counts_there_is_null_or_nothing() -> None:
    nothing: dict[str, Any] = {"$min": None, "$max": None, "$avg": None, "$sum": 0, "$minN": [], "$addToSet": []}
    for operator, wanted in nothing.items():
        one = accumulator(operator)
        state = state_of(one)
        token = put(state, one, {"_id": 1}, ("1", 0))
        assert state.value() == wanted, operator
        state.remove(token)
        assert state.value() == wanted, operator


def test_undefined_is_compared_as_nothing_and_is_one_of_a_set() -> None:
    for operator, wanted in {"$max": None, "$maxN": [], "$addToSet": [Undefined()]}.items():
        one = accumulator(operator)
        state = state_of(one)
        put(state, one, {"_id": 1, "v": Undefined()}, ("1", 0))
        assert order(state.value()) == order(wanted), operator


def test_a_set_encodes_a_value_when_it_comes_and_never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    real = ejson.encode

    def counting(value: Any) -> bytes:
        encoded.append(value)
        return real(value)

    monkeypatch.setattr(ejson, "encode", counting)
    one = accumulator("$addToSet")
    state = state_of(one)
    for number in range(100):
        put(state, one, {"_id": number, "v": number % 50}, (str(number), 0))
    assert state.text() == real(list(range(50)))
    assert sorted(encoded) == list(range(50))
    token = token_of(one, {"_id": 1, "v": 7}, ("1", 0))
    before = state.text()
    state.remove(token)
    assert state.text() is before  # it is there once more
    state.remove(token)
    assert orjson.loads(state.text() or b"") == [number for number in range(50) if number != 7]
    assert len(encoded) == 50


@pytest.mark.parametrize("operator", ["$topN", "$bottomN"])
def test_what_comes_and_goes_beyond_the_shown_ones_leaves_them_as_they_are(operator: str) -> None:
    one = accumulator(operator)
    state = state_of(one)
    for number in range(10):
        put(state, one, {"_id": number, "s": number, "v": number}, (str(number), 0))
    best, worst = ([9, 8, 7], 0) if operator == "$topN" else ([2, 1, 0], 9)
    was, text = state.value(), state.text()
    assert (was, text) == (best, real_text(best))
    beyond = put(state, one, {"_id": 77, "s": 5, "v": "x"}, ("77", 0))
    state.remove(beyond)
    assert (state.value() is was, state.text() is text) == (True, True)
    ahead = put(state, one, {"_id": 78, "s": 99 if worst == 0 else -99, "v": "y"}, ("78", 0))
    now = ["y", *best[:2]] if operator == "$topN" else [*best[1:], "y"]
    assert (state.value(), state.text()) == (now, real_text(now))
    state.remove(ahead)
    assert state.value() == best


def real_text(value: Any) -> bytes:
    return ejson.encode(value)


def test_contributions_of_one_document_at_one_place_stay_in_their_order() -> None:
    one = accumulator("$topN")
    state = state_of(one)
    for index in (2, 0, 1):
        put(state, one, {"_id": 1, "s": 1, "v": index}, ("1", index))
    assert state.value() == [0, 1, 2]


def test_a_token_says_the_same_where_no_row_would_show_another_value() -> None:
    def tokens(operator: str, *values: Any) -> list[Token]:
        return [token_of(accumulator(operator), {"_id": 1, "s": 1, "v": value}, ("1", 0)) for value in values]

    alike = [("$sum", 1, 1), ("$sum", "a", None), ("$min", 1, 1.0), ("$addToSet", {"a": 1}, {"a": Int64(1)}),
             ("$min", None, Undefined()), ("$topN", "a", "a")]  # fmt: skip
    other = [("$sum", 1, 1.0), ("$sum", 1, 2), ("$avg", Decimal128("1"), Decimal128("1.0")), ("$max", 1, 2),
             ("$addToSet", {"a": 1}, {"b": 1}), ("$topN", 1, 1.0), ("$topN", [1], [1])]  # fmt: skip
    for cases, expected in ((alike, True), (other, False)):
        for operator, one, another in cases:
            first, second = tokens(operator, one, another)
            assert first.same(second) is expected, (operator, one, another)


def test_what_is_held_is_weighed() -> None:
    long = "x" * 5000
    for operator in ("$min", "$addToSet", "$topN"):
        small, large = (token_of(accumulator(operator), {"_id": 1, "v": value}, ("1", 0)) for value in ("x", long))
        assert large.size - small.size >= 4999, operator
    assert token_of(accumulator("$sum"), {"_id": 1, "v": long}, ("1", 0)).size < 1000
    assert Total().sum() == 0
