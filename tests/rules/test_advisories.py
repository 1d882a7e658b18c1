"""Eight ways in which services of this kind have told people what was not theirs, each tried here.

Five are advisories of one peer in one year; three are of our own finding. Sabotage: `make sabotage`, rows "rules".
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.replica_set import ReplicaSet
from tests.rules.ruled import Person, Rules
from tests.rules.scene import ROOT, RULED, bearer, token, written
from tests.rules.twins import PROJECTIONS, SNEAKY, UPDATES
from tests.serving import Service, serving
from tests.wire import Frame, Wire, wired

pytestmark = pytest.mark.timeout(120)
FREE = {"read": True, "insert": True, "update": True, "delete": True}
ORDERS: dict[str, Any] = {
    "root": FREE,
    "customer": {
        "read": {"owner": "$user.sub"},
        "insert": {"owner": "$user.sub"},
        "update": {"owner": "$user.sub"},
        "delete": {"owner": "$user.sub"},
        "fields": {"hide": ["margin", "notes.internal", "lines.cost"]},
    },
    "regional": {"read": {"region": {"$in": "$user.claims.regions"}}, "fields": {"hide": ["pay"]}},
    "strict": {"read": {"region": {"$ne": "$user.claims.not"}}},
    "stricter": {"read": {"$nor": [{"region": "$user.claims.not"}]}},
    "strictest": {"read": {"region": {"$not": {"$in": "$user.claims.nots"}}}},
    "exact": {"read": {"region": "$user.claims.region"}},
}
RULES: Rules = {"orders": ORDERS, "members": {"root": FREE}, "open": {"*": {"read": True}}, "secrets": {"root": FREE}}
ANN, BOB = Person("ann", ("customer",)), Person("bob", ("customer",))
DOCUMENT: dict[str, Any] = {"owner": "ann", "region": "n", "team": "t1", "qty": 3, "title": "a"}
HIDDEN: dict[str, Any] = {"margin": "zq00000001z", "notes": {"internal": "zq00000002z", "open": "p"}}
SECRETS = ("zq00000001z", "zq00000002z", "zq00000003z")


@asynccontextmanager
async def ruling(replica_set: ReplicaSet, folder: Path, rules: Rules = RULES, **more: Any) -> AsyncIterator[Service]:
    """A service under these rules, its file at `rules.yaml` of the folder."""
    file = written(folder / "rules.yaml", rules)
    async with serving(replica_set, **{**RULED, "rules": str(file), **more}) as service:
        await known(service)
        yield service


async def known(service: Service) -> None:
    """Until the service knows its revocations, without which nobody is let in."""
    async with asyncio.timeout(30):
        while (await service.http.get("/v1/collections", headers=bearer(ROOT))).status_code == 503:
            await asyncio.sleep(0.05)


@pytest.fixture
async def service(replica_set: ReplicaSet, tmp_path: Path) -> AsyncIterator[Service]:
    async with ruling(replica_set, tmp_path) as running:
        yield running


@asynccontextmanager
async def connected(service: Service, person: Person) -> AsyncIterator[Wire]:
    async with wired(service.url, additional_headers=bearer(person)) as wire:
        yield wire


async def put(service: Service, *documents: dict[str, Any], collection: str = "orders") -> None:
    await asyncio.to_thread(service.database[collection].insert_many, [{**one} for one in documents])


async def fenced(service: Service, *wires: Wire) -> None:
    """Until everything that was written by now was told to these."""
    client = service.database.client
    with client.start_session() as session:
        await asyncio.to_thread(service.database.command, "ping", session=session)
        stamp = session.operation_time
        assert stamp is not None
    for wire in wires:
        position = f"{wire.frames[0]['position'][:8]}-{stamp.time << 32 | stamp.inc:016X}"
        assert (await wire.ask(type="ping", position=position))["type"] == "pong"


def told(wire: Wire, after: int = 0) -> list[Frame]:
    """What a connection was told of documents."""
    kinds = {"snapshot", "changes", "events"}
    return [frame for frame in wire.frames[after:] if frame["type"] in kinds]


def keys_told(frames: Iterable[Frame]) -> set[Any]:
    found = set()
    for frame in frames:
        found |= {one["_id"] for one in frame.get("documents", ())}
        found |= {one["key"] for one in (*frame.get("changes", ()), *frame.get("events", ())) if "key" in one}
    return found


# ------------------------------------------------------------------------ 1. data across a change of access


async def test_after_a_weaker_token_was_taken_nothing_comes_by_the_stronger_one(service: Service) -> None:
    """Writers never stop; from `authenticated` on nothing of the old grant follows."""
    strong = Person("ann", ("customer", "regional"), {"regions": ["n"]})
    await put(service, *({"_id": f"z{n}", **DOCUMENT, "owner": "zed", "n": 0} for n in range(20)))
    await put(service, {"_id": "mine", **DOCUMENT, "n": 0})
    async with connected(service, strong) as wire, writing(service) as written_so_far:
        view = await wire.subscribe("orders")
        await wire.subscribe("orders", id="e", mode="events")
        await wire.when(lambda: len(wire.of("changes")) > 30)
        assert len(view.documents) == 21
        answer = await wire.ask(type="auth", token=token(ANN))
        place = wire.frames.index(answer)
        assert answer["type"] == "authenticated"
        begun = written_so_far()
        await wire.until(lambda got: got["type"] == "live" and got["id"] == "s", after=place)
        await written_so_far.until(begun + 100)
        await fenced(service, wire)
    assert keys_told(told(wire, place)) == {"mine"}
    again = [frame for frame in wire.frames[place:] if frame["type"] == "subscribed" and frame["id"] == "s"]
    assert len(again) == 1
    assert again[0]["recovered"] is False
    assert again[0]["channel"] not in {
        frame["channel"] for frame in wire.frames[:place] if frame["type"] == "subscribed"
    }


async def test_after_a_stricter_rule_was_read_nothing_comes_by_the_old_one(service: Service, tmp_path: Path) -> None:
    await put(service, *({"_id": f"z{n}", **DOCUMENT, "owner": "zed", "n": 0} for n in range(20)))
    await put(service, {"_id": "mine", **DOCUMENT, "owner": "bob", "n": 0})
    person = Person("bob", ("regional", "customer"), {"regions": ["n"]})
    async with connected(service, person) as wire, writing(service) as written_so_far:
        await wire.subscribe("orders")
        await wire.subscribe("orders", id="e", mode="events")
        await wire.when(lambda: len(wire.of("changes")) > 30)
        written(tmp_path / "rules.yaml", {**RULES, "orders": {**ORDERS, "regional": {"read": {"region": "w"}}}})
        await service.realtime.reload_rules()
        place = len(wire.frames)
        await wire.until(lambda got: got["type"] == "live" and got["id"] == "s", after=0)
        begun = written_so_far()
        await written_so_far.until(begun + 100)
        await fenced(service, wire)
        # What was on its way when the rules changed may still have come; nothing does that was written afterwards.
        late = len(wire.frames)
        await written_so_far.until(written_so_far() + 100)
        await fenced(service, wire)
    assert place <= late
    assert keys_told(told(wire, late)) <= {"mine"}
    assert "mine" in keys_told(told(wire, place))
    newest = max(n for n, frame in enumerate(wire.frames) if frame["type"] == "subscribed" and frame["id"] == "s")
    assert keys_told(frame for frame in told(wire, newest) if frame["type"] != "events") == {"mine"}


class Count:
    """How many writes there were, and a wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self.stop = False

    def __call__(self) -> int:
        return self.count

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.count < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def writing(service: Service) -> AsyncIterator[Count]:
    """Every document of `orders` is changed, over and over, by another program."""
    count = Count()

    def run() -> None:
        while not count.stop:
            for one in list(service.database.orders.find({}, {"_id": 1})):
                service.database.orders.update_one({"_id": one["_id"]}, {"$inc": {"n": 1}})
                count.count += 1

    task = asyncio.create_task(asyncio.to_thread(run))
    try:
        yield count
    finally:
        count.stop = True
        await task


