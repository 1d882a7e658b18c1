"""Capped collections: what MongoDB gives no snapshot of is refused by name at once, and all else of them is served."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from realtime import metrics
from tests.exact.test_join import counted
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.streams import streaming
from tests.wire import Wire, wired

PATH = "/v1/collections/log/documents"
MOST = 3


@pytest.fixture(autouse=True)
def capped(service: Service) -> None:
    service.database.create_collection("log", capped=True, size=100_000, max=MOST)
    service.database["log"].insert_many([{"_id": n, "n": n} for n in range(MOST)])


def told(wire: Wire, name: str = "") -> list[tuple[str, Any]]:
    """Operation and key of the events of one replay, or of those told by channel."""
    frames = [frame for frame in wire.of("events") if frame.get("id", "") == name]
    return [(event["op"], event.get("key")) for frame in frames for event in frame["events"]]


@pytest.mark.parametrize(
    "fields", [{}, {"filter": {"n": 1}}, {"sort": [["n", 1]], "limit": 2}, {"group": {"by": []}}, {"throttle": 100}]
)
async def test_a_query_is_refused_by_name_at_once(service: Service, fields: dict[str, Any]) -> None:
    """It was `unavailable`, `retry: true`, for ever."""
    async with wired(service.url) as wire:
        answer = await wire.ask(type="subscribe", collection="log", **fields)
    assert (answer["code"], answer["retry"], answer["details"]) == (
        "unsupported_collection",
        False,
        {"collection": "log"},
    )
    assert "events" in answer["message"]


async def test_over_http_a_page_is_refused_and_names_what_gives_it(service: Service) -> None:
    page = await service.http.get(PATH)
    live = await service.http.get(PATH, headers={"Accept": "text/event-stream"})
    for answer in (page, live):
        assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (
            422,
            "unsupported_collection",
            False,
        )
        assert "NDJSON" in answer.json()["detail"]
    lines = await service.http.get(PATH, headers={"Accept": "application/x-ndjson"}, params={"sort": '[["n",-1]]'})
    assert [json.loads(line) for line in lines.text.splitlines()] == [
        *({"_id": n, "n": n} for n in reversed(range(MOST))),
        {"end": True},
    ]
    one = await service.http.get(f"{PATH}/%7B%22$numberInt%22:%222%22%7D")
    assert one.json() == {"_id": 2, "n": 2}
    listed = (await service.http.get("/v1/collections")).json()["collections"]
    assert ("log", MOST) in [(one["name"], one["count"]) for one in listed]


async def test_its_events_are_told_what_it_lets_go_among_them_and_an_update_goes_without_its_document(
    service: Service,
) -> None:
    """The update's document can be read at no time: the whole service stood still, for ever."""
    before = counted(metrics.LATER_READS)
    async with wired(service.url) as wire, wired(service.url) as other:
        await wire.subscribe("log", id="e", mode="events", operations=["insert", "update", "delete"])
        await other.subscribe("*", id="all", mode="events")
        view = await other.subscribe("plain", id="q")
        service.database["log"].update_one({"_id": 2}, {"$set": {"n": 7}})
        service.database["log"].insert_one({"_id": "new", "n": 1})
        service.database.plain.insert_one({"_id": "after"})
        service.database.plain.update_one({"_id": "after"}, {"$set": {"n": 1}})
        await other.when(lambda: [one.get("n") for one in view.documents.values()] == [1])
        await wire.when(lambda: ("insert", "new") in told(wire))
        await other.when(lambda: ("update", "after") in told(other))
        events = [event for frame in wire.of("events") for event in frame["events"]]
    update = next(event for event in events if event["op"] == "update")
    assert (update["key"], update["partial"], update["updated"]) == (2, True, ["n"])
    assert ("delete", 0) in told(wire)
    last = [event for frame in other.of("events") for event in frame["events"]][-1]
    assert (last["key"], last["document"]) == ("after", {"_id": "after", "n": 1})
    assert counted(metrics.LATER_READS) == before, "at a later time it cannot be read either"


