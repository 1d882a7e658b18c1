"""Two databases that differ in hidden values alone, and one person who is asked to tell them apart.

Each step is drawn once and done in both: what somebody may see is equal, what is hidden from them is drawn anew for
each. Answers and frames are compared after every step, without what differs in any two databases.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.rules.readers import PATIENCE, patiently
from tests.rules.ruled import Person, Rules
from tests.rules.scene import bearer
from tests.serving import Service
from tests.wire import Wire, wired

CUSTOMER: dict[str, Any] = {
    "read": {"owner": "$user.sub"},
    "insert": {"owner": "$user.sub"},
    "update": {"owner": "$user.sub", "status": {"$ne": "closed"}},
    "delete": {"owner": "$user.sub"},
    "fields": {"hide": ["margin", "notes.internal", "lines.cost"]},
}
SHOW = ["owner", "status", "qty", "title", "tags", "notes.open", "lines.sku"]
SETUPS: dict[str, Rules] = {
    "hide": {"orders": {"customer": CUSTOMER}},
    "show": {"orders": {"customer": {**CUSTOMER, "fields": {"show": SHOW}}}},
    "write": {
        "orders": {
            "customer": {
                **CUSTOMER,
                "fields": {
                    **CUSTOMER["fields"],
                    "write": ["owner", "margin", "title", "qty", "notes", "lines", "tags"],
                },
            }
        }
    },
}
"""Three ways to hide the same; by the last what is hidden may be written."""
ANN = Person("ann", ("customer",))
KEYS = 24
HIDDEN = ("margin", "notes.internal", "lines.cost")
MORE = (*HIDDEN, "notes", "lines", "margin.deep")
SHOWN = ("title", "qty", "status", "notes.open", "lines.sku", "tags", "_id")
Step = Mapping[str, Any]
World = random.Random
"""Chance of one of the two databases alone: what is drawn from it is hidden."""

_VOLATILE = re.compile(r'"(position|as_of|wall_time|session|oldest)": ?("[^"]*"|\{[^}]*\})')
_NEXT = re.compile(r'"next":"([^"]+)"')
_TAG = re.compile(r"'etag': '(\"[^']+\")'")
_POSITION = re.compile(r"\b[0-9A-F]{8}-[0-9A-F]{16}\b")


def plain(text: str) -> str:
    """Without positions and dates, which no two databases have alike."""
    return _POSITION.sub("P", _VOLATILE.sub(r'"\1":"…"', text))


# ------------------------------------------------------------------------------------------------------- documents


def hidden_value(world: World) -> Any:
    """Something nobody but root sees: of any type, so that it fails where a value of another does not."""
    return world.choice(
        [
            f"hid{world.randrange(1 << 30):08x}den",
            world.randrange(100),
            0,
            None,
            [world.randrange(9), world.randrange(9)],
            {"deep": world.randrange(9)},
            world.random() < 0.5,
            [],
        ]
    )


def shown_part(dice: random.Random) -> dict[str, Any]:
    return {
        "status": dice.choice(["new", "open", "closed"]),
        "qty": dice.randrange(1, 9),
        "title": dice.choice("abcdef"),
        "tags": [dice.choice("xyz") for _ in range(dice.randrange(3))],
        "notes": {"open": dice.choice("pqr")},
        "lines": [{"sku": dice.choice("stu")} for _ in range(dice.randrange(3))],
    }


def with_hidden(shown: Mapping[str, Any], world: World, *, named: bool) -> dict[str, Any]:
    """A document of ann's: what she sees of it is the same in both worlds.

    `named`: where she is shown what is named alone, beside fields and elements she knows nothing of.
    """
    made = json.loads(json.dumps(shown))
    if world.random() < 0.8:
        made["margin"] = hidden_value(world)
    if world.random() < 0.8:
        made["notes"]["internal"] = hidden_value(world)
    for line in made["lines"]:
        line["cost"] = hidden_value(world)
    if named:
        for _ in range(world.randrange(3)):
            made["lines"].insert(world.randrange(len(made["lines"]) + 1), world.choice([5, "s", None]))
        made[f"more{world.randrange(9)}"] = hidden_value(world)
    return {**made, "owner": "ann"}


def unseen(world: World) -> dict[str, Any]:
    """A document of somebody else's: all of it may differ, also so that an expression or a sort fails of it."""
    made = {**shown_part(world), "owner": world.choice(["zed", "yan", None, ["zed"]]), "margin": hidden_value(world)}
    if world.random() < 0.4:
        made |= {"qty": hidden_value(world), "title": hidden_value(world), "tags": hidden_value(world)}
    return made


