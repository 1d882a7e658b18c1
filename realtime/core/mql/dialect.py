"""What MongoDB's versions decide differently: how a server is asked, what was answered, and what the core does then.

A version number says little: a mend goes into several series at once, and others than MongoDB's own speak its protocol.
So each difference has a probe, documents and a filter for one `aggregate` that writes nothing; its answer is which of
them match. `PROBES` is the one table. A row more: a field of `Dialect`, its probe here, and the compiler that asks
`_Compiler.says` for it (realtime/core/mql/filters.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bson.decimal128 import Decimal128

from realtime.core.mql.language import BITS, SCHEMA


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the server at hand decides what servers decide differently. Unasked: as the newest that is known."""

    any_decimal_has_bits: bool = False
    """Whether `$bitsAllSet` and its relatives see bits in a decimal that is no whole number of 64 bits."""
    adds_pair_by_pair: bool = True
    """Whether `$add` adds one after the other, a double to a decimal by its 15 digits; else all doubles at once."""
    six_digits: bool = False
    """Whether a double becomes text with six digits."""
    empty_name_is_around: bool = False
    """Whether in `$jsonSchema` the schema of a field whose name is empty is one of the object around it."""

    top_enters_arrays: bool = True
    """Whether `$top` and its relatives sort by the elements of an array, as `$sort` does; else by the array."""

    def differs(self, other: Dialect) -> frozenset[str]:
        """The fields that are not the same."""
        return frozenset(one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name))


NEWEST = Dialect()

Answer = frozenset[str] | str
"""The documents that matched, by `_id`; or why the server could not be asked, in words."""


@dataclass(frozen=True, slots=True)
class Known:
    """An answer that was seen: which documents matched, on which versions, and what the dialect's field is then."""

    matched: frozenset[str]
    versions: tuple[str, ...]
    value: Any
    words: str

    @property
    def seen(self) -> str:
        """The versions, in words."""
        return f"as MongoDB {' and '.join(self.versions)}"


@dataclass(frozen=True, slots=True)
class Probe:
    """One difference: `name` in words, the `field` of the dialect, the operators it concerns, and what was seen."""

    name: str
    field: str
    operators: frozenset[str]
    documents: tuple[Mapping[str, Any], ...]
    filter: Mapping[str, Any]
    known: tuple[Known, ...]
    stages: tuple[Mapping[str, Any], ...] = ()
    """What is made of the documents before the filter is asked."""

    @property
    def pipeline(self) -> list[dict[str, Any]]:
        """For `aggregate` on the database, whose `$match` decides as `find` does. Its results have an `_id` alone."""
        documents = {"$literal": [dict(document) for document in self.documents]}
        made = [{"$documents": documents}, *map(dict, self.stages)]
        return [*made, {"$match": dict(self.filter)}, {"$project": {"_id": 1}}]

    def nearest(self, matched: frozenset[str]) -> Known:
        """The known answer that fewest documents differ from; of several the newest, which stands last."""
        return min(reversed(self.known), key=lambda known: len(known.matched ^ matched))


@dataclass(frozen=True, slots=True)
class Heard:
    """A dialect, and for people what is odd about the answers that it was made of, by the probe's name."""

    dialect: Dialect
    odd: Mapping[str, str]


def hear(answers: Mapping[str, Answer], before: Dialect = NEWEST) -> Heard:
    """The dialect of a server by its answers, by field. What it could not be asked stays as `before`."""
    dialect, odd = before, {}
    for probe in PROBES:
        answer = answers.get(probe.field, "it was not asked")
        if isinstance(answer, str):
            odd[probe.name] = f"MongoDB could not be asked ({answer}); it is taken to go on as before"
            continue
        nearest = probe.nearest(answer)
        dialect = replace(dialect, **{probe.field: nearest.value})
        if nearest.matched != answer:
            odd[probe.name] = (
                f"MongoDB answers as no version that is known here: {', '.join(sorted(answer)) or 'nothing'} matched; "
                f"it is treated {nearest.seen}, which is nearest: {nearest.words}"
            )
    return Heard(dialect, odd)


def known_of(probe: Probe, dialect: Dialect) -> Known:
    """The row of a probe that a dialect has taken."""
    return next(known for known in probe.known if known.value == getattr(dialect, probe.field))


# ------------------------------------------------------------------------------------------------------------ the table

