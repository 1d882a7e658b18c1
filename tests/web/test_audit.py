"""Who did what, at every door, as the audit log has it: never a token, never a document."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from websockets.asyncio.client import connect

from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

SIGNER = signer("HS256")
LIST, EVENTS = "/v1/collections/orders/documents", "/v1/collections/orders/events"
PLANTED = "never-in-the-log"


def asks(file: Path) -> dict[str, Any]:
    return {
        "auth": "jwt",
        "jwt_secret": SECRET,
        "jwt_audience": AUDIENCE,
        "audit_log": file,
        "feed_await_ms": 100,
    }


async def entries(file: Path, count: int) -> list[dict[str, Any]]:
    """The lines, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            lines = file.read_text().splitlines()
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            await asyncio.sleep(0.02)


def counted() -> Counter[str]:
    """`realtime_unauthenticated_total` by its reasons."""
    samples = [one for family in REGISTRY.collect() for one in family.samples]
    return Counter(
        {one.labels["reason"]: int(one.value) for one in samples if one.name == "realtime_unauthenticated_total"}
    )


async def through_http(service: Service, bearer: dict[str, str]) -> None:
    http = service.http
    await http.post(LIST, headers=bearer, json={"_id": "a", "text": PLANTED})
    await http.post(LIST, headers=bearer, json=[{"_id": "b"}, {"_id": "c"}])
    await http.get(f"{LIST}/a", headers=bearer)
    await http.patch(f"{LIST}/a", headers=bearer, json={"$set": {"n": 1}})
    await http.put(f"{LIST}/a", headers=bearer, json={"text": PLANTED})
    await http.delete(f"{LIST}/a", headers=bearer)
    await http.get(LIST, headers=bearer)
    await http.get("/v1/collections", headers=bearer)
    await http.get(LIST, headers={**bearer, "Accept": "application/x-ndjson"})


async def test_everything_that_is_done_over_http_is_written_down(replica_set: ReplicaSet, tmp_path: Path) -> None:
    file, token = tmp_path / "audit.jsonl", SIGNER.token(jti="one")
    async with serving(replica_set, **asks(file)) as service:
        await through_http(service, {"Authorization": f"Bearer {token}"})
        found = await entries(file, 10)
        text = file.read_text()
    done = [(one["what"], one.get("operation"), one.get("collection"), one.get("key")) for one in found]
    assert done == [
        ("write", "insert", "orders", '"a"'),
        ("write", "insert", "orders", '"b"'),
        ("write", "insert", "orders", '"c"'),
        ("read", None, "orders", '"a"'),
        ("write", "update", "orders", '"a"'),
        ("write", "replace", "orders", '"a"'),
        ("write", "delete", "orders", '"a"'),
        ("list", None, "orders", None),
        ("list", None, None, None),
        ("read", "ndjson", "orders", None),
    ]
    for one in found:
        assert (one["sub"], one["jti"], one["address"]) == ("ann", "one", "127.0.0.1")
        assert one["what"] != "write" or len(one["position"]) == 25
    assert PLANTED not in text
    assert token not in text


async def test_what_is_done_by_a_socket_and_a_stream_is_written_down(replica_set: ReplicaSet, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with serving(replica_set, **asks(file)) as service:
        bearer = {"Authorization": f"Bearer {SIGNER.token(exp=time.time() + 2)}"}
        async with connect(service.url.replace("http", "ws") + "/v1/ws", additional_headers=bearer) as socket:
            for frame in (
                {"type": "subscribe", "id": "s", "collection": "orders"},
                {"type": "insert", "id": "w", "collection": "orders", "document": {"_id": 1, "text": PLANTED}},
                {"type": "unsubscribe", "id": "s"},
            ):
                await socket.send(json.dumps(frame))
            async with asyncio.timeout(20):
                await service.http.get(EVENTS, headers=bearer)
                await socket.wait_closed()
        found = await entries(file, 8)
        assert PLANTED not in file.read_text()
    done = [(one["what"], one.get("operation"), one.get("reason")) for one in found]
    assert sorted(done, key=str) == sorted(
        [
            ("connect", None, None),
            ("subscribe", "query", None),
            ("unsubscribe", None, None),
            ("write", "insert", None),
            ("ended", None, "expired"),
            ("connect", None, None),
            ("subscribe", "events", None),
            ("ended", None, "expired"),
        ],
        key=str,
    )
    assert all(one["sub"] == "ann" and one["address"] == "127.0.0.1" for one in found)


async def test_who_is_refused_is_written_down_with_why(replica_set: ReplicaSet, tmp_path: Path) -> None:
    """And is counted by the same word."""
    file = tmp_path / "audit.jsonl"
    async with serving(replica_set, **asks(file)) as service:
        before = counted()
        expired = {"Authorization": f"Bearer {SIGNER.token(exp=time.time() - 60)}"}
        await service.http.get(LIST, headers=expired)
        await service.http.get(LIST)
        await service.http.get(EVENTS, headers={"Authorization": "Basic eA=="})
        async with connect(service.url.replace("http", "ws") + "/v1/ws", additional_headers=expired) as socket:
            await socket.wait_closed()
        async with connect(service.url.replace("http", "ws") + "/v1/ws") as socket:
            await socket.send(json.dumps({"type": "auth", "id": "a", "token": "hello"}))
            await socket.wait_closed()
        found = await entries(file, 5)
        more = Counter({word: count - before[word] for word, count in counted().items() if count != before[word]})
    assert more == Counter(one["reason"] for one in found)
    assert [(one["what"], one["reason"]) for one in found] == [
        ("refused", "expired"),
        ("refused", "no_token"),
        ("refused", "another_scheme"),
        ("refused", "expired"),
        ("refused", "malformed"),
    ]
    assert all(one["address"] == "127.0.0.1" and "sub" not in one for one in found)