# ------------------------------------------------------------------------------------------------------------ steps


def conditions(dice: random.Random, paths: tuple[str, ...]) -> dict[str, Any]:
    """A condition on one of these paths, in one of the ways there are to ask something of a field."""
    path = dice.choice(paths)
    above, _, last = path.rpartition(".")
    asked: list[dict[str, Any]] = [
        {path: dice.choice(["a", "p", "s", "open", "x", 1, 5, None])},
        {path: {"$gt": dice.choice([0, 3, "b", "q"])}},
        {path: {"$in": ["a", "b", 1, 2, None]}},
        {path: {"$nin": ["a", "p", 3]}},
        {path: {"$exists": dice.random() < 0.5}},
        {path: {"$type": dice.choice(["string", "int", "array", "null"])}},
        {path: {"$regex": dice.choice(["^a", "p", "."])}},
        {path: {"$not": {"$gte": 2}}},
        {path: {"$mod": [2, 0]}},
        {path: {"$size": 2}},
        {"$nor": [{path: {"$lt": 4}}]},
        {"$or": [{path: 1}, {"title": "a"}]},
        {"$expr": {"$gt": [f"${path}", 2]}},
        {"$expr": {"$eq": [{"$type": f"${path}"}, "string"]}},
        {"$expr": {"$gt": [{"$divide": [6, "$qty"]}, 1]}},
        {"$jsonSchema": {"properties": {path.split(".")[0]: {"bsonType": dice.choice(["string", "object", "array"])}}}},
    ]
    if above:
        asked += [{above: {"$elemMatch": {last: {"$gte": 1}}}}, {f"{above}.0.{last}": {"$exists": True}}]
    return dice.choice(asked)


