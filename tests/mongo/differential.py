"""Compiled filters beside the real `find`: what is compared, what is counted, and what is kept of a difference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import json_util
from bson.binary import UuidRepresentation
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core.bson import ejson, stored
from realtime.core.mql.dialect import NEWEST, PROBES, Dialect, hear
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.language import BSON_TYPES, FIELD_OPERATORS, LOGICAL
from realtime.core.mql.operators import type_code
from realtime.errors import ServiceError, UnsupportedOperatorError
from realtime.mongo.client import RAW
from tests.mongo.grammar import sayable

Documents = dict[int, dict[str, Any]]
VECTORS = Path(__file__).parents[1] / "vectors"
OPERATORS = sorted(FIELD_OPERATORS | LOGICAL)
TYPES = sorted(BSON_TYPES.keys() - {"undefined", "symbol", "dbPointer"})
"""Of operands; the deprecated ones are in documents alone."""
_NAMES = {code: name for name, code in BSON_TYPES.items()}
_CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)


@dataclass
class Tally:
    """What a run has shown; pairs are of a filter and a document."""

    dialect: Dialect = NEWEST
    pairs: int = 0
    matching: int = 0
    filters: int = 0
    both_refuse: int = 0
    we_refuse: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def count(self, source: dict[str, Any], matching: int, of: int) -> None:
        self.pairs += of
        self.matching += matching
        for word in words_of(source):
            self.hits[word] += matching
            self.misses[word] += of - matching

    def seldom(self, least: int = 200) -> list[str]:
        """Operators and types of operands with fewer pairs that match, or that do not."""
        return [word for word in [*OPERATORS, *TYPES] if min(self.hits[word], self.misses[word]) < least]

    def table(self) -> str:
        rows = [f"{word:20} {self.hits[word]:8} {self.misses[word]:8}" for word in [*OPERATORS, *TYPES]]
        reasons = [f"  {count:5} {reason}" for reason, count in self.we_refuse.most_common()]
        summary = (
            f"{self.filters} filters, {self.pairs} pairs, {self.matching / max(self.pairs, 1):.0%} match; "
            f"{self.both_refuse} refused by both, {self.we_refuse.total()} by us alone"
        )
        return "\n".join(
            [
                summary,
                *reasons,
                f"{'operator or type':20} {'match':>8} {'do not':>8}",
                *rows,
            ]
        )


def words_of(source: dict[str, Any]) -> set[str]:
    """The operators anywhere in a filter, and the types of its operands; a plain value at a path is `$eq`."""
    found: set[str] = set()
    for name, value in source.items():
        if name in LOGICAL and isinstance(value, list):
            found.add(name)
            for part in value:
                found |= words_of(part) if isinstance(part, dict) else set()
        elif name != "$comment":
            found |= _words_at(value)
    return found


def _words_at(value: Any) -> set[str]:
    if not (isinstance(value, dict) and next(iter(value), "").startswith("$")):
        return {"$regex" if isinstance(value, Regex) else "$eq", _type(value)}
    found = set(value) - {"$ref", "$id"}
    for name, operand in value.items():
        if name in {"$not", "$elemMatch"} and isinstance(operand, dict):
            inner = operand if next(iter(operand), "").startswith("$") else None
            found |= words_of(operand) if inner is None or next(iter(operand)) in LOGICAL else _words_at(inner)
        elif name in {"$in", "$nin", "$all"} and isinstance(operand, list):
            found |= {_type(element) for element in operand} | {_type(operand)}
        else:
            found.add(_type(operand))
    return found


def _type(value: Any) -> str:
    return _NAMES.get(type_code(value), "?")


# ---------------------------------------------------------------------------------------------------------- storing


def store(collection: Collection[dict[str, Any]], documents: Iterable[dict[str, Any]]) -> Documents:
    """The documents as MongoDB stores them and the service reads them, those among them that no driver can write."""
    collection.delete_many({})
    raw = raw_of(collection)
    raw.insert_many([RawBSONDocument(stored.encode(document)) for document in documents])
    return {document["_id"]: document for document in read(raw.find())}


def raw_of(collection: Collection[dict[str, Any]]) -> Collection[RawBSONDocument]:
    """The same collection, undecoded."""
    return collection.with_options(codec_options=RAW)


def read(found: Iterable[RawBSONDocument]) -> Iterator[dict[str, Any]]:
    """What the service makes of documents."""
    return (stored.decode(document.raw) for document in found)


# -------------------------------------------------------------------------------------------------------- comparing


def found_by_mongodb(collection: Collection[dict[str, Any]], source: dict[str, Any]) -> set[int] | str:
    """The keys that `find` gives, or what MongoDB says against the filter."""
    try:
        return {document["_id"] for document in collection.find(source, {"_id": 1})}
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))


def dialect_of(collection: Collection[dict[str, Any]]) -> Dialect:
    """What the server of a collection answers to the probes; every answer must be one that is known."""
    answers = {
        probe.field: frozenset(found["_id"] for found in collection.database.aggregate(probe.pipeline))
        for probe in PROBES
    }
    heard = hear(answers)
    assert not heard.odd, heard.odd
    return heard.dialect


def found_by_us(documents: Documents, source: dict[str, Any], dialect: Dialect) -> set[int] | ServiceError:
    try:
        matches = compile_filter(source, dialect=dialect).matches
    except ServiceError as error:
        return error
    return {key for key, document in documents.items() if matches(document)}


def compare(documents: Documents, source: dict[str, Any], theirs: set[int] | str, tally: Tally) -> None:
    """One filter against all documents; what we alone refuse is counted by its reason where it names one."""
    ours = found_by_us(documents, source, tally.dialect)
    tally.filters += 1
    if isinstance(ours, ServiceError):
        if isinstance(theirs, str):
            tally.both_refuse += 1
        elif isinstance(ours, UnsupportedOperatorError):
            tally.we_refuse[ours.message.partition("; what is")[0].partition("it ")[2]] += 1
        else:
            tally.differences.append(kept("filters", source, None, f"here: {ours.message}\n  there: accepted"))
        return
    if isinstance(theirs, str):
        tally.differences.append(kept("filters", source, None, f"here: accepted\n  there: {theirs}"))
        return
    tally.count(source, len(ours), len(documents))
    for key in sorted(ours ^ theirs)[:1]:
        whose = "here alone" if key in ours else "there alone"
        tally.differences.append(kept("filters", source, documents[key], f"matches {whose}"))


def kept(name: str, source: Any, document: Any, said: str) -> str:
    """A difference in words, and as a line for tests/vectors/ (which is replayed for ever once it is committed).

    A document that no driver writes is in words alone.
    """
    if sayable(document):
        VECTORS.mkdir(exist_ok=True)
        with (VECTORS / f"{name}.new.jsonl").open("a") as file:
            file.write(f"{text_of({'filter': source, 'document': document})}\n")
    shown = "" if document is None else f"\n  of: {ejson.encode(document).decode()}"
    return f"{ejson.encode(source).decode()}\n  {said}{shown}"


# ---------------------------------------------------------------------------------------------------------- vectors


def text_of(value: Any) -> str:
    """Canonical Extended JSON, on one line."""
    return json_util.dumps(value, json_options=_CANONICAL)


def vectors(name: str) -> Iterator[dict[str, Any]]:
    """The kept cases of a file, as the driver would decode them."""
    for line in (VECTORS / f"{name}.jsonl").read_text().splitlines():
        yield _decoded(json.loads(line))


def _decoded(case: Any) -> dict[str, Any]:
    return {name: ejson.decode(json.dumps(value)) for name, value in case.items()}
