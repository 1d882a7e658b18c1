"""60 random filters at once over random writes: after each step every view is what `find` gives at that position.

Writes go by REST and by another program, with every update operator, in transactions too; a third of the views have
a projection. REALTIME_TEST_SEED repeats a run. Sabotage: `make sabotage`, rows "filter".
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure, WriteError

from realtime.core.bson import ejson
from realtime.core.bson.stored import CODEC
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.updates import OPERATORS
from realtime.errors import ServiceError
from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.mongo.differential import raw_of, read
from tests.mongo.grammar import NAMES, Grammar
from tests.mongo.schemas import Schemas
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, key_text, wired

FILTERS, STEPS, DOCUMENTS = 60, 120, 25
NEEDS = {
    **dict.fromkeys(("$inc", "$mul", "$min", "$max"), "number"),
    "$bit": "int",
    **dict.fromkeys(("$push", "$addToSet", "$pop", "$pull", "$pullAll"), "array"),
    **dict.fromkeys(("$rename", "$unset"), "string"),
}
"""The type of what an operator changes."""
KINDS = [*sorted(OPERATORS), "insert", "replace", "delete", "transaction", "REST POST", "REST PUT", "REST PATCH",
         "REST DELETE"]  # fmt: skip
"""What is done at least once; after that everything by chance."""
pytestmark = pytest.mark.timeout(120)

Document = dict[str, Any]


class Chaos:
    """Random writes by another program and by REST. `done`: what was carried out, by name."""

    def __init__(self, service: Service, grammar: Grammar, collection: str = "docs") -> None:
        self.http = service.http
        self.client = service.database.client
        self.collection = service.database.get_collection(collection, codec_options=CODEC)
        self.grammar = grammar
        self.chance = grammar.chance
        self.done: Counter[str] = Counter()
        self.time = 0

    def find(self, *asked: Any) -> Iterator[Document]:
        """What MongoDB finds, read as it is stored."""
        return read(raw_of(self.collection).find(*asked))

    async def of(self, name: str) -> None:
        """One write of this kind, tried until it changes something."""
        for _ in range(100):
            if name.startswith("REST"):
                await self.by_rest(name.removeprefix("REST "))
            else:
                with self.client.start_session() as session:
                    if name == "transaction":
                        self.transaction(session)
                    else:
                        self.attempt(self.named(name), session)
                    self.note(session)
            if self.done[name]:
                return

    def named(self, name: str) -> Callable[[ClientSession], None]:
        plain = {"insert": self.insert, "replace": self.replace, "delete": self.delete}
        return plain[name] if name in plain else partial(self.update, name=name)

    async def step(self) -> None:
        """One write, or a transaction of several."""
        dice = self.chance.random()
        if dice < 0.3:
            await self.by_rest()
            return
        with self.client.start_session() as session:
            if dice < 0.45:
                self.transaction(session)
            else:
                self.attempt(self.chance.choice(self.writes()), session)
            self.note(session)

    def note(self, session: ClientSession) -> None:
        assert session.operation_time is not None
        self.time = session.operation_time.time << 32 | session.operation_time.inc

    def transaction(self, session: ClientSession) -> None:
        try:
            with session.start_transaction():
                for _ in range(self.chance.randrange(2, 7)):
                    self.chance.choice(self.writes())(session)
        except (OperationFailure, BulkWriteError):
            self.done["aborted"] += 1
        else:
            self.done["transaction"] += 1

    def attempt(self, write: Callable[[ClientSession], None], session: ClientSession) -> None:
        try:
            write(session)
        except (WriteError, OperationFailure, BulkWriteError):
            self.done["refused"] += 1

    def writes(self) -> list[Callable[[ClientSession], None]]:
        return [self.insert, self.replace, self.update, self.update, self.update, self.update_many, self.positional,
                self.pipeline, self.delete]  # fmt: skip

    def key(self) -> int:
        return self.chance.randrange(DOCUMENTS * 2)

    def document(self, key: int) -> Document:
        made = self.grammar.document(key)
        del self.grammar.documents[0]  # filters are made already; operands come from what is there now
        return made

    def path(self) -> str:
        names = [self.chance.choice(NAMES) for _ in range(self.chance.choice([1, 1, 1, 2, 3]))]
        return ".".join(names)

    def insert(self, session: ClientSession) -> None:
        key = self.key()
        if self.collection.find_one({"_id": key}, {"_id": 1}, session=session) is None:
            self.collection.insert_one(self.document(key), session=session)
            self.done["insert"] += 1

    def replace(self, session: ClientSession) -> None:
        key = self.key()
        result = self.collection.replace_one({"_id": key}, self.document(key), session=session)
        self.done["replace"] += result.modified_count

    def update(self, session: ClientSession, name: str = "") -> None:
        name, update = self.operators(name)
        upsert = name == "$setOnInsert" or self.chance.random() < 0.1
        query: Document = {"_id": self.key()}
        if name in NEEDS:
            # A document, by chance one of the later ones, that has there what this operator changes.
            (path,) = update[name]
            query = {path: {"$type": NEEDS[name]}, "_id": {"$gte": self.chance.randrange(DOCUMENTS // 2)}}
            upsert = False
            if name == "$pullAll":
                # Values by chance are hardly ever in an array: the first element of one is.
                held = self.collection.find_one({**query, f"{path}.0": {"$exists": True}}, session=session)
                if held is not None:
                    query, update = {"_id": held["_id"]}, {name: {path: held[path][:1]}}
        result = self.collection.update_one(query, update, upsert=upsert, session=session)
        self.done[name] += bool(result.modified_count or result.upserted_id is not None)

    def update_many(self, session: ClientSession) -> None:
        name, update = self.operators()
        result = self.collection.update_many({"_id": {"$lt": self.key()}}, update, session=session)
        self.done[f"{name} of many"] += bool(result.modified_count)

    def positional(self, session: ClientSession) -> None:
        name = self.chance.choice(NAMES)
        query = {name: {"$type": "number"}, f"{name}.0": {"$exists": True}}
        change = {"$set": {f"{name}.$": self.grammar.scalar()}}
        result = self.collection.update_one(query, change, session=session)
        self.done["positional"] += result.modified_count

    def pipeline(self, session: ClientSession) -> None:
        one, other = self.chance.sample(NAMES[:3], 2)
        change: list[Document] = [{"$set": {one: f"${other}"}}, {"$unset": other}]
        result = self.collection.update_one({"_id": self.key()}, change, session=session)
        self.done["pipeline"] += result.modified_count

    def delete(self, session: ClientSession) -> None:
        self.done["delete"] += self.collection.delete_one({"_id": self.key()}, session=session).deleted_count

    def operators(self, name: str = "") -> tuple[str, dict[str, Any]]:
        """An update of one operator that has a chance to change something."""
        name, path = name or self.chance.choice(sorted(OPERATORS)), self.path()
        if name in NEEDS:
            path = self.chance.choice(NAMES)
        value, number = self.grammar.value(2), self.chance.choice([1, -2, 0.5, 7])
        operand: Any = {
            "$inc": number,
            "$mul": number,
            "$unset": "",
            "$rename": f"{self.chance.choice(NAMES)}.{self.chance.choice(NAMES)}",
            "$currentDate": True,
            "$push": {"$each": [value, number], "$position": 0, "$slice": 5} if number != 1 else value,
            "$addToSet": {"$each": [value, number]},
            "$pop": 1 if number > 0 else -1,
            "$pull": {"$type": ["string", "number", "object"]},
            "$pullAll": [1, 2, 3, 5, "a", "b", None, number],
            "$bit": {"xor": 5},
        }.get(name, value)
        return name, {name: {path: operand}}

    # -------------------------------------------------------------------------------------------------------- REST

    async def by_rest(self, kind: str = "") -> None:
        """What REST refuses, as operators in a document, changes nothing."""
        key = self.key()
        # Extended JSON, so that the key is the number.
        documents = f"/v1/collections/{self.collection.name}/documents"
        url = f"{documents}/%7B%22%24numberInt%22%3A%22{key}%22%7D"
        kind = kind or self.chance.choice(["POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"])
        body: Any = self.operators()[1] if kind == "PATCH" else self.document(key)
        if kind == "POST":
            url = documents
        content = None if kind == "DELETE" else ejson.encode(body)
        answer = await self.http.request(kind, url, content=content)
        assert answer.status_code < 500, answer.text
        if answer.is_success:
            self.done[f"REST {kind}"] += 1
            self.time = int(answer.json()["position"][9:], 16)
        else:
            self.done["refused by REST"] += 1


def chosen(
    grammar: Grammar, stored: list[Document], *, projected: bool | None = None, schema: bool = False
) -> tuple[Document, Document]:
    """A filter that some of the documents match and some do not, and for every third a projection that shows `_id`.

    `schema`: one by `$jsonSchema`.
    """
    while True:
        source = Schemas(grammar).filter() if schema else grammar.filter()
        try:
            share = sum(map(compile_filter(source).matches, stored)) / len(stored)
            if not 0.1 <= share <= 0.9:
                continue
            wanted = grammar.chance.random() < 0.33 if projected is None else projected
            shown = grammar.projection() if wanted else {}
            if "_id" not in compile_projection(shown).apply({"_id": 1}):
                continue
        except ServiceError:
            continue
        # As the service will read it: relaxed, where a small int64 becomes an int32.
        return ejson.decode(ejson.encode(source)), ejson.decode(ejson.encode(shown))


def expected(chaos: Chaos, source: Document, shown: Document, whole: dict[str, Any]) -> dict[str, Any]:
    """What `find` gives, from the whole documents where there is no projection."""
    found = chaos.find(source, shown or {"_id": 1})
    if not shown:
        return {key: whole[key] for key in (key_text(document["_id"]) for document in found)}
    return as_json(found)


def as_json(documents: Iterable[Document]) -> dict[str, Any]:
    plain = [json.loads(ejson.encode(document)) for document in documents]
    return {key_text(document["_id"]): document for document in plain}


async def followed(
    wire: Wire,
    chaos: Chaos,
    asked: list[tuple[dict[str, Any], dict[str, Any]]],
    writes: Iterable[Callable[[], Awaitable[None]]],
    seed: str,
) -> tuple[int, int]:
    """A live view for each filter and projection, every one of them `find`'s after every write.

    How many were compared, and how many documents were in them.
    """
    views = []
    for number, (source, shown) in enumerate(asked):
        fields = json.loads(ejson.encode({"filter": source, "projection": shown}))
        views.append(await wire.subscribe("docs", id=f"s{number}", **fields))
    compared = held = 0
    for step, write in enumerate(writes):
        await write()
        await fence(wire, chaos.time)
        whole = as_json(chaos.find())
        for view, (source, shown) in zip(views, asked, strict=True):
            wanted = expected(chaos, source, shown, whole)
            where = f"{seed}, step {step}: {ejson.encode(source).decode()} {ejson.encode(shown).decode()}"
            assert view.documents == wanted, where
            compared += 1
            held += len(wanted)
    return compared, held


async def test_every_view_is_what_find_gives_after_every_step(replica_set: ReplicaSet, say: Say) -> None:
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed), odd=())
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        chaos = Chaos(service, grammar)
        chaos.collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
        stored = list(chaos.find())
        asked = [chosen(grammar, stored, schema=number % 5 == 0) for number in range(FILTERS)]
        kinds = iter(KINDS)

        async def write() -> None:
            kind = next(kinds, None)
            await (chaos.step() if kind is None else chaos.of(kind))

        compared, held = await followed(wire, chaos, asked, [write] * STEPS, f"seed {seed}")
        ops = Counter(change["op"] for frame in wire.of("changes") for change in frame["changes"])
        assert wire.of("resync") == []
    say(f"seed {seed}: {compared} views, {held} documents in them, {dict(ops)}, {dict(chaos.done)}")
    assert compared == FILTERS * STEPS
    assert held / compared > 1
    assert min(ops["enter"], ops["update"], ops["leave"]) >= 100
    assert [name for name in KINDS if not chaos.done[name]] == []


ALONE, ALONE_STEPS = 12, 30


@pytest.mark.long("as many comparisons as the one above, query by query")
async def test_a_view_that_shares_its_collection_with_none_is_as_exact(replica_set: ReplicaSet, say: Say) -> None:
    """Here nobody else's need reads a document: what the filter and the projection say of an update decides alone."""
    seed = fresh_seed()
    chance = random.Random(seed)
    compared = 0
    ops: Counter[str] = Counter()
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        for number in range(ALONE):
            grammar = Grammar(chance, odd=())
            chaos = Chaos(service, grammar, f"docs{number}")
            chaos.collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
            source, shown = chosen(grammar, list(chaos.find()), projected=number % 2 == 0, schema=number % 3 == 0)
            fields = json.loads(ejson.encode({"filter": source, "projection": shown}))
            view = await wire.subscribe(chaos.collection.name, id=f"s{number}", **fields)
            for step in range(ALONE_STEPS):
                for _ in range(3):
                    with service.database.client.start_session() as session:
                        chaos.attempt(chaos.update_many, session)
                        chaos.attempt(partial(chaos.update, name="$set"), session)
                        chaos.note(session)
                await fence(wire, chaos.time)
                wanted = expected(chaos, source, shown, as_json(chaos.find()))
                where = f"seed {seed}, step {step}: {ejson.encode(source).decode()} {shown}"
                assert view.documents == wanted, where
                compared += 1
        ops.update(change["op"] for frame in wire.of("changes") for change in frame["changes"])
        assert wire.of("resync") == []
    say(f"seed {seed}: {compared} views, {dict(ops)}")
    assert compared == ALONE * ALONE_STEPS
    assert min(ops["enter"], ops["update"], ops["leave"]) >= 20


