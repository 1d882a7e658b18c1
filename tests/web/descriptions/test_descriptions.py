"""OpenAPI, AsyncAPI and the JSON Schema of the frames: valid by their own rules, and true of a running service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from realtime.app import create_app
from realtime.core.upstream.health import FeedStatus
from realtime.core.wire import protocol
from realtime.core.wire.closing import CLOSINGS
from realtime.core.wire.protocol import CLIENT_FRAMES
from realtime.core.wire.schema import protocol_schema, server_frames
from realtime.errors import every_kind
from realtime.settings import load
from realtime.web.entrance.problems import UnsupportedEncodingError
from realtime.web.http.examples import FRAMES
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.embedding import by_router, hosting
from tests.kept import kept
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving, told_in
from tests.web.test_errors import OVER_HTTP
from tests.wire import Wire, wired

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "docs" / "protocol.schema.json"
ASYNCAPI_PACKAGE = "@asyncapi/specs@6.11.1"

SIGNER = signer("HS256")


def validator(part: str) -> Draft202012Validator:
    """Of the frames of one direction."""
    schema = json.loads(SCHEMA.read_text())
    return Draft202012Validator({**schema, "oneOf": [{"$ref": f"#/$defs/{part}"}]})


# -------------------------------------------------------------------------------------------------------- JSON Schema


def test_the_schema_of_the_frames_is_not_stale() -> None:
    assert json.loads(SCHEMA.read_text()) == protocol_schema(), "make schema writes it anew"


def test_the_command_prints_what_is_kept() -> None:
    command = [sys.executable, "-m", "realtime.web.descriptions.descriptions"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert json.loads(printed) == json.loads(SCHEMA.read_text())
    assert printed.endswith("}\n")


def test_it_is_a_schema_and_has_every_frame() -> None:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    for part, kinds in (("client", CLIENT_FRAMES), ("server", server_frames())):
        found = [one["$ref"].rsplit("/", 1)[1] for one in schema["$defs"][part]["oneOf"]]
        assert [schema["$defs"][name]["properties"]["type"]["const"] for name in found] == list(kinds)
    assert len(CLIENT_FRAMES) >= 8
    assert len(server_frames()) >= 14


PAGE = re.findall(r"^```json\n(.*?)^```$", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE | re.DOTALL)


def shown() -> Iterator[dict[str, Any]]:
    """The frames of docs/protocol.md and of the descriptions."""
    decoder = json.JSONDecoder()
    for text in PAGE:
        rest = text.strip()
        while rest:
            value, end = decoder.raw_decode(rest)
            rest = rest[end:].strip()
            yield value
    for examples in FRAMES.values():
        yield from examples


def test_every_frame_that_is_shown_is_valid_in_its_direction_and_no_other() -> None:
    client, server = validator("client"), validator("server")
    seen = set()
    for frame in shown():
        if frame.get("type") in CLIENT_FRAMES:
            assert [error.message for error in client.iter_errors(frame)] == []
            assert not server.is_valid(frame)
            assert protocol.parse(json.dumps(frame)).id == frame["id"]
        elif frame.get("type") in server_frames():
            assert [error.message for error in server.iter_errors(frame)] == []
            assert not client.is_valid(frame)
        else:
            continue
        seen.add(frame["type"])
    assert seen == {*CLIENT_FRAMES, *server_frames()}
    assert set(FRAMES) == seen


BAD = [
    {"type": "subscribe", "id": "x"},
    {"type": "subscribe", "id": "", "collection": "orders"},
    {"type": "subscribe", "id": "x", "collection": "orders", "filters": {}},
    {"type": "subscribe", "id": "x", "collection": "orders", "since": "2026-11-22T12:00:00Z"},
    {"type": "subscribe", "id": "x", "collection": "orders", "group": []},
    {"type": "insert", "id": "x", "collection": "orders", "document": []},
    {"type": "publish", "id": "x"},
]


@pytest.mark.parametrize("frame", BAD, ids=range(len(BAD)))
def test_what_the_service_refuses_as_a_request_the_schema_refuses_too(frame: dict[str, Any]) -> None:
    assert not validator("client").is_valid(frame)
    with pytest.raises(protocol.RefusedFrame):
        protocol.parse(json.dumps(frame))


async def test_every_frame_of_a_live_session_is_valid_and_has_known_fields_alone(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both directions, recorded: every frame type that there is."""
    sent: list[dict[str, Any]] = []
    send = Wire.send

    async def recording(wire: Wire, **frame: Any) -> None:
        sent.append(frame)
        await send(wire, **frame)

    monkeypatch.setattr(Wire, "send", recording)
    async with AsyncExitStack() as clients:
        asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE}
        async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.2, **asks) as service:
            bearer = {"Authorization": f"Bearer {SIGNER.token()}"}
            wire = await clients.enter_async_context(wired(service.url, additional_headers=bearer))
            await every_type(service, wire)
        await wire.when(lambda: wire.closed is not None)
    definitions = protocol_schema()["$defs"]
    fields = {
        found["properties"]["type"]["const"]: found["properties"]
        for found in definitions.values()
        if "type" in found.get("properties", {})
    }
    for part, frames, kinds in (("client", sent, CLIENT_FRAMES), ("server", wire.frames, server_frames())):
        checked = validator(part)
        for frame in frames:
            assert [error.message for error in checked.iter_errors(frame)] == [], frame
            assert frame.keys() <= fields[frame["type"]].keys()
        assert {frame["type"] for frame in frames} == set(kinds)
    for kind, entry in (("changes", "Change"), ("events", "Event")):
        entries = [one for frame in wire.of(kind) for one in frame[kind]]
        assert entries
        assert {name for one in entries for name in one} <= definitions[entry]["properties"].keys()