SNEAKY: tuple[dict[str, Any], ...] = (
    {"notes": {"open": "p"}},
    {"notes": {"$gt": {}}},
    {"notes": {"$exists": True}},
    {"lines": {"$size": 1}},
    {"lines": {"$elemMatch": {"cost": {"$exists": True}}}},
    {"lines": {"sku": "s"}},
    {"lines.0": {"$gt": {"sku": "s"}}},
    {"lines.0.cost": {"$gte": 3}},
    {"notes.0.internal": None},
    {"$jsonSchema": {"minProperties": 8}},
    {"$jsonSchema": {"maxProperties": 8}},
    {"$jsonSchema": {"required": ["margin"]}},
    {"$jsonSchema": {"additionalProperties": False, "properties": {"_id": {}, "owner": {}}}},
    {"$jsonSchema": {"patternProperties": {"^mar": {"bsonType": "string"}}}},
    {"$jsonSchema": {"properties": {"notes": {"required": ["internal"]}}}},
    {"$jsonSchema": {"properties": {"notes": {"minProperties": 2}}}},
    {"$jsonSchema": {"properties": {"lines": {"items": {"minProperties": 2}}}}},
    {"$jsonSchema": {"dependencies": {"title": ["margin"]}}},
    {"$jsonSchema": {"not": {"required": ["margin"]}}},
    {"$expr": {"$eq": [{"$type": "$margin"}, "missing"]}},
    {"$expr": {"$gt": [{"$size": {"$objectToArray": "$$ROOT"}}, 8]}},
    {"$expr": {"$gt": [{"$size": {"$objectToArray": "$$CURRENT"}}, 8]}},
    {"$expr": {"$gt": ["$$ROOT", {"_id": "k3"}]}},
    {"$expr": {"$gt": ["$$CURRENT.margin", 3]}},
    {"$expr": {"$gt": ["$$ROOT.notes.internal", 3]}},
    {"$expr": {"$let": {"vars": {"a": "$$ROOT"}, "in": {"$gt": ["$$a.margin", 3]}}}},
    {"$expr": {"$gt": [{"$getField": "margin"}, 3]}},
    {"$expr": {"$gt": [{"$getField": {"field": "margin", "input": "$$ROOT"}}, 3]}},
    {"$expr": {"$gt": [{"$getField": {"field": {"$concat": ["mar", "gin"]}, "input": "$$CURRENT"}}, 3]}},
    {"$expr": {"$gt": [{"$getField": {"field": "internal", "input": "$notes"}}, 3]}},
    {"$expr": {"$gt": [{"$size": {"$objectToArray": "$notes"}}, 1]}},
    {"$expr": {"$in": [1, {"$map": {"input": "$lines", "as": "l", "in": "$$l.cost"}}]}},
    {
        "$expr": {
            "$gt": [{"$reduce": {"input": "$lines", "initialValue": 0, "in": {"$max": ["$$value", "$$this.cost"]}}}, 2]
        }
    },
    {"$expr": {"$gt": [{"$first": "$lines"}, {"sku": "s", "cost": 3}]}},
    {"$expr": {"$gt": [{"$mergeObjects": ["$notes", {}]}, {"open": "p", "internal": 1}]}},
    {"$and": [{"title": {"$exists": True}}, {"$nor": [{"margin": {"$gt": 5}}]}]},
    {"margin.deep": {"$gte": 0}},
    {"margin.0": {"$gte": 0}},
    {"margin.": 1},
    {"notes.internal.deep": None},
    {"": {"$exists": False}},
    {"$expr": {"$divide": [1, {"$subtract": ["$qty", 3]}]}},
    {"qty": {"$bitsAllSet": 1}},
    {"tags": {"$all": ["x"]}},
)
"""Ways round a hidden field that have worked on somebody."""

PROJECTIONS: tuple[dict[str, Any], ...] = (
    {"margin": 1},
    {"notes.internal": 1},
    {"notes": 1},
    {"lines": 1, "title": 1},
    {"title": 0},
    {"lines.sku": 0},
    {"notes.open": 0},
    {"a": {"$add": ["$qty", 1]}, "title": 1},
    {"a": "$margin"},
    {"a": "$$ROOT"},
    {"a": "$notes"},
    {"a": {"$objectToArray": "$$ROOT"}},
    {"a": "$lines.cost"},
    {"title": "$margin"},
    {"notes": {"internal": 1}},
    {"notes": {"x": "$margin"}},
    {"a": {"$divide": [1, "$qty"]}},
)
UPDATES: tuple[dict[str, Any], ...] = (
    {"$set": {"margin": 3}},
    {"$unset": {"margin": ""}},
    {"$inc": {"margin": 1}},
    {"$mul": {"margin": 2}},
    {"$min": {"margin": 1}},
    {"$max": {"margin": 1}},
    {"$push": {"margin": 1}},
    {"$addToSet": {"margin": 1}},
    {"$pop": {"margin": 1}},
    {"$pull": {"margin": 1}},
    {"$pullAll": {"margin": [1]}},
    {"$bit": {"margin": {"or": 1}}},
    {"$rename": {"margin": "title"}},
    {"$rename": {"title": "margin"}},
    {"$rename": {"notes": "title"}},
    {"$rename": {"notes.internal": "shown"}},
    {"$set": {"notes.internal.deep": 1}},
    {"$set": {"margin.deep": 1}},
    {"$set": {"margin.0": 1}},
    {"$set": {"lines.0.cost": 1}},
    {"$set": {"lines.0": {"sku": "s"}}},
    {"$set": {"notes": {"open": "p"}}},
    {"$unset": {"notes": ""}},
    {"$push": {"lines": {"sku": "s"}}},
    {"$push": {"lines": {"$each": [], "$sort": {"cost": 1}}}},
    {"$push": {"lines": {"$each": [{"sku": "t"}], "$sort": {"cost": -1}, "$slice": 1}}},
    {"$push": {"lines": {"$each": [], "$sort": 1}}},
    {"$push": {"lines": {"$each": [], "$slice": 1}}},
    {"$addToSet": {"lines": {"sku": "s"}}},
    {"$pull": {"lines": {"cost": {"$gte": 3}}}},
    {"$pull": {"lines": {"sku": "s"}}},
    {"$pullAll": {"lines": [{"sku": "s", "cost": 1}]}},
    {"$pop": {"lines": 1}},
    {"$unset": {"lines.0": ""}},
    {"$currentDate": {"margin": True}},
    {"$setOnInsert": {"margin": 1}},
    {"$set": {"owner": "zed"}},
    {"$set": {"status": "closed"}},
    {"$set": {"qty": 4}},
    {"$inc": {"qty": 1}},
    {"$set": {"title": "b"}},
    {"$push": {"tags": "x"}},
    {"$addToSet": {"tags": "y"}},
    {"$unset": {"owner": ""}},
    {"$rename": {"owner": "title"}},
    {"$set": {"title": "c", "margin": 1}},
)