async def fence(wire: Wire, reached: int) -> None:
    """Until every view is at or after this cluster time."""
    position = f"{wire.frames[0]['position'][:8]}-{reached:016X}"
    answer = await wire.ask(type="ping", position=position)
    assert answer["type"] == "pong", answer


STALL_SECONDS = 0.02


async def test_a_pattern_made_to_backtrack_stalls_nobody(replica_set: ReplicaSet, say: Say) -> None:
    """FAULTS 18: `(a+)+$` against 50 KB. A stall is CPU that the loop's thread takes between two turns of a ticker."""
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        view = await wire.subscribe("docs", filter={"text": {"$regex": "(a+)+$"}})
        stalls: list[float] = []
        ticking = asyncio.create_task(tick(stalls))
        for key in range(0, 10, 2):
            await fence(wire, await asyncio.to_thread(insert_two, service, key))
        ticking.cancel()
        await asyncio.wait([ticking])
        assert sorted(view.documents) == ["1", "3", "5", "7", "9"]
    say(f"longest stall {max(stalls) * 1000:.1f} ms in {len(stalls)} turns")
    assert len(stalls) >= 10
    assert max(stalls) <= STALL_SECONDS


def insert_two(service: Service, key: int) -> int:
    """One that no backtracking could decide, one that matches; the cluster time after both."""
    with service.database.client.start_session() as session:
        service.database.docs.insert_one({"_id": key, "text": "a" * 50_000 + "!"}, session=session)
        service.database.docs.insert_one({"_id": key + 1, "text": "a" * 50_000}, session=session)
        assert session.operation_time is not None
        return session.operation_time.time << 32 | session.operation_time.inc


async def tick(stalls: list[float]) -> None:
    while True:
        began = time.thread_time()
        await asyncio.sleep(0.001)
        stalls.append(time.thread_time() - began)
