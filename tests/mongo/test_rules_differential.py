"""Rules and filters at random against the real `find`: what is found, which fields are shown, and that nothing tells.

A rule is of one share or of two, whose cuts differ. A filter that may be asked finds the same in a document and in
what is shown of it: so nothing that is hidden can be told from what is found.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson import stored
from realtime.core.bson.stored import CODEC
from realtime.core.bson.values import MISSING
from realtime.core.live.aggregate import value_at
from realtime.core.mql.cut import Cut
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.filters import Filter, compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import EVERYTHING as ALL
from realtime.core.mql.vision import Share, Vision
from realtime.errors import ForbiddenError, InvalidRequestError, ServiceError
from realtime.mongo import ruled
from tests.chance import fresh_seed
from tests.mongo.differential import Documents, dialect_of, raw_of, read, store
from tests.mongo.expressions import FIELDS, OPERANDS, Expressions
from tests.mongo.grammar import NAMES, SHARES, Grammar, pairs
from tests.mongo.schemas import Schemas
from tests.replica_set import ReplicaSet

DOCUMENTS, TURNS = 40, 40
PAIRS = pairs(5000)


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_rules_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def cut_of(chance: random.Random) -> Cut:
    """Paths of one or two names, none inside another."""
    letters = [name for name in NAMES if not name.isdigit()]
    chosen: list[str] = []
    for _ in range(chance.randrange(1, 4)):
        path = ".".join(chance.choice(letters) for _ in range(chance.choice([1, 2, 2])))
        if not any(f"{path}.".startswith(f"{one}.") or f"{one}.".startswith(f"{path}.") for one in chosen):
            chosen.append(path)
    dice = chance.random()
    return Cut() if dice < 0.15 else Cut(chosen) if dice < 0.6 else Cut(show=chosen)


def compiled(source: dict[str, Any], dialect: Dialect) -> Filter | None:
    try:
        return compile_filter(source, dialect=dialect)
    except ServiceError:
        return None


class Run:
    """What has been compared; `told` has a line for each difference."""

    def __init__(self, collection: Collection[dict[str, Any]], chance: random.Random) -> None:
        self.collection, self.chance = collection, chance
        self.dialect = dialect_of(collection)
        self.count: Counter[str] = Counter()
        self.told: list[str] = []

    def turn(self) -> None:
        grammar = Grammar(self.chance)
        documents = store(self.collection, [grammar.document(key) for key in range(DOCUMENTS)])
        for _ in range(TURNS):
            shares = [share for _ in range(self.chance.choice([1, 1, 2])) if (share := self.share(grammar))]
            source = {} if self.chance.random() < 0.2 else grammar.filter()
            asked = compiled(source, self.dialect)
            if shares and asked is not None:
                self.pair(documents, Vision.of(shares), asked, grammar)

    def share(self, grammar: Grammar) -> Share | None:
        rows = compiled(grammar.filter(), self.dialect)
        return None if rows is None else Share(rows, cut_of(self.chance))

    def pair(self, documents: Documents, vision: Vision, asked: Filter, grammar: Grammar) -> None:
        self.count["pairs"] += 1
        try:
            vision.check(asked, ALL)
        except ForbiddenError:
            self.count["forbidden"] += 1
            asked = compile_filter({})
        else:
            self.count["allowed"] += bool(asked.source)
            self.tells_nothing(documents, vision, asked)
        self.sorts_alike(documents, vision, grammar)
        rule = {"$or": [share.filter.source for share in vision.shares]}
        theirs = self.found({"$and": [rule, asked.source]})
        effective, shown = vision.ruled(asked), vision.projected(ALL)
        ours = {key: shown.apply(document) for key, document in documents.items() if effective.matches(document)}
        self.count["found"] += len(ours)
        self.count["left out"] += len(documents) - len(ours)
        self.same(vision, asked, "found", set(ours), set(theirs))
        self.same(vision, asked, "read", set(ours), self.by_command(effective))
        if len(vision.shares) == 1:
            cut = vision.shares[0].cut
            if not cut.whole:
                theirs = self.found({"$and": [rule, asked.source]}, cut.projection.source)
                self.count["cut"] += len(theirs)
            for key in ours.keys() & theirs.keys():
                if stored.repeats(documents[key]):
                    continue  # of equal names in one object the first is shown, where a part of that is cut
                self.same(vision, asked, "shown", stored.encode(ours[key]), stored.encode(theirs[key]))

    def tells_nothing(self, documents: Documents, vision: Vision, asked: Filter) -> None:
        for document in documents.values():
            seen = vision.shown(document)
            if seen is not None:
                self.count["compared"] += 1
                self.same(vision, asked, f"told {document}", asked.matches(document), asked.matches(seen))

    def sorts_alike(self, documents: Documents, vision: Vision, grammar: Grammar) -> None:
        path = grammar.path()
        if vision.shows(path) and vision.cuts:
            self.groups_alike(documents, vision, path)
        if not vision.sorts(path) or not vision.cuts:
            return
        try:
            sort = parse_sort([[path, 1]])
        except InvalidRequestError:
            return
        for document in documents.values():
            seen = vision.shown(document)
            if seen is not None:
                self.count["sorted"] += 1
                self.same(vision, path, f"sorted {document}", place(sort, document), place(sort, seen))

    def groups_alike(self, documents: Documents, vision: Vision, path: str) -> None:
        for document in documents.values():
            seen = vision.shown(document)
            if seen is not None:
                self.count["grouped"] += 1
                self.same(vision, path, f"grouped {document}", grouped(document, path), grouped(seen, path))

    def found(self, source: dict[str, Any], projection: Any = None) -> dict[int, Any]:
        return {document["_id"]: document for document in read(raw_of(self.collection).find(source, projection))}

    def by_command(self, effective: Filter) -> set[int]:
        """As the service asks."""
        command = ruled.reading("documents", {"filter": effective.asked, "batchSize": 1000}, effective.rule)
        found = self.collection.database.command(command, codec_options=raw_of(self.collection).codec_options)
        return {document["_id"] for document in read(found["cursor"]["firstBatch"])}

    def same(self, vision: Vision, asked: Any, what: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            shares = [(share.filter.source, share.cut) for share in vision.shares]
            self.told.append(f"{what}: {ours} and {theirs}\n  {getattr(asked, 'source', asked)}\n  {shares}")


def grouped(document: dict[str, Any], path: str) -> bytes:
    found = value_at(document, path)
    return b"" if found is MISSING else stored.encode({"": found})


def place(sort: Any, document: dict[str, Any]) -> Any:
    try:
        return sort.place(document)
    except InvalidRequestError as error:
        return error.message


@pytest.mark.timeout(600)
@SHARES
def test_a_rule_and_a_filter_find_what_find_finds_with_the_fields_cut(
    collection: Collection[dict[str, Any]], share: float
) -> None:
    chosen, wanted = fresh_seed(), round(PAIRS * share)
    run = Run(collection, random.Random(chosen))
    while run.count["pairs"] < wanted and len(run.told) < 20:
        run.turn()
    print(f"\nseed {chosen}: {dict(run.count)}")  # noqa: T201 - the figures are shown with the test
    assert not run.told, f"seed {chosen}\n" + "\n".join(run.told[:5])
    for what, least in {"found": 2, "left out": 10, "allowed": 0.1, "forbidden": 0.1, "cut": 1, "compared": 1}.items():
        assert run.count[what] >= least * wanted, f"seed {chosen}: {what}: {dict(run.count)}"
    for what in ("sorted", "grouped"):
        assert run.count[what] >= wanted / 2, f"seed {chosen}: {dict(run.count)}"


def outcome(asked: Filter, document: dict[str, Any]) -> Any:
    """What a filter that computes comes to: an answer, or the kind of its end without one."""
    try:
        return asked.matches(document)
    except ServiceError as error:
        return error.code, (error.details or {}).get("operator")


def computing(chance: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Documents, filters that compute, and the names that the documents have."""
    if chance.random() < 0.5:
        grammar = Grammar(chance)
        schemas = Schemas(grammar)
        documents = [schemas.document(key) for key in range(12)]
        return documents, [schemas.filter() for _ in range(30)], [name for name in NAMES if not name.isdigit()]
    made = Expressions(chance)
    names = list(OPERANDS)
    filters = [{"$expr": made.of(chance.choice(names), broken=chance.choice([0.0, 0.1]))} for _ in range(30)]
    return [made.document(key) for key in range(12)], filters, list(FIELDS.values())


