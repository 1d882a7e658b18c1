"""Changes of access on real sockets: another token, other rules; at once, and where it changes nothing, not a frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.core.access.rules.model import Rules
from realtime.core.connection.session import Session
from realtime.errors import ConfigurationError
from realtime.hub.slicing import Slices
from realtime.web.entrance import changes
from tests.access.issuer import SECRET, signer
from tests.mongo.commands import until
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Frame, Wire, wired

SIGNER = signer("HS256")
RULES = """
orders:
  customer: {read: {owner: $user.sub}, fields: {hide: [margin]}}
  clerk: {read: {region: {$in: $user.claims.regions}}}
"""
OTHERS = RULES.replace("hide: [margin]", "hide: [margin, planted]")
ORDERS = [
    {"_id": 1, "owner": "ann", "region": "north", "margin": 5, "planted": "SECRET-1"},
    {"_id": 2, "owner": "bob", "region": "north", "margin": 6, "planted": "SECRET-2"},
    {"_id": 3, "owner": "ann", "region": "south", "margin": 7, "planted": "SECRET-3"},
]
SECONDS = 1.0
"""From a file that was written to rules that hold, on a machine with nothing else to do."""


def token(sub: str, *roles: str, **claims: Any) -> str:
    return SIGNER.token(sub=sub, roles=list(roles), **claims)


@pytest.fixture
async def service(replica_set: ReplicaSet, tmp_path: Path) -> AsyncIterator[Service]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100, "rules": rules}
    async with serving(replica_set, **asks) as running:
        running.database.orders.insert_many(ORDERS)
        yield running


def file_of(service: Service) -> Path:
    return Path(str(service.realtime.settings.rules))


@asynccontextmanager
async def connected(service: Service, sub: str, *roles: str, **claims: Any) -> AsyncIterator[Wire]:
    bearer = {"Authorization": f"Bearer {token(sub, *roles, **claims)}"}
    async with wired(service.url, additional_headers=bearer) as wire:
        yield wire


def of(wire: Wire, name: str, after: int = 0) -> list[Frame]:
    """The frames of one subscription."""
    return [frame for frame in wire.frames[after:] if frame.get("id") == name]


async def live_again(wire: Wire, name: str, after: int) -> None:
    await wire.until(lambda got: got["type"] == "live" and got["id"] == name, after=after)


async def fenced(wire: Wire) -> None:
    """Whatever was said to this connection by now has come."""
    assert (await wire.ask(type="ping"))["type"] == "pong"


async def test_a_token_with_other_claims_shows_what_they_let_and_one_with_the_same_is_not_seen(
    service: Service,
) -> None:
    async with connected(service, "ann", "clerk", regions=["north"]) as wire:
        view = await wire.subscribe("orders")
        other = await wire.subscribe("orders", id="other", filter={"owner": "ann"}, sort={"_id": 1})
        assert set(view.documents) == {"1", "2"}
        before = len(wire.frames)
        await wire.ask(type="auth", token=token("ann", "clerk", regions=["north"], exp=4_000_000_000))
        await fenced(wire)
        assert [frame["type"] for frame in wire.frames[before:]] == ["authenticated", "pong"]
        before, channel = len(wire.frames), view.channel
        await wire.ask(type="auth", token=token("ann", "clerk", regions=["south"]))
        await live_again(wire, "s", before)
        await live_again(wire, "other", before)
        assert [frame["type"] for frame in of(wire, "s", before)] == ["subscribed", "snapshot", "live"]
        assert view.channel != channel
        assert set(view.documents) == {"3"}
        assert set(other.documents) == {"3"}
        service.database.orders.update_one({"_id": 1}, {"$set": {"planted": "LATER"}})
        service.database.orders.insert_one({"_id": 4, "region": "south"})
        await wire.when(lambda: "4" in view.documents)
        assert "LATER" not in "".join(wire.raw)


async def test_rules_by_hand_hold_when_it_returns_and_are_told_to_whom_they_concern(service: Service) -> None:
    async with (
        connected(service, "ann", "customer") as ann,
        connected(service, "eve", "clerk", regions=["north"]) as eve,
    ):
        view = await ann.subscribe("orders")
        clerk = await eve.subscribe("orders")
        assert "planted" in view.documents["1"]
        file_of(service).write_text(OTHERS)
        before = len(ann.raw), len(eve.raw)
        await service.realtime.reload_rules()
        service.database.orders.update_one({"_id": 1}, {"$set": {"planted": "LATER", "n": 1}})
        await live_again(ann, "s", before[0])
        await ann.when(lambda: view.documents["1"].get("n") == 1)
        await eve.when(lambda: clerk.documents["1"].get("n") == 1)
        after = "".join(ann.raw[before[0] :])
        assert "LATER" not in after
        assert "SECRET" not in after
        assert "planted" not in view.documents["1"]
        assert [frame["type"] for frame in eve.frames[before[1] :]] == ["changes"], "nothing is different for others"


async def test_a_changed_file_is_taken_by_itself_and_a_bad_one_is_refused_whole_with_its_line(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    file = file_of(service)
    async with connected(service, "ann", "customer") as wire:
        view = await wire.subscribe("orders")
        file.write_text(f"{OTHERS}  spoilt: {{reads: true}}\n")
        for _ in range(100):
            if "refused" in caplog.text:
                break
            await asyncio.sleep(0.1)
        assert f"{file}:5:" in caplog.text
        with pytest.raises(ConfigurationError, match=f"{file}:5:"):
            await service.realtime.reload_rules()
        await fenced(wire)
        assert len(wire.of("subscribed")) == 1
        assert "planted" in view.documents["1"]
        file.write_text(OTHERS)
        await wire.until(lambda frame: frame["type"] == "subscribed", after=len(wire.frames))
        await wire.when(lambda: view.live and "planted" not in view.documents["1"])


async def test_who_may_read_no_more_is_unsubscribed_and_hears_nothing_after_it(service: Service) -> None:
    async with connected(service, "ann", "customer") as wire:
        view = await wire.subscribe("orders")
        by_margin = await wire.subscribe("orders", id="sorted", sort={"region": 1})
        file_of(service).write_text(RULES.replace("hide: [margin]", "hide: [region]"))
        await service.realtime.reload_rules()
        await wire.until(lambda frame: frame["type"] == "unsubscribed" and frame["id"] == "sorted")
        assert by_margin.ended is not None
        assert by_margin.ended["code"] == "forbidden"
        await wire.when(lambda: view.live and "region" not in view.documents["1"])
        file_of(service).write_text("orders: {nobody: {read: true}}\n")
        await service.realtime.reload_rules()
        before = len(wire.raw)
        service.database.orders.update_one({"_id": 1}, {"$set": {"planted": "LATER"}})
        async with connected(service, "eve", "nobody") as eve:
            seen = await eve.subscribe("orders")
            await eve.when(lambda: seen.documents["1"]["planted"] == "LATER")
        await fenced(wire)
        assert [frame["type"] for frame in wire.frames[before:]] in (["unsubscribed", "pong"], ["pong"])
        assert view.ended is not None
        assert view.ended["code"] == "forbidden"
        answer = await wire.ask(type="subscribe", id="s", collection="orders")
        assert answer["code"] == "forbidden", "the id is free, and the answer the same"


async def test_a_subscription_that_was_not_live_yet_begins_under_the_new_rules(service: Service) -> None:
    service.database.orders.insert_many(
        [{"_id": 1000 + n, "owner": "ann", "planted": "SECRET" * 20} for n in range(5000)]
    )
    async with connected(service, "ann", "customer") as wire:
        await wire.send(type="subscribe", id="s", collection="orders")
        file_of(service).write_text(OTHERS)
        await service.realtime.reload_rules()
        before = len(wire.raw)
        await fenced(wire)
        await wire.until(lambda frame: frame["type"] == "live", after=before)
        last = max(at for at, frame in enumerate(wire.frames) if frame["type"] == "subscribed")
        documents = [one for frame in wire.frames[last:] for one in frame.get("documents", ())]
        assert len(documents) == 5002
        assert not any("planted" in one for one in documents)


async def test_events_go_on_under_other_rules_from_where_they_were_each_once(service: Service) -> None:
    """Those of before by the old rules, those after by the new ones, and none twice, none missing."""
    insert = service.database.orders.insert_one
    async with connected(service, "ann", "customer") as wire:
        await wire.subscribe("orders", id="e", mode="events")
        for number in range(10, 40):
            if number == 25:
                await wire.until(lambda frame: any(one["key"] == 24 for one in frame.get("events", ())))
                file_of(service).write_text(OTHERS)
                await service.realtime.reload_rules()
            await asyncio.to_thread(insert, {"_id": number, "owner": "ann", "planted": f"SECRET-{number}"})
        await wire.until(lambda frame: any(one["key"] == 39 for one in frame.get("events", ())))
        kinds = [frame["type"] for frame in wire.frames if frame["type"] in {"subscribed", "live"}]
        told = [one for frame in wire.of("events") for one in frame["events"]]
        assert kinds == ["subscribed", "live"] * 2
        assert [one["key"] for one in told] == list(range(10, 40))
        assert ["planted" in one["document"] for one in told] == [True] * 15 + [False] * 15


async def events_of(service: Service, response: httpx.Response) -> AsyncIterator[tuple[str | None, Frame]]:
    last: str | None = None
    async for line in response.aiter_lines():
        if line.startswith("id:"):
            last = line[3:].strip()
        elif line.startswith("data:"):
            yield last, json.loads(line[5:])
            last = None


async def test_a_stream_begins_again_under_new_rules_and_a_position_of_before_is_none(service: Service) -> None:
    path = "/v1/collections/orders/documents"
    headers = {"Authorization": f"Bearer {token('ann', 'customer')}", "Accept": "text/event-stream"}
    async with service.http.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        told = events_of(service, response)
        kinds: list[str] = []
        old = ""
        while not kinds or kinds[-1] != "live":
            position, frame = await anext(told)
            kinds.append(frame["type"])
            old = position or old
        file_of(service).write_text(OTHERS)
        await service.realtime.reload_rules()
        position, frame = await anext(told)
        assert (frame["type"], position) == ("subscribed", "")
        _, frame = await anext(told)
        assert not any("planted" in one for one in frame["documents"])
        position, frame = await anext(told)
        assert frame["type"] == "live"
        assert position
    for last, recovered in ((old, False), (position, True)):
        again = {**headers, "Last-Event-ID": last}
        async with service.http.stream("GET", path, headers=again) as response:
            _, frame = await anext(events_of(service, response))
            assert (frame["type"], frame["recovered"]) == ("subscribed", recovered)


async def test_rules_of_an_application_are_exchanged_by_it_alone(replica_set: ReplicaSet, service: Service) -> None:
    with pytest.raises(ConfigurationError, match="reload_rules"):
        await service.realtime.reload_rules(Rules())
    service.realtime.rules_file = None
    with pytest.raises(ConfigurationError, match="reload_rules"):
        await service.realtime.reload_rules()
    bad = Rules.model_validate({"collections": {"orders": {"customer": {"read": {"$where": "1"}}}}})
    with pytest.raises(ConfigurationError, match="where"):
        await service.realtime.reload_rules(bad)
    async with connected(service, "ann", "customer") as wire:
        view = await wire.subscribe("orders")
        await service.realtime.reload_rules(Rules.model_validate({"collections": {"*": {"*": {"read": True}}}}))
        await wire.when(lambda: view.live and len(view.documents) == 3)


async def test_what_is_open_is_judged_ahead_in_slices(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the turn in which rules change nothing is compiled, and others had their turns before."""
    monkeypatch.setattr(changes, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(changes, "FORESIGHT_SECONDS", 60.0)
    judged: list[int] = []
    turns = 0
    query, exchange = Session._query, changes.exchange

    def judge(*args: Any) -> Any:
        judged.append(turns)
        return query(*args)

    def switch(*args: Any) -> None:
        before = len(judged)
        exchange(*args)
        assert len(judged) == before

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with connected(service, "ann", "customer") as ann, connected(service, "bob", "customer") as bob:
        views = [await wire.subscribe("orders", id=f"s{n}") for wire in (ann, bob) for n in range(5)]
        told = [len(wire.frames) for wire in (ann, bob)]
        monkeypatch.setattr(Session, "_query", judge)
        monkeypatch.setattr(changes, "exchange", switch)
        counting = asyncio.create_task(count())
        file_of(service).write_text(OTHERS)
        await service.realtime.reload_rules()
        counting.cancel()
        assert len(judged) == 10
        assert len(set(judged)) == 10, "one in a turn"
        for wire, before in zip((ann, bob), told, strict=True):
            for n in range(5):
                await live_again(wire, f"s{n}", before)
        assert all("planted" not in one for view in views for one in view.documents.values())


async def test_between_the_turn_in_which_rules_change_and_its_slice_a_subscription_obeys_the_new_ones(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unsubscribed, gone with its connection, exchanged again; beside it a new one, a list and a write."""
    gate, each = asyncio.Event(), Slices.each

    async def held(self: Slices, items: Iterable[Any], take: Callable[[Any], None]) -> None:
        if self is service.realtime.live().hub._subscriptions.successions._slices:
            await gate.wait()
        await each(self, items, take)

    monkeypatch.setattr(Slices, "each", held)
    own = service.realtime.live().hub.roster.count
    again = OTHERS.replace("planted]", "planted, note]")
    database, bearer = service.database, {"Authorization": f"Bearer {token('ann', 'customer')}"}
    database.orders.update_many({}, {"$set": {"note": "NOTED"}})
    async with connected(service, "ann", "customer") as ann:
        views = [await ann.subscribe("orders", id=name) for name in ("stays", "left", "used")]
        await ann.when(lambda: all(view.documents["1"].get("note") for view in views))
        async with connected(service, "ann", "customer") as gone:
            await gone.subscribe("orders")
            before, told = len(ann.frames), len(ann.raw)
            file_of(service).write_text(OTHERS)
            await service.realtime.reload_rules()
        database.orders.update_one({"_id": 1}, {"$set": {"planted": "LATER"}})
        pong = await ann.ask(type="ping")
        assert pong["type"] == "pong"
        for name in ("left", "used"):
            await ann.ask(type="unsubscribe", id=name)
        refused = await ann.ask(type="subscribe", id="new", collection="orders", filter={"planted": "LATER"})
        assert refused["code"] == "forbidden"
        view = await ann.subscribe("orders", id="used", filter={"_id": 1})
        assert "planted" not in view.documents["1"]
        listed = await service.http.get("/v1/collections/orders/documents", headers=bearer)
        assert listed.status_code == 200
        assert "LATER" not in listed.text
        written = {"type": "insert", "id": "w", "collection": "orders", "document": {"owner": "ann"}}
        assert (await ann.ask(**written))["code"] == "forbidden"
        assert of(ann, "stays", before) == [], "it is silent"
        file_of(service).write_text(again)
        await service.realtime.reload_rules()
        gate.set()
        await live_again(ann, "stays", before)
        await ann.when(lambda: "note" not in view.documents["1"])
        await fenced(ann)
        kinds = [frame["type"] for frame in of(ann, "stays", before)]
        assert kinds == ["subscribed", "snapshot", "live"], "of the rules that hold by now alone"
        assert [frame["type"] for frame in of(ann, "left", before)] == ["unsubscribed"]
        assert views[0].documents.keys() == {"1", "3"}
        assert all("note" not in one for one in views[0].documents.values())
        assert "LATER" not in "".join(ann.raw[told:])
        await until(lambda: service.realtime.live().hub.roster.count == own + 2)