async def every_type(service: Service, wire: Wire) -> None:
    """Have every frame said once at least."""
    database = service.database
    database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    view = await wire.subscribe("orders")
    await wire.subscribe("*", id="log", mode="events")
    await wire.ask(type="insert", collection="orders", document={"n": 1, "at": {"$date": "2026-11-22T12:00:00Z"}})
    await wire.ask(type="insert", collection="orders", document={"_id": 1, "large": {"$numberLong": str(2**60)}})
    await wire.ask(type="replace", collection="orders", key=2, document={"n": 1}, upsert=True)
    await wire.ask(
        type="update", collection="orders", key=2, update={"$set": {"n": 2}, "$unset": {"x": 1}}, where={"n": 1}
    )
    done = await wire.ask(type="delete", collection="orders", key=2)
    await wire.ask(type="ping", position=done["position"])
    assert (await wire.ask(type="auth", token="x"))["type"] == "error"
    assert (await wire.ask(type="auth", token=SIGNER.token()))["type"] == "authenticated"
    database.other.insert_one({"_id": "renamed"})
    database.other.rename("orders", dropTarget=True)
    await wire.when(lambda: view.resyncs == 1 and view.live)
    database.orders.drop()
    gone = await wire.subscribe("orders", id="gone", filter={"n": {"$gt": 0}})
    assert gone.live
    await wire.ask(type="unsubscribe", id="gone")
    service.realtime._report(FeedStatus(up=False, reason="a test"))
    service.realtime._report(FeedStatus(up=True))
    await wire.until(lambda frame: frame["type"] == "heartbeat")


# ----------------------------------------------------------------------------------------------------------- AsyncAPI


def asyncapi_schema() -> dict[str, Any]:
    """The specification's own JSON Schema, from npm, fetched once a machine."""

    def fetch(path: Path) -> None:
        command = ["npm", "pack", "--silent", "--pack-destination", str(path.parent), ASYNCAPI_PACKAGE]
        name = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout.strip()
        with tarfile.open(path.parent / name) as tarball:
            file = tarball.extractfile("package/schemas/3.0.0-without-$id.json")
            assert file is not None
            path.write_bytes(file.read())

    schema: dict[str, Any] = json.loads(kept(f"{ASYNCAPI_PACKAGE.replace('/', '-')}.json", fetch).read_text())
    return schema


@pytest.mark.parametrize("prefix", ["", "/live"])
async def test_asyncapi_is_valid_and_says_where_it_was_asked_for(replica_set: ReplicaSet, prefix: str) -> None:
    inside = hosting(replica_set, by_router) if prefix else serving(replica_set, feed_await_ms=100)
    async with inside as service:
        document = (await service.http.get(service.path("/asyncapi.json"))).json()
        server = document["servers"]["this"]
        address = (
            f"{server['protocol']}://{server['host']}{server['pathname']}{document['channels']['socket']['address']}"
        )
        assert address == service.url.replace("http", "ws") + "/v1/ws"
        assert server["pathname"] == prefix
    assert [error.message for error in Draft7Validator(asyncapi_schema()).iter_errors(document)] == []
    broken = {**document, "operations": {"x": {"action": "shout"}}}
    assert not Draft7Validator(asyncapi_schema()).is_valid(broken), "the schema checks nothing"