@pytest.mark.timeout(600)
@SHARES
def test_what_is_computed_of_a_document_is_what_is_computed_of_its_cut(share: float) -> None:
    """Expressions and schemas that may be asked: their answer, or how they fail, tells nothing of what is hidden."""
    seed, count, told = fresh_seed(), Counter[str](), list[str]()
    chance, wanted = random.Random(seed), round(PAIRS * share)
    while count["allowed"] < wanted:
        documents, filters, names = computing(chance)
        for source in filters:
            some = chance.sample(names, min(len(names), chance.randrange(1, 4)))
            hidden = [chance.choice([name, f"{name}.a", f"{name}.b"]) for name in some]
            few = [name for name in names if name not in some] if chance.random() < 0.7 else some
            cut = Cut(hidden) if chance.random() < 0.5 else Cut(show=few)
            try:
                asked = compile_filter(source)
                Vision.of([Share(compile_filter({}), cut)]).check(asked, ALL)
            except ForbiddenError:
                count["forbidden"] += 1
                continue
            except ServiceError:
                continue  # what the language does not have, or what is wrong in it
            count["allowed"] += 1
            for document in documents:
                count["differ"] += cut.apply(document) != document
                ours, theirs = outcome(asked, document), outcome(asked, cut.apply(document))
                count[str(type(ours))] += 1
                if ours != theirs:
                    told.append(f"{ours} and {theirs}: {source}\n  {cut}\n  {document}")
        assert not told, f"seed {seed}\n" + "\n".join(told[:3])
    print(f"\nseed {seed}: {dict(count)}")  # noqa: T201 - the figures are shown with the test
    assert count["forbidden"] >= wanted / 5, count
    assert count["differ"] >= wanted, count