# ------------------------------------------------------------------- 2. identity incomplete at subscribe


@pytest.mark.parametrize(
    "person",
    [
        Person("eve", ("regional",)),
        Person("eve", ("regional",), {"regions": []}),
        Person("eve", ("regional",), {"regions": {"$gt": ""}}),
        Person("eve", ("regional",), {"regions": [{"$gt": ""}]}),
        Person("eve", ("regional",), {"regions": None}),
        Person("eve", ("exact",)),
        Person("eve", ("exact",), {"region": {"$ne": "x"}}),
        Person("eve", ("exact",), {"region": ["n", "s"]}),
        Person("eve", ("exact",), {"region": None}),
        Person("eve", ("strict",)),
        Person("eve", ("strict",), {"not": {"$gt": ""}}),
        Person("eve", ("strict",), {"not": ["x"]}),
        Person("eve", ("stricter",)),
        Person("eve", ("strictest",)),
        Person("eve", ("strictest",), {"nots": "x"}),
        Person("eve", ("strictest",), {"nots": []}),
    ],
    ids=str,
)
async def test_a_claim_that_is_missing_or_odd_opens_nothing(shared: Service, person: Person) -> None:
    async with connected(shared, person) as wire:
        view = await wire.subscribe("orders")
        listed = await shared.http.get(shared.documents, headers=bearer(person))
        assert view.documents == {}
        assert listed.json()["documents"] == []
        assert "zq" not in listed.text + "".join(wire.raw)