_ODD_DECIMALS = {"NaN": "NaN", "Infinity": "Infinity", "beyond 64 bits": "1E+40", "a fraction": "-1.5"}
# Of the integers that 6.0.5 takes these for, bit 63 is set and bit 0 is clear.
_ASKED_BITS = {"$bitsAllSet": [63], "$bitsAnySet": [63], "$bitsAllClear": [0], "$bitsAnyClear": [0]}


def _bits_of_decimals() -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]:
    """Every operator on every kind of decimal, and the filter that asks each operator of its own documents."""
    documents = tuple(
        {"_id": f"{name} {kind}", "operator": name[1:], "c": Decimal128(text)}
        for name in BITS
        for kind, text in _ODD_DECIMALS.items()
    )
    return documents, {"$or": [{"operator": name[1:], "c": {name: _ASKED_BITS[name]}} for name in BITS]}


_documents, _filter = _bits_of_decimals()
PROBES: Sequence[Probe] = (
    Probe(
        name="decimal bits",
        field="any_decimal_has_bits",
        operators=frozenset(BITS),
        documents=_documents,
        filter=_filter,
        known=(
            Known(
                frozenset(str(document["_id"]) for document in _documents),
                versions=("6.0.5",),
                value=True,
                words="of a decimal that is no whole number of 64 bits (NaN, an infinity, a fraction, one beyond), the "
                "bit operators see the bits of some integer",
            ),
            Known(
                frozenset(),
                versions=("6.0.27",),
                value=False,
                words="a decimal that is no whole number of 64 bits (NaN, an infinity, a fraction, one beyond) has no "
                "bits, and matches no bit operator",
            ),
        ),
    ),
    Probe(
        name="sums",
        field="adds_pair_by_pair",
        operators=frozenset({"$add", "$subtract"}),
        documents=({"_id": "a double and a decimal", "a": 0.1, "b": Decimal128("0.1")},),
        filter={"$expr": {"$eq": [{"$add": ["$a", "$b"]}, Decimal128("0.2")]}},
        known=(
            Known(
                frozenset(),
                versions=("6.0.5",),
                value=False,
                words="`$add` takes all doubles together, with 34 digits where there is a decimal among the numbers; "
                "half a millisecond is cut from a date",
            ),
            Known(
                frozenset({"a double and a decimal"}),
                versions=("6.0.27",),
                value=True,
                words="`$add` adds one number after the other, and takes a double's first 15 digits to a decimal; half "
                "a millisecond moves a date",
            ),
        ),
    ),
    Probe(
        name="double texts",
        field="six_digits",
        operators=frozenset({"$toString", "$convert"}),
        documents=({"_id": "a third", "a": 1 / 3},),
        filter={"$expr": {"$eq": [{"$toString": "$a"}, "0.333333"]}},
        known=(
            Known(
                frozenset({"a third"}),
                versions=("6.0.5",),
                value=True,
                words="a double becomes text of six digits",
            ),
            Known(
                frozenset(),
                versions=("6.0.27",),
                value=False,
                words="a double becomes the shortest text that is read as the same one",
            ),
        ),
    ),
    Probe(
        name="empty names",
        field="empty_name_is_around",
        operators=frozenset({SCHEMA}),
        documents=({"_id": "a text", "": "x"},),
        # Of most other keywords `aggregate` decides otherwise than `find`: it leaves out what no path reads.
        filter={SCHEMA: {"properties": {"": {"additionalProperties": False}}}},
        known=(
            Known(
                frozenset(),
                versions=("6.0.5",),
                value=True,
                words="in `$jsonSchema`, the schema of a field whose name is empty is one of the object around it",
            ),
            Known(
                frozenset({"a text"}),
                versions=("6.0.27",),
                value=False,
                words="in `$jsonSchema`, a field whose name is empty is one as any other",
            ),
        ),
    ),
    Probe(
        name="top of arrays",
        field="top_enters_arrays",
        operators=frozenset({"$top", "$topN", "$bottom", "$bottomN"}),
        documents=({"_id": "an array", "a": [9, 1]}, {"_id": "a number", "a": 5}),
        stages=({"$group": {"_id": "of both", "first": {"$top": {"sortBy": {"a": 1, "_id": 1}, "output": "$_id"}}}},),
        filter={"first": "an array"},
        known=(
            Known(
                frozenset(),
                versions=("6.0.5",),
                value=False,
                words="`$top` and its relatives take an array for one value, behind all numbers",
            ),
            Known(
                frozenset({"of both"}),
                versions=("6.0.27",),
                value=True,
                words="`$top` and its relatives sort by the elements of an array, as `$sort` does",
            ),
        ),
    ),
)
