"""`core.dialect`: every difference has its answers, every answer its meaning, and what is not known is said by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from realtime.core.mql.dialect import NEWEST, PROBES, Dialect, Known, Probe, hear, known_of
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.language import BITS, FIELD_OPERATORS
from realtime.core.mql.pipelines.compiling import compile_pipeline
from tests.evaluated import evaluated

OLD, NEW = Dialect(any_decimal_has_bits=True), Dialect(any_decimal_has_bits=False)
(BITS_PROBE,) = [probe for probe in PROBES if probe.field == "any_decimal_has_bits"]
NEW_ANSWERS = {probe.field: known_of(probe, NEWEST).matched for probe in PROBES}
OPERANDS: dict[str, Any] = {
    "$in": [1], "$nin": [1], "$not": {"$eq": 1}, "$type": 1, "$regex": "a", "$mod": [2, 1], "$all": [1],
    "$elemMatch": {"$eq": 1},
}  # fmt: skip


def test_every_field_of_the_dialect_has_one_probe_and_its_newest_answer_is_the_default() -> None:
    assert sorted(probe.field for probe in PROBES) == sorted(one.name for one in fields(Dialect))
    for probe in PROBES:
        assert len(probe.known) >= 2
        assert len({known.matched for known in probe.known}) == len(probe.known)
        assert len({known.value for known in probe.known}) == len(probe.known)
        assert known_of(probe, NEWEST) is probe.known[-1]
        assert all(known.versions and known.words for known in probe.known)
        assert len(probe.name) <= 14  # a column of the doctor's


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_the_core_answers_every_probe_as_the_server_whose_dialect_it_speaks(probe: Probe) -> None:
    for known in probe.known:
        stages = [*map(dict, probe.stages), {"$match": dict(probe.filter)}]
        compiled = compile_pipeline(stages, dialect=Dialect(**{probe.field: known.value}))
        matched = {document["_id"] for document in evaluated(compiled, map(dict, probe.documents))}
        assert matched == known.matched
        assert compiled.asks == {probe.field}


@pytest.mark.parametrize("name", sorted(set(FIELD_OPERATORS) - {"$options"}))
def test_a_filter_asks_the_dialect_where_the_table_says_so_and_nowhere_else(name: str) -> None:
    concerned = {probe.field for probe in PROBES if name in probe.operators}
    condition = {name: OPERANDS.get(name, 1)}
    assert compile_filter({"a": condition}).asks == concerned
    for deep in (
        {"$or": [{"b": 1}, {"a": condition}]},
        {"a": {"$elemMatch": {"b": condition}}},
        {"a": {"$not": condition}},
    ):
        assert compile_filter(deep).asks == concerned


def test_a_server_is_understood_by_its_answer_alone() -> None:
    for known in BITS_PROBE.known:
        for before in (OLD, NEW):
            heard = hear({**NEW_ANSWERS, BITS_PROBE.field: known.matched}, before)
            assert heard.dialect.any_decimal_has_bits is known.value
            assert heard.odd == {}


def test_an_answer_that_no_row_has_is_named_and_taken_for_the_nearest() -> None:
    old = BITS_PROBE.known[0]
    first, *rest = sorted(old.matched)
    few = hear({**NEW_ANSWERS, BITS_PROBE.field: frozenset({first})}, OLD)
    assert few.dialect == NEW
    assert list(few.odd) == ["decimal bits"]
    assert f"{first} matched" in few.odd["decimal bits"]
    assert "as MongoDB 6.0.27" in few.odd["decimal bits"]
    most = hear({**NEW_ANSWERS, BITS_PROBE.field: frozenset(rest)}, NEW)
    assert most.dialect == OLD
    assert "as MongoDB 6.0.5" in most.odd["decimal bits"]
    other = hear({**NEW_ANSWERS, BITS_PROBE.field: old.matched | {"another"}}, NEW)
    assert (other.dialect, list(other.odd)) == (OLD, ["decimal bits"])


def test_between_two_answers_the_newer_is_taken() -> None:
    rows = (Known(frozenset("ab"), ("1",), 1, "old"), Known(frozenset(), ("2",), 2, "new"))
    probe = Probe("x", "x", frozenset(), (), {}, rows)
    assert probe.nearest(frozenset("a")).value == 2
    assert probe.nearest(frozenset("ab")).value == 1


def test_a_server_that_could_not_be_asked_goes_on_as_before() -> None:
    for before in (OLD, NEW):
        refused, silent = hear({BITS_PROBE.field: "not authorized"}, before), hear({}, before)
        assert refused.dialect == silent.dialect == before
        assert "not authorized" in refused.odd["decimal bits"]
        assert "not asked" in silent.odd["decimal bits"]


def test_a_probe_writes_nothing_and_takes_its_documents_as_they_are() -> None:
    for probe in PROBES:
        documents, *stages, match, shown = probe.pipeline
        assert stages == list(probe.stages)
        assert documents["$documents"]["$literal"] == list(map(dict, probe.documents))
        assert match == {"$match": probe.filter}
        assert shown == {"$project": {"_id": 1}}
        assert len({document["_id"] for document in probe.documents}) == len(probe.documents) > 0


def test_a_filter_is_compiled_again_only_where_another_dialect_means_another_thing() -> None:
    bits, plain = compile_filter({"a": {"$bitsAllSet": [63]}}), compile_filter({"a": 1})
    assert bits.spoken(NEWEST) is bits
    assert plain.spoken(OLD) is plain
    spoken = bits.spoken(OLD)
    assert spoken is not bits
    assert (spoken.source, spoken.dialect, spoken.canonical) == (bits.source, OLD, bits.canonical)
    nan = {"a": Decimal128("NaN")}
    assert (bits.matches(nan), spoken.matches(nan)) == (False, True)
    assert spoken.spoken(NEW).matches(nan) is False


ODD = [Decimal128(text) for text in ("NaN", "Infinity", "-Infinity", "1E+30", "-1E+6000", "5.5", "-1.5", "1E-6000")]


@pytest.mark.parametrize("name", sorted(BITS))
def test_a_decimal_that_is_no_integer_has_the_bits_of_one_on_an_older_server_and_none_on_a_newer(name: str) -> None:
    set_: list[dict[str, Any]] = [{name: mask} for mask in ([63], [1], 4)]
    for value in ODD:
        assert not any(compile_filter({"a": one}, dialect=NEW).matches({"a": value}) for one in [*set_, {name: []}])
    older = [any(compile_filter({"a": one}, dialect=OLD).matches({"a": value}) for one in set_) for value in ODD]
    assert older.count(True) >= 6
    for integer in (Decimal128("6"), Decimal128("-9223372036854775808"), 6, -1.0, b"\x06"):
        same = {compile_filter({"a": set_[1]}, dialect=dialect).matches({"a": integer}) for dialect in (OLD, NEW)}
        assert len(same) == 1


@pytest.mark.parametrize(
    ("mask", "matching", "others"),
    [
        (6, ["5.5", "6.5"], ["4.5", "7.5"]),  # to the nearest, ties to even
        ([63], ["NaN", "-NaN", "Infinity", "1E+30", "-1E+30", "9223372036854775807.5"], ["1.5", "1E-30"]),
    ],
)
def test_which_integer_an_older_server_takes_a_decimal_for(mask: Any, matching: list[str], others: list[str]) -> None:
    matches = compile_filter({"a": {"$bitsAllSet": mask}}, dialect=OLD).matches
    assert [text for text in [*matching, *others] if matches({"a": Decimal128(text)})] == matching