@dataclass(slots=True)
class Twin:
    """One of the two: a service, ann's connection to it, and chance of its own."""

    service: Service
    world: World
    wire: Wire
    http: httpx.AsyncClient
    seen: int = 0
    figures: dict[str, int] = field(default_factory=dict)

    async def http_answer(self, method: str, path: str, **asked: Any) -> str:
        """Status, headers that tell something, and body."""
        answer = await patiently(lambda: self.http.request(method, path, **asked))
        told = {name: answer.headers.get(name) for name in ("etag", "location", "content-type", "allow", "vary")}
        return plain(f"{answer.status_code} {told} {answer.text}")

    async def ask(self, frame: dict[str, Any]) -> str:
        answer = await self.wire.ask(**json.loads(json.dumps(frame)))
        return plain(json.dumps({name: value for name, value in answer.items() if name not in {"id", "channel"}}))

    async def frames(self) -> list[str]:
        """Everything that came since, up to now: of each moment what it says, in the order of subscriptions."""
        last = await self.newest()
        answer = await self.wire.ask(type="ping", position=last)
        assert answer["type"] == "pong", answer
        told = []
        for frame in self.wire.frames[self.seen :]:
            if frame["type"] in {"heartbeat", "pong", "welcome", "status", "result", "error"}:
                continue
            told.append(plain(json.dumps({name: value for name, value in frame.items() if name != "more"})))
        self.seen = len(self.wire.frames)
        return sorted(told)

    async def newest(self) -> str:
        """A position at or after everything that was written."""
        with self.service.database.client.start_session() as session:
            self.service.database.command("ping", session=session)
            stamp = session.operation_time
            assert stamp is not None
        epoch = self.wire.frames[0]["position"][:8]
        return f"{epoch}-{stamp.time << 32 | stamp.inc:016X}"


