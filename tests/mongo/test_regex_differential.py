"""Regular expressions against MongoDB's own: the same texts found, the same patterns refused.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core.bson.stored import CODEC
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.regex import PatternError, compile_regex
from realtime.errors import ServiceError
from tests.chance import fresh_seed
from tests.mongo.grammar import SHARES, pairs
from tests.mongo.patterns import Patterns
from tests.replica_set import ReplicaSet

TEXTS, PATTERNS, EACH = 100, 100, 25
"""`EACH`: of so many patterns one is no pattern, and one of a construct that is refused here by name."""
PAIRS = pairs(100_000)


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_regex_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def found_by_mongodb(collection: Collection[dict[str, Any]], pattern: str, options: str) -> set[int] | str:
    query = {"a": {"$regex": pattern, "$options": options}}
    try:
        return {document["_id"] for document in collection.find(query, {"_id": 1})}
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))


def store(collection: Collection[dict[str, Any]], texts: set[str]) -> dict[int, str]:
    stored = dict(enumerate(sorted(texts)))
    collection.delete_many({})
    collection.insert_many([{"_id": key, "a": text} for key, text in stored.items()])
    return stored


def difference(texts: dict[int, str], pattern: str, options: str, theirs: set[int] | str) -> str | None:
    """What is decided otherwise; None for a refusal by name, which is no difference."""
    try:
        search = compile_regex(pattern, options)
    except PatternError as error:
        return None if isinstance(theirs, str) or error.construct else f"{pattern!r} {options}: refused here: {error}"
    if isinstance(theirs, str):
        return f"{pattern!r} {options}: refused there: {theirs}"
    ours = {key for key, text in texts.items() if search(text)}
    wrong = sorted(ours ^ theirs)
    return f"{pattern!r} {options}: {texts[wrong[0]]!r}, here {wrong[0] in ours}" if wrong else None


@SHARES
def test_patterns_find_what_mongodb_finds(collection: Collection[dict[str, Any]], share: float) -> None:
    seed, wanted = fresh_seed(), round(PAIRS * share)
    patterns = Patterns(random.Random(seed), refused=0.05)
    differences: list[str] = []
    counts: Counter[str] = Counter()
    while counts["pairs"] < wanted:
        texts = store(collection, {patterns.text() for _ in range(TEXTS)})
        counts["batches"] += 1
        for number in range(PATTERNS):
            pattern, options = made(patterns, number), patterns.options()
            theirs = found_by_mongodb(collection, pattern, options)
            found = difference(texts, pattern, options, theirs)
            differences += [found] if found is not None else []
            count(counts, pattern, options, theirs, len(texts))
    print(f"\nseed {seed}: {dict(counts)}")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}\n" + "\n".join(differences[:5])
    assert 0.25 <= counts["matching"] / counts["pairs"] <= 0.75, f"seed {seed}: {counts}"
    # Made on purpose: what chance adds to them may be nothing.
    assert counts["batches"] >= 1
    assert counts["refused by name"] >= counts["batches"] * PATTERNS // EACH, f"seed {seed}: {counts}"
    assert counts["refused by both"] >= counts["batches"] * PATTERNS // EACH, f"seed {seed}: {counts}"


@SHARES
def test_patterns_capture_what_mongodb_captures(collection: Collection[dict[str, Any]], share: float) -> None:
    """All that `$regexFindAll` gives: texts, places in characters, and what each group holds."""
    seed, wanted = fresh_seed(), round(PAIRS * share)
    patterns = Patterns(random.Random(seed))
    counts: Counter[str] = Counter()
    while counts["pairs"] < wanted:
        texts = store(collection, {patterns.text() + patterns.text() for _ in range(TEXTS)})
        for _ in range(PATTERNS):
            find = {
                "input": "$a",
                "regex": {"$literal": patterns.pattern()},
                "options": {"$literal": patterns.options()},
            }
            source = {"$regexFindAll": find}
            try:
                expression = compile_expression(source)
            except ServiceError:
                counts["refused"] += 1
                continue
            theirs = {row["_id"]: row["r"] for row in collection.aggregate([{"$project": {"r": source}}])}
            for key, text in texts.items():
                ours = expression.value({"a": text})
                assert [list(one.items()) for one in ours] == [list(one.items()) for one in theirs[key]], (
                    f"seed {seed}: {source}: {text!r}, here {ours}, there {theirs[key]}"
                )
                counts["found"] += len(ours) > 0
                counts["captured"] += any(one["captures"] for one in ours)
            counts["pairs"] += len(texts)
    print(f"\nseed {seed}: {dict(counts)}")  # noqa: T201 - the figures are shown with the test
    assert counts["found"] >= counts["pairs"] * 0.3, f"seed {seed}: {counts}"
    assert counts["captured"] >= counts["pairs"] * 0.002, f"seed {seed}: {counts}"


def made(patterns: Patterns, number: int) -> str:
    """The next pattern of a batch."""
    if number % EACH == 0:
        return patterns.broken()
    return patterns.refused_by_name() if number % EACH == 1 else patterns.pattern()


def count(counts: Counter[str], pattern: str, options: str, theirs: set[int] | str, texts: int) -> None:
    try:
        compile_regex(pattern, options)
    except PatternError:
        counts["refused by both" if isinstance(theirs, str) else "refused by name"] += 1
    else:
        counts["pairs"] += texts
        counts["matching"] += len(theirs)


SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2028\u2029\u202f\u3000\ufeff"
DIGITS = "0٠०０²½Ⅷ"


def test_every_class_holds_the_same_characters(collection: Collection[dict[str, Any]]) -> None:
    """All of ASCII and Latin, every space and some digits, and every letter that has another case."""
    cased = {
        chr(code) for code in range(0x250, 0x1F000) if not 0xD800 <= code < 0xE000 and chr(code).swapcase() != chr(code)
    }
    texts = store(collection, {chr(code) for code in range(0x250)} | set(SPACES) | set(DIGITS) | cased)
    patterns = [
        "\\d",
        "\\w",
        "\\s",
        ".",
        "\\b",
        "[a-z]",
        "[^a-z]",
        "k",
        "s",
        "[^k]",
        "[^S]",
        "[!-~]",
        "\\W",
        "\\S",
        "^$",
    ]
    differences = [
        found
        for pattern in patterns
        for options in ("", "i", "s", "is")
        for found in [difference(texts, pattern, options, found_by_mongodb(collection, pattern, options))]
        if found is not None
    ]
    assert differences == []
    assert len(texts) > 2000


def test_letters_fold_as_mongodb_folds_them(collection: Collection[dict[str, Any]]) -> None:
    """A hundred letters of every run's own choice, those with peculiar cases always."""
    seed = fresh_seed()
    cased = [
        chr(code) for code in range(0x80, 0x1F000) if not 0xD800 <= code < 0xE000 and chr(code).swapcase() != chr(code)
    ]
    texts = store(collection, set(cased) | set("kKsS\u212aſ"))
    chosen = [*random.Random(seed).sample(cased, 100), *"kKsSÅåΣσςΘθϑВвСсДОТЪѢꙊǅﬅßİı"]
    taken = 0
    for letter in chosen:
        found = difference(texts, f"^{letter}$", "i", found_by_mongodb(collection, f"^{letter}$", "i"))
        assert found is None, f"seed {seed}: {found}"
        taken += _taken(letter)
    assert taken >= 60, f"seed {seed}: {taken}"


def _taken(letter: str) -> bool:
    try:
        compile_regex(letter, "i")
    except PatternError:
        return False
    return True


def test_a_wrong_pattern_would_be_seen() -> None:
    texts = {1: "a", 2: "b"}
    assert difference(texts, "a", "", {1}) is None
    assert "here True" in (difference(texts, "a|b", "", {1}) or "")
    assert "here False" in (difference(texts, "a", "", {1, 2}) or "")
    assert "refused there: no" in (difference(texts, "a", "", "no") or "")
    assert "refused here" in (difference(texts, "(", "", {1}) or "")
    assert difference(texts, "(?=a)", "", {1}) is None
    assert difference(texts, "(", "", "no") is None