async def test_whoever_has_no_role_has_no_access_and_nobody_has_before_they_are_known(shared: Service) -> None:
    for person in (Person("eve"), Person("eve", ("nobody",)), Person("eve", ("$user.sub",)), Person("eve", ("*",))):
        async with connected(shared, person) as wire:
            answers = [
                await wire.ask(type="subscribe", id=f"s{mode}", mode=mode, collection="orders") for mode in MODES
            ]
            assert {answer["code"] for answer in answers} == {"forbidden"}
            allowed = await wire.ask(type="subscribe", id="open", collection="open")
            assert allowed["type"] == "subscribed"
        listed = await shared.http.get("/v1/collections", headers=bearer(person))
        assert "orders" not in listed.text
        assert "secrets" not in listed.text
    async with wired(shared.url) as wire:
        frames: list[Frame] = [
            {"type": "subscribe", "id": "a", "collection": "orders"},
            {"type": "subscribe", "id": "b", "collection": "open"},
            {"type": "insert", "id": "c", "collection": "orders", "document": {}},
        ]
        answers = [await wire.ask(**frame) for frame in frames]
    assert [answer["code"] for answer in answers] == ["unauthenticated"] * 3


MODES = ("query", "events")


@pytest.fixture(scope="module")
async def shared(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One for the tests that change nothing."""
    async with ruling(replica_set, tmp_path_factory.mktemp("rules")) as running:
        documents = [
            {"_id": "a1", **DOCUMENT, **HIDDEN, "pay": "hers", "lines": [{"sku": "s", "cost": "zq00000003z"}]},
            {"_id": "z1", **DOCUMENT, **HIDDEN, "owner": "zed", "qty": 0, "title": "zq00000003z"},
        ]
        await put(running, *documents)
        await put(running, {"_id": "zq00000003z"}, collection="secrets")
        yield running


# --------------------------------------------------------------------------- 3. a protected field, probed

PROBED = ("margin", "notes.internal", "lines.cost", "margin.deep", "notes", "lines", "lines.0.cost", "notes.0.internal")


@pytest.mark.parametrize("path", PROBED)
async def test_a_hidden_path_is_refused_wherever_an_answer_could_depend_on_it(shared: Service, path: str) -> None:
    filters: list[dict[str, Any]] = [
        {path: "zq00000001z"},
        {path: {"$gte": "zq"}},
        {path: {"$exists": True}},
        {path: {"$type": "string"}},
        {path: {"$regex": "^zq"}},
        {path: {"$not": {"$regex": "^zq"}}},
        {path: {"$in": ["zq00000001z"]}},
        {path: {"$elemMatch": {"$gte": "z"}}},
        {"$or": [{"title": "a"}, {"$nor": [{path: "x"}]}]},
        {"$expr": {"$gte": [f"${path}", "zq"]}},
    ]
    asked: list[dict[str, Any]] = [{"filter": one} for one in filters]
    asked += [{"sort": [[path, 1]], "limit": 5}, {"group": {"by": [path]}}]
    asked += [{"group": {"by": [], name: [path]}} for name in ("sum", "avg", "min", "max")]
    asked += [{"projection": {"title": 1, "x": f"${path}"}}]
    async with connected(shared, ANN) as wire:
        for number, one in enumerate(asked):
            answer = await wire.ask(type="subscribe", id=f"p{number}", collection="orders", **one)
            assert answer.get("code") == "forbidden", (one, answer)
        for one in filters:
            for mode in ("events",):
                answer = await wire.ask(type="subscribe", id="e", collection="orders", mode=mode, filter=one)
                assert answer.get("code") == "forbidden", (one, answer)
            wheres: list[dict[str, Any]] = [{"type": "update", "update": {"$set": {"title": "x"}}}, {"type": "delete"}]
            for write in wheres:
                answer = await wire.ask(**write, collection="orders", key="a1", where=one)
                assert answer.get("code") == "forbidden", (one, answer)
            listed = await shared.http.get(
                shared.documents, params={"filter": json.dumps(one), "count": "true"}, headers=bearer(ANN)
            )
            assert listed.status_code == 403, (one, listed.text)
        listed = await shared.http.get(shared.documents, params={"sort": path}, headers=bearer(ANN))
        assert listed.status_code == 403
        assert not any(secret in text for text in wire.raw for secret in SECRETS)


@pytest.mark.parametrize("number", range(len(SNEAKY)))
async def test_no_way_round_a_hidden_field_leads_there(shared: Service, number: int) -> None:
    """Two documents that look alike to ann get the same answer; whichever way it is, nothing hidden is in it."""
    async with connected(shared, ANN) as wire:
        for projection in (None, *PROJECTIONS[number % len(PROJECTIONS) :][:3]):
            more = {} if projection is None else {"projection": projection}
            await wire.ask(type="subscribe", id="s", collection="orders", filter=SNEAKY[number], **more)
            await wire.ask(type="unsubscribe", id="s")
        assert not any(secret in text for text in wire.raw for secret in SECRETS)


@pytest.mark.parametrize("write", [None, ["owner", "title", "status", "qty", "tags", "margin", "notes", "lines"]])
async def test_an_update_does_not_tell_what_a_hidden_field_holds(
    replica_set: ReplicaSet, tmp_path: Path, write: list[str] | None
) -> None:
    """Whatever operator: it is refused, or answers the same for two documents that differ in hidden values alone."""
    hidden: list[dict[str, Any]] = [
        {"margin": 1, "notes": {"open": "p", "internal": 1}, "lines": [{"sku": "s", "cost": 1}]},
        {"margin": "zq00000001z", "notes": {"open": "p"}, "lines": [{"sku": "s", "cost": [5]}]},
        {"margin": [1], "notes": {"open": "p", "internal": {"deep": 1}}, "lines": [{"sku": "s"}]},
        {"notes": {"open": "p", "internal": None}, "lines": [{"sku": "s", "cost": {"deep": 1}}]},
    ]
    refused = 0
    customer = {**ORDERS["customer"], "fields": {**ORDERS["customer"]["fields"], **({"write": write} if write else {})}}
    rules = {**RULES, "orders": {**ORDERS, "customer": customer}}
    async with ruling(replica_set, tmp_path, rules) as service, connected(service, ANN) as wire:
        for round_number, change in enumerate(UPDATES):
            answers = []
            for number, part in enumerate(hidden):
                key = f"u{round_number}-{number}"
                await put(service, {"_id": key, **DOCUMENT, **part})
                answer = await wire.ask(type="update", collection="orders", key=key, update=change)
                kept = {name: value for name, value in answer.items() if name not in {"id", "position", "key"}}
                answers.append(json.dumps(kept, sort_keys=True).replace(key, "KEY"))
            assert len(set(answers)) == 1, (change, answers)
            refused += '"code"' in answers[0]
        assert not any(secret in text for text in wire.raw for secret in SECRETS)
    assert 10 < refused < len(UPDATES)


# ------------------------------------------------------------ 4. state shared between concurrent subscribers


async def test_concurrent_subscribers_of_one_query_are_each_told_their_own(service: Service) -> None:
    people = [Person(f"p{n}", ("customer",)) for n in range(12)] + [
        Person(f"r{n}", ("regional",), {"regions": [region]}) for n, region in enumerate("nsn")
    ]
    await put(
        service,
        *(
            {
                "_id": f"{person.sub}-{n}",
                **DOCUMENT,
                **HIDDEN,
                "owner": person.sub,
                "region": "ns"[n % 2],
                "pay": "zq00000003z",
            }
            for person in people
            for n in range(3)
        ),
    )
    async with open_wires(service, people) as wires:
        async with asyncio.timeout(60):
            await asyncio.gather(*(wire.subscribe("orders") for wire in wires))
            await asyncio.gather(*(wire.subscribe("orders", id="e", mode="events") for wire in wires))
        for number in range(3):
            for person in people:
                change = {"$set": {"qty": number, "margin": f"zq0000001{number}z"}}
                await asyncio.to_thread(service.database.orders.update_many, {"owner": person.sub}, change)
        await fenced(service, *wires)
        for person, wire in zip(people, wires, strict=True):
            raw = "".join(wire.raw)
            if person.roles == ("customer",):
                assert keys_told(told(wire)) == {f"{person.sub}-{n}" for n in range(3)}
                assert "zq00000001z" not in raw
            else:
                regions = person.claims["regions"]
                assert {one["region"] for one in wire.views["s"].documents.values()} == set(regions)
                assert "zq00000003z" not in raw
                assert "zq00000001z" in raw
            assert len(told(wire)) > 4


@asynccontextmanager
async def open_wires(service: Service, people: list[Person]) -> AsyncIterator[list[Wire]]:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(service, person)) for person in people]


def ended(name: str, got: Frame) -> bool:
    return bool(got["type"] == "unsubscribed" and got["id"] == name)


# --------------------------------------------------------------- 5. a subscription left behind by a reused id


async def test_an_id_that_is_used_again_brings_nothing_of_what_it_named_before(service: Service) -> None:
    strong = Person("ann", ("customer", "regional"), {"regions": ["n"]})
    await put(service, {"_id": "mine", **DOCUMENT, "region": "w"}, {"_id": "z1", **DOCUMENT, "owner": "zed"})
    async with connected(service, strong) as wire:
        for mode in MODES:
            await wire.subscribe("orders", mode=mode, filter={"qty": 3})
            assert (await wire.ask(type="unsubscribe", id="s"))["type"] == "unsubscribed"
        await wire.subscribe("orders")
        await wire.subscribe("orders", id="e", mode="events")
        taken = await wire.ask(type="subscribe", id="s", collection="open")
        assert taken["code"] == "invalid_request"
        changed = len(wire.frames)
        assert (await wire.ask(type="auth", token=token(ANN)))["type"] == "authenticated"
        for name in "se":
            await wire.send(type="unsubscribe", id=name)
            await wire.until(partial(ended, name), after=changed)
        place = len(wire.frames)
        await wire.subscribe("orders")
        refused = await wire.ask(type="subscribe", id="e", collection="secrets", mode="events")
        assert refused["code"] == "forbidden"
        for number in range(10):
            for key in ("mine", "z1"):
                await asyncio.to_thread(
                    service.database.orders.update_one, {"_id": key}, {"$set": {"title": f"t{number}"}}
                )
        await fenced(service, wire)
        await asyncio.sleep(0.3)  # a frame of a group that should be gone has no event to await
    assert keys_told(told(wire, place)) == {"mine"}
    assert not [frame for frame in wire.frames[place:] if frame["type"] == "events"]


# --------------------------------------------------- 6. our own: a position and a key that another one was given


async def test_somebody_elses_position_and_query_key_bring_no_name_of_theirs(service: Service) -> None:
    """A recovery that names what was touched since would name documents of others as `leave`."""
    await put(service, *({"_id": f"{who}-{n}", **DOCUMENT, "owner": who} for who in ("ann", "bob") for n in range(5)))
    async with connected(service, ANN) as wire:
        await wire.subscribe("orders")
        hers = wire.of("subscribed")[0]["query"], wire.of("live")[0]["position"]
    async with connected(service, BOB) as wire:
        await wire.subscribe("orders")
        his = wire.of("subscribed")[0]["query"], wire.of("live")[0]["position"]
    assert hers[0] != his[0]
    for who in ("ann", "bob"):
        await asyncio.to_thread(service.database.orders.update_many, {"owner": who}, {"$set": {"qty": 7}})
        await asyncio.to_thread(service.database.orders.delete_one, {"_id": f"{who}-0"})
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": f"{who}-new", **DOCUMENT, "owner": who})
        await asyncio.to_thread(service.database.orders.delete_one, {"_id": f"{who}-new"})
    for query, position in (hers, his, ("0" * 32, his[1])):
        async with connected(service, BOB) as wire:
            await wire.subscribe("orders", query=query, position=position)
            await fenced(service, wire)
            assert all(key.startswith("bob-") for key in keys_told(told(wire)))
            assert "ann-" not in "".join(wire.raw)
        headers = {**bearer(BOB), "Accept": "text/event-stream", "Last-Event-ID": position}
        raw = await streamed(service, headers)
        assert "bob-1" in raw
        assert "ann-" not in raw


async def streamed(service: Service, headers: dict[str, str], path: str = "documents") -> str:
    """An event stream up to its third heartbeat."""
    raw = ""
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30) as http,
        http.stream("GET", f"/v1/collections/orders/{path}", headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            raw += f"{line}\n"
            if raw.count('"heartbeat"') == 3 or '"error"' in line:
                break
    return raw


async def test_what_a_stream_and_a_cursor_carry_is_nothing_for_somebody_else(service: Service) -> None:
    """The id of an event stream, the cursor of a page, given away by their owner: each opens nothing."""
    documents = [{"_id": f"{who}-{n}", **DOCUMENT, **HIDDEN, "owner": who} for who in ("ann", "bob") for n in range(5)]
    await put(service, *documents)
    page = await service.http.get(service.documents, params={"limit": "2", "sort": "title"}, headers=bearer(ANN))
    cursor = page.json()["next"]
    for coded in (cursor, *(base64.urlsafe_b64decode(cursor[:end] + "==") for end in (len(cursor) // 4 * 4,))):
        text = coded if isinstance(coded, str) else coded.decode("latin-1")
        assert "zq0" not in text
    params = {"limit": "2", "sort": "title", "after": cursor}
    theirs = await service.http.get(service.documents, params=params, headers=bearer(BOB))
    assert "ann-" not in theirs.text
    stream = await streamed(service, {**bearer(ANN), "Accept": "text/event-stream"})
    last = [line.removeprefix("id:").strip() for line in stream.splitlines() if line.startswith("id:")][-1]
    assert last
    taken = await streamed(service, {**bearer(BOB), "Accept": "text/event-stream", "Last-Event-ID": last})
    assert "bob-1" in taken
    assert "ann-" not in taken
    assert "zq0" not in stream + taken + page.text + theirs.text


# ----------------------------------------- 7. our own: what is not theirs answers as what is not there, to the letter


async def test_a_document_that_is_not_theirs_answers_as_one_that_is_not_there(service: Service) -> None:
    await put(service, {"_id": "zeds", **DOCUMENT, **HIDDEN, "owner": "zed", "n": 1})
    writes: list[dict[str, Any]] = [
        {"type": "update", "update": {"$set": {"title": "x"}}},
        {"type": "update", "update": {"$set": {"owner": "ann"}}},
        {"type": "update", "update": {"$inc": {"title": 1}}},
        {"type": "update", "update": {"$push": {"qty": 1}}},
        {"type": "update", "update": {"$set": {"title": "x"}}, "where": {"qty": 3}},
        {"type": "update", "update": {"$set": {"title": "x"}}, "where": {"qty": 4}},
        {"type": "replace", "document": {"owner": "ann"}},
        {"type": "replace", "document": {"owner": "ann"}, "where": {"qty": 3}},
        {"type": "delete"},
        {"type": "delete", "where": {"qty": 3}},
    ]
    http_writes: list[tuple[str, dict[str, Any]]] = [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"headers": {"If-None-Match": "*"}}),
        ("DELETE", {}),
        ("DELETE", {"headers": {"If-Match": "*"}}),
        ("PUT", {"json": {"owner": "ann"}}),
        ("PUT", {"json": {"owner": "ann"}, "headers": {"If-Match": "*"}}),
        ("PATCH", {"json": {"$set": {"title": "x"}}}),
        ("PATCH", {"json": {"$set": {"title": "x"}}, "headers": {"If-Match": '"0123456789abcdef"'}}),
    ]
    async with connected(service, ANN) as wire:
        for write in writes:
            answers = [await wire.ask(**write, id="same", collection="orders", key=key) for key in ("zeds", "none")]
            assert json.dumps(answers[0]).replace("zeds", "none") == json.dumps(answers[1]), write
            assert answers[0]["type"] == "error", write
    for method, more in http_writes:
        headers = {**bearer(ANN), **more.pop("headers", {})}
        answers_http = [
            await service.http.request(method, f"{service.documents}/{key}", headers=headers, **more)
            for key in ("zeds", "none")
        ]
        texts = [f"{one.status_code} {one.headers.get('etag')} {one.text}" for one in answers_http]
        assert texts[0].replace("zeds", "none") == texts[1], method
        assert answers_http[0].status_code in {404, 412}, (method, texts[0])
    stored = await asyncio.to_thread(service.database.orders.find_one, {"_id": "zeds"})
    assert stored == {"_id": "zeds", **DOCUMENT, **HIDDEN, "owner": "zed", "n": 1}


async def test_an_insert_onto_a_document_of_somebody_else_tells_that_the_key_is_taken_and_no_more(
    service: Service,
) -> None:
    await asyncio.to_thread(service.database.orders.create_index, "margin", unique=True, sparse=True)
    await put(service, {"_id": "zeds", **DOCUMENT, "owner": "zed", "margin": "zq00000001z"})
    async with connected(service, ANN) as wire:
        by_key = await wire.ask(type="insert", id="i", collection="orders", document={"_id": "zeds", "owner": "ann"})
        upserted = await wire.ask(
            type="replace", id="i", collection="orders", key="zeds", document={"owner": "ann"}, upsert=True
        )
        patched = await wire.ask(
            type="update", id="i", collection="orders", key="zeds", update={"$set": {"owner": "ann"}}, upsert=True
        )
    for answer in (by_key, upserted, patched):
        assert answer["code"] == "duplicate_key", answer
        assert "details" not in answer
        assert "zq0" not in json.dumps(answer)
        assert "index" not in answer["message"]
    assert by_key == upserted == patched
    assert await asyncio.to_thread(service.database.orders.count_documents, {"owner": "ann"}) == 0


# --------------------------------- 8. our own: names, counts and tags that move when only hidden things are changed


async def test_what_is_hidden_moves_no_count_no_tag_no_frame_and_no_name(service: Service) -> None:
    await put(service, {"_id": "mine", **DOCUMENT, **HIDDEN})
    await put(service, {"_id": "x"}, collection="secrets")
    async with connected(service, ANN) as wire:
        await wire.subscribe("orders")
        await wire.subscribe("orders", id="w", sort=[["qty", 1]], limit=5)
        await wire.subscribe("orders", id="g", group={"by": ["title"], "count": True})
        await wire.subscribe("orders", id="e", mode="events")
        await wire.subscribe("*", id="all", mode="events")
        first = await seen_by_http(service)
        place = len(wire.frames)
        database = service.database
        for change in ({"$set": {"margin": "zq00000009z"}}, {"$unset": {"notes.internal": ""}}, {"$inc": {"more": 0}}):
            if "$inc" not in change:
                await asyncio.to_thread(database.orders.update_one, {"_id": "mine"}, change)
        await put(service, {"_id": "zeds", **DOCUMENT, **HIDDEN, "owner": "zed"})
        await asyncio.to_thread(database.orders.update_one, {"_id": "zeds"}, {"$set": {"title": "zq00000001z"}})
        await asyncio.to_thread(database.orders.replace_one, {"_id": "zeds"}, {"owner": "yan"})
        await asyncio.to_thread(database.orders.delete_one, {"_id": "zeds"})
        await asyncio.to_thread(database.secrets.insert_one, {"_id": "y"})
        await asyncio.to_thread(database.secrets.drop)
        await asyncio.to_thread(database.zq00000003z.insert_one, {"_id": 1})
        await asyncio.to_thread(database.zq00000003z.rename, "zq00000002z")
        await asyncio.to_thread(database.zq00000002z.rename, "open")
        await fenced(service, wire)
        last = await seen_by_http(service)
    assert first == last
    moved = told(wire, place)
    names = {(one["op"], one["collection"], one.get("to")) for frame in moved for one in frame.get("events", ())}
    assert [frame for frame in moved if frame["type"] != "events"] == []
    assert not {name for name in names if name[1] not in {"open", "orders"} or name[2] not in {None, "open"}}
    assert not {name for name in names if name[1] == "orders"}
    assert not any(secret in text for text in wire.raw for secret in SECRETS)


async def seen_by_http(service: Service) -> list[str]:
    """What ann is shown of the document, its tag, the count, and which collections there are."""
    one = await service.http.get(f"{service.documents}/mine", headers=bearer(ANN))
    listed = await service.http.get(service.documents, params={"count": "true"}, headers=bearer(ANN))
    names = await service.http.get("/v1/collections", headers=bearer(ANN))
    found = listed.json()
    collections = [
        {name: value for name, value in each.items() if name != "position"} for each in names.json()["collections"]
    ]
    collections = [each for each in collections if each["name"] != "open"]
    return [one.text, one.headers["etag"], json.dumps([found["documents"], found["count"]]), json.dumps(collections)]