class Twins:
    """Both of them, in step."""

    def __init__(self, seed: int, *, named: bool = False) -> None:
        self.named = named
        self.dice = random.Random(seed)
        self.seed = seed
        self.both: list[Twin] = []
        self.differences: list[tuple[str, str, str]] = []
        self.kinds: dict[str, int] = {}
        self.refused = self.taken = 0
        self._stack = AsyncExitStack()
        self._open: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._made = 0

    async def begin(self, services: list[Service]) -> Self:
        for number, service in enumerate(services):
            world = random.Random(f"{self.seed} {number}")
            wire = await self._stack.enter_async_context(wired(service.url, additional_headers=bearer(ANN)))
            http = await self._stack.enter_async_context(
                httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, headers=bearer(ANN))
            )
            self.both.append(Twin(service, world, wire, http))
        for number in range(KEYS):
            self._raw_put(f"k{number}", hers=number % 2 == 0)
        return self

    async def end(self) -> None:
        await self._stack.aclose()

    def _raw_put(self, key: str, *, hers: bool) -> None:
        shown = shown_part(self.dice)
        for twin in self.both:
            document = with_hidden(shown, twin.world, named=self.named) if hers else unseen(twin.world)
            twin.service.database.orders.replace_one({"_id": key}, document, upsert=True)

    async def step(self) -> None:
        """One step in both, and what it came to."""
        kinds: dict[str, tuple[int, Callable[[], Any]]] = {
            "put": (4, self._put),
            "touch": (5, self._touch),
            "list": (5, self._list),
            "one": (3, self._one),
            "subscribe": (5, self._subscribe),
            "unsubscribe": (1, self._unsubscribe),
            "socket write": (5, self._socket_write),
            "http write": (5, self._http_write),
        }
        kind = self.dice.choices([*kinds], [weight for weight, _ in kinds.values()])[0]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        said, answers = await kinds[kind][1]()
        if answers:
            self.refused += '"code"' in answers[0]
            self.taken += '"code"' not in answers[0]
        self._compare(f"{kind}: {said}", answers)
        one, other = [await twin.frames() for twin in self.both]
        if one != other:
            only = [
                json.dumps([frame for frame in mine if frame not in theirs])
                for mine, theirs in ((one, other), (other, one))
            ]
            self._compare(f"frames after {kind}: {said}", only if only[0] != only[1] else [str(one), str(other)])

    def _compare(self, said: str, answers: list[str]) -> None:
        if answers and answers[0] != answers[1]:
            self.differences.append((said[:300], answers[0][:600], answers[1][:600]))

    async def _ask(self, said: dict[str, Any]) -> tuple[str, list[str]]:
        return json.dumps(said), [await twin.ask(said) for twin in self.both]

    async def _request(self, method: str, path: str, **asked: Any) -> tuple[str, list[str]]:
        said = f"{method} {path} {json.dumps(asked)}"
        return said, [await twin.http_answer(method, path, **asked) for twin in self.both]

    # What others write, by the driver: the hidden part is another one in each.

    async def _put(self) -> tuple[str, list[str]]:
        key = self._key()
        hers = self.dice.random() < 0.5
        self._raw_put(key, hers=hers)
        return f"{key} {hers}", []

    async def _touch(self) -> tuple[str, list[str]]:
        """Hidden fields alone of a document of hers; in one of the two it may not even change."""
        keys = [one["_id"] for one in self.both[0].service.database.orders.find({"owner": "ann"}, {"_id": 1})]
        key = self.dice.choice(sorted(keys, key=str)) if keys else "k0"
        path = self.dice.choice(["margin", "notes.internal", "unset"])
        for twin in self.both:
            change = {"$unset": {"margin": ""}} if path == "unset" else {"$set": {path: hidden_value(twin.world)}}
            twin.service.database.orders.update_one({"_id": key}, change)
        return f"{key} {path}", []

    # What ann asks.

    def _key(self) -> str:
        return f"k{self.dice.randrange(KEYS + 4)}"

    def _filter(self) -> dict[str, Any]:
        kind = self.dice.random()
        if kind < 0.35:
            return conditions(self.dice, SHOWN)
        if kind < 0.6:
            return conditions(self.dice, HIDDEN)
        return self.dice.choice(SNEAKY) if kind < 0.9 else {}

    def _path(self) -> str:
        return self.dice.choice((*SHOWN, *MORE) if self.dice.random() < 0.4 else SHOWN)

    async def _list(self) -> tuple[str, list[str]]:
        asked: dict[str, str] = {"filter": json.dumps(self._filter())}
        headers = {}
        if self.dice.random() < 0.4:
            asked["projection"] = json.dumps(self.dice.choice(PROJECTIONS))
        if self.dice.random() < 0.5:
            asked["sort"] = json.dumps([[self._path(), self.dice.choice([1, -1])]])
        if self.dice.random() < 0.3:
            headers["Accept"] = "application/x-ndjson"
        elif self.dice.random() < 0.5:
            asked["count"] = "true"
        if self.dice.random() < 0.3:
            asked["limit"] = str(self.dice.randrange(1, 6))
        if self.dice.random() < 0.2:
            asked["skip"] = str(self.dice.randrange(1, 4))
        path = "/v1/collections/orders/documents"
        said, answers = await self._request("GET", path, params=asked, headers=headers)
        if (found := _NEXT.search(answers[0])) and self.dice.random() < 0.7:
            self._compare(said, answers)
            asked.pop("skip", None)
            return await self._request("GET", path, params={**asked, "after": found[1]})
        return said, answers

    async def _one(self) -> tuple[str, list[str]]:
        method = self.dice.choice(["GET", "GET", "HEAD"])
        key = self._key()
        headers = {"If-None-Match": self._tags[key]} if key in self._tags and self.dice.random() < 0.5 else {}
        said, answers = await self._request(method, f"/v1/collections/orders/documents/{key}", headers=headers)
        if found := _TAG.search(answers[0]):
            self._tags[key] = found[1]
        return said, answers

    async def _subscribe(self) -> tuple[str, list[str]]:
        self._made += 1
        frame: dict[str, Any] = {"type": "subscribe", "id": f"s{self._made}", "collection": "orders"}
        kind = self.dice.choice(["query", "query", "window", "group", "events"])
        if self.dice.random() < 0.7:
            frame["filter"] = self._filter()
        if kind == "window":
            frame |= {"sort": [[self._path(), self.dice.choice([1, -1])]], "limit": self.dice.randrange(1, 6)}
        if kind == "group":
            frame["group"] = {"by": [self._path()], "count": True, "sum": [self._path()], "max": [self._path()]}
        elif self.dice.random() < 0.4:
            frame["projection"] = self.dice.choice(PROJECTIONS)
        if kind == "events":
            frame["mode"] = "events"
        said, answers = await self._ask(frame)
        if '"subscribed"' in answers[0]:
            self._open[frame["id"]] = said
        if len(self._open) > 12:
            await self._unsubscribe()
        return said, answers

    async def _unsubscribe(self) -> tuple[str, list[str]]:
        if not self._open:
            return "", []
        name = self.dice.choice(sorted(self._open))
        del self._open[name]
        return await self._ask({"type": "unsubscribe", "id": name})

    def _write(self) -> dict[str, Any]:
        kind = self.dice.choice(["insert", "replace", "update", "update", "update", "delete"])
        frame: dict[str, Any] = {"type": kind, "collection": "orders"}
        if kind != "insert":
            frame["key"] = self._key()
        if kind in {"insert", "replace"}:
            frame["document"] = {**shown_part(self.dice), "owner": self.dice.choice(["ann", "ann", "zed"])}
            if self.dice.random() < 0.2:
                frame["document"]["margin"] = 7
            if kind == "insert":
                frame["document"]["_id"] = self._key()
        if kind == "update":
            frame["update"] = self.dice.choice(UPDATES)
        if kind in {"replace", "update"} and self.dice.random() < 0.25:
            frame["upsert"] = True
        if kind != "insert" and self.dice.random() < 0.3:
            frame["where"] = self._filter()
        return frame

    async def _socket_write(self) -> tuple[str, list[str]]:
        return await self._ask(self._write())

    async def _http_write(self) -> tuple[str, list[str]]:
        frame = self._write()
        path = "/v1/collections/orders/documents"
        tag = self._tags.get(str(frame.get("key")), '"0123456789abcdef"')
        headers = {"If-Match": self.dice.choice([tag, tag, "*"])} if self.dice.random() < 0.3 else {}
        upsert = {"upsert": "true"} if frame.get("upsert") else {}
        if frame["type"] == "insert":
            return await self._request("POST", path, json=frame["document"])
        if frame["type"] == "delete":
            return await self._request("DELETE", f"{path}/{frame['key']}", headers=headers)
        method, body = ("PUT", frame["document"]) if frame["type"] == "replace" else ("PATCH", frame["update"])
        return await self._request(method, f"{path}/{frame['key']}", json=body, headers=headers, params=upsert)
