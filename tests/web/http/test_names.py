"""A collection is reachable by every way or by none, and its name is percent-encoded wherever it leaves."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from realtime import Collection
from tests.embedding import by_router, hosting
from tests.replica_set import ReplicaSet
from tests.serving import Service
from tests.web.http.odd_names import HARD
from tests.wire import Wire, wired

SERVED = [
    *HARD,
    *("\r\n", "\t", "\x7f", "%", '"x"', "{collection}", "a\\b", "+", "a;b", "a&b=c", "\u2028"),
    *("documents", "events", "a/documents/b", "x" * 200, "é" * 100, "-", "a.b", "~"),
]
REFUSED = ["", "*", "a..b", "a.", ".a", "a$b", "$a", "a\0b", "system.x", "realtime_x", "é" * 125, "x" * 201]


async def told(answer: httpx.Response) -> str | None:
    """The code of an error, None for none; of a stream not its body."""
    if answer.status_code < 300:
        return None
    code: str = json.loads(await answer.aread())["code"]
    return code


async def outcomes(service: Service, wire: Wire, name: str, number: int) -> dict[str, str | None]:
    """By each way there is: the code of its refusal, or None."""
    base = service.path(f"/v1/collections/{quote(name, safe='')}")
    documents, found = f"{base}/documents", {}
    asked: list[tuple[str, str, str, dict[str, Any]]] = [
        ("insert", "POST", documents, {"json": {"_id": "http"}}),
        ("bulk", "POST", documents, {"json": [{}, {}]}),
        ("replace", "PUT", f"{documents}/http", {"json": {"n": 1}}),
        ("update", "PATCH", f"{documents}/http", {"json": {"$set": {"n": 2}}}),
        ("read", "GET", f"{documents}/http", {}),
        ("page", "GET", documents, {}),
        ("lines", "GET", documents, {"headers": {"Accept": "application/x-ndjson"}}),
        ("stream", "GET", documents, {"headers": {"Accept": "text/event-stream"}}),
        ("events", "GET", f"{base}/events", {}),
        ("delete", "DELETE", f"{documents}/http", {}),
    ]
    for way, method, path, options in asked:
        async with service.http.stream(method, path, **options) as answer:
            found[way] = await told(answer)
    frames: list[tuple[str, dict[str, Any]]] = [
        ("ws insert", {"type": "insert", "document": {"_id": "ws"}}),
        ("ws update", {"type": "update", "key": "ws", "update": {"$set": {"n": 1}}}),
        ("ws delete", {"type": "delete", "key": "ws"}),
        ("ws query", {"type": "subscribe", "id": f"q{number}"}),
        ("ws events", {"type": "subscribe", "id": f"e{number}", "mode": "events"}),
    ]
    for way, frame in frames:
        found[way] = (await wire.ask(**frame, collection=[name] if way == "ws events" else name)).get("code")
    return found


@pytest.mark.long("every name by every way")
async def test_every_name_is_served_by_every_way(service: Service) -> None:
    async with wired(service.url) as wire:
        refused = {}
        for number, name in enumerate(SERVED):
            found = await outcomes(service, wire, name, number)
            assert len(found) == 15
            if set(found.values()) != {None}:
                refused[name] = found
    assert refused == {}
    listed = (await service.http.get(service.path("/v1/collections"))).json()["collections"]
    assert sorted(one["name"] for one in listed) == sorted(SERVED)


@pytest.mark.parametrize("name", REFUSED, ids=[repr(name)[:20] for name in REFUSED])
async def test_a_name_that_is_refused_is_refused_by_every_way_alike(service: Service, name: str) -> None:
    async with wired(service.url) as wire:
        found = await outcomes(service, wire, name, 0)
        reason = await wire.ask(type="insert", collection=name, document={})
    if name == "*":  # which is every collection, in events mode alone
        assert (found.pop("events"), found.pop("ws events")) == (None, None)
    if name == "":  # a path has no empty component
        found = {way: code for way, code in found.items() if way.startswith("ws")}
    by_length = name in ("", "x" * 201)
    assert set(found.values()) == {"invalid_request" if by_length else "unsupported_collection"}, found
    assert len(reason["message"]) > len("collection '' is not to be had: ")
    assert service.database.list_collection_names() == []


async def test_an_insert_says_where_the_document_is(service: Service) -> None:
    """It was committed and answered 500, with `retry`: the name stood in a header as it was."""
    for name in ("Ж", "a b", "ü", "a/b", "a?b"):
        encoded = quote(name, safe="")
        made = await service.http.post(service.path(f"/v1/collections/{encoded}/documents"), json={"_id": "k/1"})
        assert (made.status_code, made.json().get("retry")) == (201, None), name
        assert made.headers["location"] == service.path(f"/v1/collections/{encoded}/documents/k%2F1")
        assert (await service.http.get(made.headers["location"])).json() == {"_id": "k/1"}
        assert service.database[name].count_documents({}) == 1


async def test_no_name_leads_to_the_collection_of_another(service: Service) -> None:
    names = ["a", "a\n", "a/b", "a%2Fb", "a%252Fb", "b", "%61", "ü", "%C3%BC"]
    for name in names:
        service.database[name].insert_one({"_id": "k", "of": name})
    for name in names:
        answer = await service.http.get(service.path(f"/v1/collections/{quote(name, safe='')}/documents/k"))
        assert answer.json() == {"_id": "k", "of": name}


async def test_bytes_that_are_no_utf_8_name_no_collection(service: Service) -> None:
    service.database["\ufffd"].insert_one({})
    for component in ("%FF", "%ED%A0%8A"):
        answer = await service.http.get(service.path(f"/v1/collections/{component}/documents"))
        assert (answer.status_code, answer.json()["details"]) == (422, {"field": "collection"})


class Point(BaseModel):
    x: int = 0


async def test_a_models_collection_is_described_by_its_path_whatever_its_name(replica_set: ReplicaSet) -> None:
    names = ["Ж", "a b", "a/b", "{x}", "%D0%96"]
    collections = [Collection(name, Point) for name in names[:4]] + [Collection("%D0%96")]
    async with hosting(replica_set, by_router, collections=collections) as service:
        description = (await service.http.get("/openapi.json")).json()
        OpenAPIV31SpecValidator(description).validate()
        for name in names:
            path = service.path(f"/v1/collections/{quote(name, safe='')}/documents")
            assert (path in description["paths"]) == (name != "%D0%96")
            made = await service.http.post(path, json={"_id": 1})
            assert made.status_code == 201, made.text
            # The one without a model is not taken for the one whose path in the description it is named like.
            assert service.database[name].find_one() == ({"_id": 1, "x": 0} if name != "%D0%96" else {"_id": 1})