@pytest.mark.parametrize("journal_bytes", [0, 1 << 20])
async def test_its_events_are_resumed(replica_set: ReplicaSet, journal_bytes: int) -> None:
    async with serving(replica_set, feed_await_ms=100, journal_bytes=journal_bytes) as service:
        service.database.create_collection("log", capped=True, size=100_000, max=MOST)
        async with wired(service.url) as wire:
            start = wire.frames[0]["position"]
            await wire.subscribe("plain", id="q")
            service.database["log"].insert_one({"_id": 1, "n": 1})
            service.database["log"].update_one({"_id": 1}, {"$set": {"n": 2}})
            answer = await wire.ask(type="insert", collection="plain", document={"_id": 1})
            await wire.ask(type="ping", position=answer["position"])
            for name, collection in (("e", "log"), ("all", "*")):
                await wire.subscribe(collection, id=name, mode="events", position=start)
            assert told(wire, "e") == [("insert", 1), ("update", 1)]
            assert told(wire, "all") == [("insert", 1), ("update", 1), ("insert", 1)]
            replayed = [event for frame in wire.of("events") if frame.get("id") == "e" for event in frame["events"]]
    assert replayed[1]["partial"] is True


async def test_an_update_has_its_document_where_the_collection_keeps_images(service: Service) -> None:
    service.database.command("collMod", "log", changeStreamPreAndPostImages={"enabled": True})
    async with wired(service.url) as wire:
        await wire.subscribe("log", id="e", mode="events", filter={"n": 7})
        service.database["log"].update_one({"_id": 2}, {"$set": {"n": 7}})
        await wire.when(lambda: ("update", 2) in told(wire))
        update = next(event for frame in wire.of("events") for event in frame["events"] if event["op"] == "update")
    assert update["document"] == {"_id": 2, "n": 7}
    assert "partial" not in update


async def test_over_server_sent_events_too(service: Service) -> None:
    async with streaming(service.url, "/v1/collections/log/events") as stream:
        await stream.when(lambda: stream.of("live"))
        service.database["log"].insert_one({"_id": "new"})
        await stream.when(lambda: stream.of("events"))


async def test_it_is_written_and_where_that_takes_a_transaction_it_says_so(service: Service) -> None:
    """A list, a condition, `where`: they were `internal`, a bug of the service."""
    tag = (await service.http.get(f"{PATH}/%7B%22$numberInt%22:%222%22%7D")).headers["ETag"]
    path = f"{PATH}/%7B%22$numberInt%22:%222%22%7D"
    refused = [
        await service.http.post(PATH, json=[{"_id": "a"}, {"_id": "b"}]),
        await service.http.patch(path, json={"$set": {"n": 8}}, headers={"If-Match": tag}),
        await service.http.put(path, json={"n": 8}, headers={"If-Match": tag}),
        await service.http.delete(path, headers={"If-Match": tag}),
    ]
    async with wired(service.url) as wire:
        where = {"collection": "log", "key": 2, "where": {"n": 2}}
        over_socket = await wire.ask(type="update", update={"$set": {"n": 8}}, **where)
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(422, "unsupported_collection")] * 4
    assert over_socket["code"] == "unsupported_collection"
    assert all("one by one" in answer.json()["detail"] for answer in refused)
    assert [one["n"] for one in service.database["log"].find()] == [0, 1, 2]
    assert (await service.http.patch(path, json={"$set": {"n": 9}})).status_code == 200
    assert (await service.http.post(PATH, json={"_id": "one"})).status_code == 201
    assert [one["_id"] for one in service.database["log"].find()] == [1, 2, "one"]


async def test_a_crowd_that_asks_what_a_name_stands_for_shares_two_reads(service: Service) -> None:
    """Nobody is told what was read before it asked; who asks while it is read waits for the next read."""
    reader = service.realtime.live().reader
    asked = 0
    describe = reader._describe

    async def counting(collection: str) -> Any:
        nonlocal asked
        asked += 1
        return await describe(collection)

    reader._describe = counting
    first = asyncio.ensure_future(reader.describe("log"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    crowd = await asyncio.gather(*(reader.describe("log") for _ in range(100)), first)
    assert asked == 2
    assert all(facts.capped and facts.exists for facts in crowd)
    assert not reader._facts
    assert not reader._next_facts