async def test_asyncapi_has_every_frame_with_examples_and_every_code(service: Service) -> None:
    document = (await service.http.get("/asyncapi.json")).json()
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    assert set(messages) == {*CLIENT_FRAMES, *server_frames()} == set(document["channels"]["socket"]["messages"])
    actions = {(one["action"], name.partition("_")[2]) for name, one in document["operations"].items()}
    assert actions == {("receive", name) for name in CLIENT_FRAMES} | {("send", name) for name in server_frames()}
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    for message in messages.values():
        payload = {**message["payload"], "components": {"schemas": schemas}}
        assert message["examples"]
        for example in message["examples"]:
            assert [error.message for error in Draft202012Validator(payload).iter_errors(example["payload"])] == []
    assert document["x-error-codes"].keys() == {kind.code for kind in every_kind()}
    assert len(document["x-error-codes"]) == 23


def test_the_close_codes_are_those_of_the_page() -> None:
    lines = (ROOT / "docs" / "protocol.md").read_text().splitlines()
    start = lines.index("| close code | meaning | reconnect |") + 2
    told = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells = line.strip("|").split(" |")
        told.update({int(code): cells[2].strip().startswith("yes") for code in re.findall(r"\d{4}", cells[0])})
    told.pop(1006)  # said by no one: it is what a client sees when a connection just ends
    assert told == {code: retry for code, (_, retry) in CLOSINGS.items()}
    assert len(told) >= 10


# ------------------------------------------------------------------------------------------------------------ OpenAPI


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def codes(operation: dict[str, Any]) -> set[tuple[int, str]]:
    """Status and code of every problem that an operation describes."""
    return {
        (int(status), code)
        for status, answer in operation["responses"].items()
        for code in answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(load()).openapi()


def test_openapi_is_valid(description: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(description).validate()
    assert len(operations(description)) >= 10


def test_every_route_lists_its_problems_as_what_they_are(description: dict[str, Any]) -> None:
    known = {(kind.status, kind.code) for kind in every_kind()} | {(415, UnsupportedEncodingError.code)}
    for method, path, operation in operations(description):
        found = codes(operation)
        assert {(403, "forbidden"), (422, "invalid_request"), (500, "internal"), (503, "unavailable")} <= found, path
        assert found <= known
        assert ((415, "invalid_request") in found) == ("requestBody" in operation)
        assert operation["summary"]
        for answer in operation["responses"].values():
            content = answer.get("content", {}).get("application/problem+json")
            for code, example in (content or {"examples": {}})["examples"].items():
                assert [
                    error.message for error in Draft202012Validator(content["schema"]).iter_errors(example["value"])
                ] == []
                assert example["value"]["code"] == code
        assert ("requestBody" in operation) == (method in {"post", "put", "patch"} and path != "/v1/tickets")


CASES = [
    (method.lower(), f"/v1/collections/{{collection}}/documents{'/{key}' if path.count('/') > 2 else ''}", status, code)
    for code, status, method, path, _ in OVER_HTTP
]


@pytest.mark.parametrize(("method", "path", "status", "code"), CASES, ids=range(len(CASES)))
def test_every_problem_that_is_provoked_is_described(
    description: dict[str, Any], method: str, path: str, status: int, code: str
) -> None:
    assert (status, code) in codes(description["paths"][path][method])


def test_no_read_claims_the_problems_of_a_write(description: dict[str, Any]) -> None:
    writes = {"validation_failed", "duplicate_key", "invalid_update", "malformed_frame", "precondition_failed"}
    reads = [operation for method, _, operation in operations(description) if method == "get"]
    assert len(reads) >= 5
    for operation in reads:
        assert writes & {code for _, code in codes(operation)} == set()


async def test_a_problem_that_is_not_described_fails_whatever_test_meets_it(description: dict[str, Any]) -> None:
    check = told_in(create_app(load()))
    request = httpx.Request("DELETE", "http://x/v1/collections/orders/documents/a/b")
    headers = {"content-type": "application/problem+json"}
    await check(httpx.Response(404, request=request, headers=headers, json={"status": 404, "code": "not_found"}))
    with pytest.raises(AssertionError, match="its description has"):
        await check(
            httpx.Response(409, request=request, headers=headers, json={"status": 409, "code": "duplicate_key"})
        )
