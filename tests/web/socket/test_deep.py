"""Whatever can be read can be written back: 180 levels of a document, over HTTP and WebSocket alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.client import connect
from tests.serving import Service
from tests.wire import wired

LEVELS = 180


def deep(levels: int, key: str) -> dict[str, Any]:
    """A document of so many levels, itself the first."""
    inner: Any = 1
    for level in range(levels - 1):
        inner = [inner] if level % 3 == 2 else {"a": inner}
    return {"_id": key, "a": inner}


async def test_a_document_of_180_levels_is_written_and_read_everywhere(service: Service) -> None:
    """At 104 the Python client connected again and again; at 101 nothing could be written back."""
    over_socket, over_http, stored = (deep(LEVELS, key) for key in ("socket", "http", "driver"))
    service.database.orders.insert_one(dict(stored))
    async with wired(service.url) as wire, connect(service.url) as client, client.query("orders") as mine:
        view = await wire.subscribe("orders")
        inserted = await wire.ask(type="insert", collection="orders", document=over_socket)
        assert inserted["type"] == "result", inserted
        created = await service.http.post(service.documents, json=over_http)
        assert created.status_code == 201, created.text
        await wire.when(lambda: len(view.documents) == 3)
        assert [view.documents[json.dumps(one["_id"])] for one in (over_socket, over_http, stored)] == [
            over_socket,
            over_http,
            stored,
        ]
        read = await service.http.get(f"{service.documents}/driver")
        assert read.json() == stored
        put = await service.http.put(f"{service.documents}/driver", content=read.content)
        assert put.status_code == 200, put.text
        replaced = await wire.ask(type="replace", collection="orders", key="driver", document=read.json())
        assert replaced["type"] == "result", replaced
        await client.settled(replaced["position"])
        assert {document["_id"] for document in mine.documents} == {"socket", "http", "driver"}
        assert client.status.link == "connected"
        assert not wire.of("resync")


@pytest.mark.parametrize("levels", [181, 184])
async def test_a_deeper_one_is_refused_by_name_and_nothing_is_stored(service: Service, levels: int) -> None:
    async with wired(service.url) as wire:
        refused = await wire.ask(type="insert", collection="orders", document=deep(levels, "x"))
        assert (refused["type"], refused["code"]) == ("error", "invalid_request")
        assert refused["details"] == {"field": "document"}
    answer = await service.http.post(service.documents, json=deep(levels, "x"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert service.database.orders.count_documents({}) == 0


async def test_a_frame_that_is_too_deep_or_broken_is_answered_under_its_id(service: Service) -> None:
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders")
        refused = await wire.ask(type="insert", collection="orders", document=deep(200, "x"))
        assert (refused["type"], refused["code"]) == ("error", "malformed_frame")
        await wire.socket.send('{"type":"insert","id":"half","collection":"orders","document":{"a":"\\ud800"}}')
        answer = await wire.until(lambda frame: frame.get("id") == "half")
        assert (answer["type"], answer["code"]) == ("error", "malformed_frame")
        assert (await wire.ask(type="insert", collection="orders", document={"_id": 1}))["type"] == "result"
        await wire.when(lambda: len(view.documents) == 1)
