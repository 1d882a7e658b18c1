"""Every way of carrying a token, with every kind of token: each cell ends in its own code, and never as a bug."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.access.audit import Entry
from realtime.web.socket.uvicorn_sink import TransportSink
from tests.access.issuer import AUDIENCE, ISSUER, SECRET, Signer, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

SIGNER = signer("RS256")
LIST, EVENTS = "/v1/collections/orders/documents", "/v1/collections/orders/events"
MALFORMED_HANDSHAKE = {400, 431}
REASONS = {
    "expired": "expired",
    "not yet valid": "not_yet_valid",
    "of another key": "bad_signature",
    "for another audience": "wrong_audience",
    "alg none": "algorithm",
    "HS256 with the public key": "unknown_key",
    "of an unknown kid": "bad_signature",
    "no token at all": "malformed",
    "100 KB": "too_large",
}
"""The audit log's word for each of `tokens`."""


def _by_hand(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [json.dumps(one).encode() for one in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts) + "."


def _signed_with_the_public_key() -> str:
    """HS256, the secret being what everybody knows: the algorithm is the key's and never the token's."""
    claims = {"sub": "ann", "exp": time.time() + 60, "aud": AUDIENCE, "iss": ISSUER}
    text = _by_hand({"alg": "HS256", "typ": "JWT", "kid": SIGNER.kid}, claims).rstrip(".")
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(text.encode(), SIGNER.pem)
    return text + "." + base64.urlsafe_b64encode(signature).decode().rstrip("=")


def tokens() -> dict[str, str]:
    """The bad ones, by what is wrong with them."""
    now = time.time()
    claims = {"sub": "ann", "exp": now + 60, "aud": AUDIENCE, "iss": ISSUER}
    return {
        "expired": SIGNER.token(exp=now - 60),
        "not yet valid": SIGNER.token(nbf=now + 600),
        "of another key": signer("RS256").token(),
        "for another audience": SIGNER.token(aud="another"),
        "alg none": _by_hand({"alg": "none", "typ": "JWT"}, claims),
        "HS256 with the public key": _signed_with_the_public_key(),
        "of an unknown kid": Signer(SIGNER.algorithm, signer("RS256").private, "unknown").token(),
        "no token at all": "hello",
        "100 KB": "x" * 100_000,
    }


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service that asks for tokens of one key."""
    file = tmp_path_factory.mktemp("keys") / "public.pem"
    file.write_bytes(SIGNER.pem)
    asks: dict[str, Path | str] = {
        "audit_log": file.with_name("audit.jsonl"),
        "auth": "jwt",
        "jwt_public_key": file,
        "jwt_audience": AUDIENCE,
        "jwt_issuer": ISSUER,
    }
    async with serving(replica_set, feed_await_ms=100, **asks) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def subprotocols(token: str) -> list[Any]:
    return ["realtime.v1", "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")]


class Written:
    """What the audit log has of a block."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def of(self, what: str) -> list[dict[str, Any]]:
        return [one for one in self.lines if one["what"] == what]

    @property
    def reasons(self) -> list[str]:
        """Of the refusals, each of which has from where it came, and nobody's name."""
        for one in self.of("refused"):
            assert (one["address"], "sub" in one) == ("127.0.0.1", False)
        return [one["reason"] for one in self.of("refused")]


@asynccontextmanager
async def written(service: Service) -> AsyncIterator[Written]:
    """What is written down in this block, found between two lines of the test's own."""
    audit, file, found = service.realtime.live().access.audit, service.realtime.settings.audit_log, Written()
    assert file is not None
    begin, end = uuid.uuid4().hex, uuid.uuid4().hex
    audit.record(Entry("read", operation=begin))
    yield found
    audit.record(Entry("read", operation=end))
    async with asyncio.timeout(20):
        while end not in (text := file.read_text()):
            await asyncio.sleep(0.01)
    lines = [json.loads(line) for line in text.splitlines()]
    places = [place for place, one in enumerate(lines) if one.get("operation") in {begin, end}]
    found.lines = lines[places[0] + 1 : places[1]]


class Told:
    """What a socket was told until it was closed."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.close: tuple[int | None, str | None] = (None, None)

    @property
    def errors(self) -> list[str]:
        return [frame["code"] for frame in self.frames if frame["type"] == "error"]


async def until_closed(service: Service, *send: dict[str, Any], seconds: float = 15, **options: Any) -> Told:
    """Connect, send these, and hear everything until the service closes."""
    told = Told()
    async with connect(service.url.replace("http", "ws") + "/v1/ws", **options) as line:
        for frame in send:
            await line.send(json.dumps(frame))
        try:
            async with asyncio.timeout(seconds):
                while True:
                    told.frames.append(json.loads(await line.recv()))
        except ConnectionClosed:
            told.close = (line.close_code, line.close_reason)
    return told


# ------------------------------------------------------------------------------------------------------------- good


async def test_a_good_token_is_taken_by_every_way(service: Service) -> None:
    token, url = SIGNER.token(sub="ann"), service.url.replace("http", "ws") + "/v1/ws"
    async with written(service) as audit:
        for options in ({"additional_headers": bearer(token)}, {"subprotocols": subprotocols(token)}):
            async with connect(url, **options) as line:
                welcome = json.loads(await line.recv())
                assert (welcome["principal"], welcome["requires_auth"]) == ("ann", False)
                assert "expires" in welcome
                assert line.subprotocol == ("realtime.v1" if "subprotocols" in options else None)
        async with connect(url) as line:
            welcome = json.loads(await line.recv())
            assert welcome["requires_auth"] is True
            assert not {"position", "principal"} & welcome.keys()
            await line.send(json.dumps({"type": "auth", "id": "a", "token": token}))
            answer = json.loads(await line.recv())
            assert (answer["type"], answer["id"], answer["principal"]) == ("authenticated", "a", "ann")
            assert len(answer["position"]) == 25
        assert (await service.http.get(LIST, headers=bearer(token))).status_code == 200
        assert (await service.http.head(EVENTS, headers=bearer(token))).status_code == 200
        async with service.http.stream("GET", EVENTS, headers=bearer(token)) as stream:
            assert stream.status_code == 200
    assert audit.reasons == []
    # By header, subprotocol and frame, a stream, and a request.
    assert [one["what"] for one in audit.lines if one["what"] in {"connect", "list"}] == [
        *["connect"] * 3,
        "list",
        "connect",
    ]
    assert all((one["sub"], one["address"]) == ("ann", "127.0.0.1") for one in audit.lines)


async def test_no_token_is_in_any_log_however_much_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Carried by each way, good and bad; at the level at which servers write out every header."""
    good, bad, url = SIGNER.token(), tokens()["expired"], service.url.replace("http", "ws") + "/v1/ws"
    with caplog.at_level(logging.DEBUG):
        quiet = [logging.getLogger(name) for name in ("websockets", "httpx", "httpcore")]  # of this test's clients
        for one in quiet:
            one.setLevel(logging.WARNING)
        for token in (good, bad):
            await service.http.get(LIST, headers=bearer(token))
            for options in ({"additional_headers": bearer(token)}, {"subprotocols": subprotocols(token)}):
                async with connect(url, **options) as line:
                    await line.recv()
            async with connect(url) as line:
                await line.recv()
                await line.send(json.dumps({"type": "auth", "id": "a", "token": token}))
                await line.recv()
            # A handshake that is read by another library, because something about it is unusual.
            headers = {**bearer(token), **{f"X-Unusual-{number}": "x" for number in range(105)}}
            async with connect(url, additional_headers=headers) as line:
                await line.recv()
    assert caplog.records
    for token in (good, bad):
        assert token not in caplog.text
        assert subprotocols(token)[1] not in caplog.text


# -------------------------------------------------------------------------------------------------------------- bad


@pytest.mark.parametrize("what", [name for name in tokens() if name != "100 KB"])
async def test_a_bad_token_is_accepted_and_closed_4501_by_every_way_of_a_socket(service: Service, what: str) -> None:
    token = tokens()[what]
    frame = {"type": "auth", "id": "a", "token": token}
    async with written(service) as audit:
        by = {
            "header": await until_closed(service, additional_headers=bearer(token)),
            "subprotocol": await until_closed(service, subprotocols=subprotocols(token)),
            "frame": await until_closed(service, frame),
        }
    assert audit.reasons == [REASONS[what]] * 3
    for told in by.values():
        assert told.errors == ["unauthenticated"]
        assert told.close == (4501, "unauthenticated")
        assert not any("position" in frame for frame in told.frames)
        assert token not in json.dumps(told.frames)
    assert [frame["type"] for frame in by["frame"].frames] == ["welcome", "error"]


@pytest.mark.parametrize("what", list(tokens()))
async def test_a_bad_token_is_401_over_http_and_for_an_event_stream(service: Service, what: str) -> None:
    token = tokens()[what]
    async with written(service) as audit:
        asked = [
            await service.http.get(LIST, headers=bearer(token)),
            await service.http.get(EVENTS, headers=bearer(token)),
            await service.http.get(LIST, headers={**bearer(token), "Accept": "text/event-stream"}),
            await service.http.post(LIST, headers=bearer(token), json={"_id": "never"}),
            await service.http.post("/v1/tickets", headers=bearer(token)),
        ]
    assert audit.reasons == [REASONS[what]] * len(asked)
    for answer in asked:
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert token not in answer.text
    assert service.database.orders.find_one({"_id": "never"}) is None


async def test_a_reconnect_that_is_refused_is_a_stream_of_one_error(service: Service) -> None:
    """A browser gives up for ever at any status but 200."""
    position = "5FF2E727-6B03446900000002"
    for what, headers in (("no_token", {}), *((REASONS[what], bearer(token)) for what, token in tokens().items())):
        async with written(service) as audit:
            answer = await service.http.get(EVENTS, headers={**headers, "Last-Event-ID": position})
        assert audit.reasons == [what]
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        (data,) = [line for line in answer.text.splitlines() if line.startswith("data:")]
        assert json.loads(data[5:])["code"] == "unauthenticated"
        assert "\nid:\n" in answer.text


async def test_100_kb_of_token_is_refused_before_it_is_looked_at(service: Service) -> None:
    token = tokens()["100 KB"]
    for options in ({"additional_headers": bearer(token)}, {"subprotocols": subprotocols(token)}):
        async with written(service) as audit:
            try:
                told = await until_closed(service, **options)
            except InvalidStatus as refused:
                # By the server, which has read no further: there is nobody to be written down.
                assert refused.response.status_code in MALFORMED_HANDSHAKE  # noqa: PT017 - either is an answer
                wanted = []
            else:
                assert told.close == (4501, "unauthenticated")
                wanted = ["too_large"]
        assert audit.reasons == wanted
    async with connect(service.url.replace("http", "ws") + "/v1/ws") as line, asyncio.timeout(20):
        await line.recv()
        await line.send(json.dumps({"type": "auth", "id": "a", "token": token[:60_000]}))
        answer = json.loads(await line.recv())
        assert (answer["code"], answer["details"]) == ("invalid_request", {"field": "token"})
        # Of nobody so large a frame is not even taken in.
        await line.send(json.dumps({"type": "auth", "id": "a", "token": tokens()["100 KB"]}))
        await line.wait_closed()
        assert line.close_code == 1009


async def test_no_token_is_401_and_on_a_socket_4501_after_ten_seconds(service: Service) -> None:
    asked = ((LIST, "*/*"), (EVENTS, "*/*"), (LIST, "application/x-ndjson"), (LIST, "text/event-stream"))
    async with written(service) as audit:
        for path, accepted in asked:
            answer = await service.http.get(path, headers={"Accept": accepted})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        began = time.monotonic()
        told = await until_closed(service, {"type": "subscribe", "id": "s", "collection": "orders"}, seconds=30)
        assert 9.5 < time.monotonic() - began < 20
    assert audit.reasons == ["no_token"] * (len(asked) + 1)
    assert [frame["type"] for frame in told.frames] == ["welcome", "error", "error"]
    assert told.errors == ["unauthenticated", "unauthenticated"]
    assert told.close == (4501, "unauthenticated")


@pytest.mark.parametrize("path", ["/", "/docs", "/realtime.js", "/healthz", "/readyz", "/openapi.json", "/v1/ws"])
async def test_what_is_nobodys_asks_nobody(service: Service, path: str) -> None:
    assert (await service.http.get(path)).status_code in {200, 204}


async def test_every_operation_of_v1_says_that_it_asks(service: Service) -> None:
    """OpenAPI's own words for it; asked of the routes themselves, so that none is forgotten."""
    paths = (await service.http.get("/openapi.json")).json()["paths"]
    asking = [
        (method, path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security") == [{"token": []}]
    ]
    assert {path for _, path in asking} == {path for path in paths if path.startswith("/v1/") and path != "/v1/ws"}
    assert len(asking) >= 9
    for method, path in asking:
        answer = await service.http.request(method, path.format(collection="orders", key="k"))
        assert answer.status_code == 401, (method, path, answer.status_code)


# ------------------------------------------------------------------------------------------------ an open connection


@pytest.mark.alone("an upper bound in seconds after the end of a token")
async def test_a_socket_ends_at_the_end_of_its_token_and_a_renewed_one_does_not(service: Service) -> None:
    end = time.time() + 2
    token = SIGNER.token(exp=end)
    url = service.url.replace("http", "ws") + "/v1/ws"
    async with (
        connect(url, additional_headers=bearer(token)) as renewed,
        connect(url, additional_headers=bearer(token)) as left,
    ):
        for line in (renewed, left):
            await line.recv()
            await line.send(json.dumps({"type": "subscribe", "id": "s", "collection": "orders"}))
        await renewed.send(json.dumps({"type": "auth", "id": "a", "token": SIGNER.token(exp=end + 60)}))
        told: list[tuple[float, dict[str, Any]]] = []
        writing = asyncio.create_task(_write_until(service, end + 1))
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(30):
                while True:
                    told.append((time.time(), json.loads(await left.recv())))
        await writing
        assert (left.close_code, left.close_reason) == (4002, "expired")
        assert told[-1][1] == {"type": "closing", "code": 4002, "message": "expired", "retry_after": 1.0}
        assert any(frame["type"] == "changes" for _, frame in told)
        assert all(at < end + 0.2 for at, _ in told)
        await renewed.send(json.dumps({"type": "ping", "id": "p"}))
        async with asyncio.timeout(30):
            while (frame := json.loads(await renewed.recv())).get("id") != "p":
                assert frame["type"] != "closing"
    service.database.orders.delete_many({})


async def _write_until(service: Service, end: float) -> None:
    while time.time() < end:
        await asyncio.to_thread(service.database.orders.insert_one, {})
        await asyncio.sleep(0.01)


async def test_a_token_of_somebody_else_is_refused_and_the_connection_goes_on(service: Service) -> None:
    url = service.url.replace("http", "ws") + "/v1/ws"
    async with connect(url, additional_headers=bearer(SIGNER.token(sub="ann"))) as line:
        await line.recv()
        async with written(service) as audit:
            for token, code in ((SIGNER.token(sub="bob"), "forbidden"), (tokens()["expired"], "unauthenticated")):
                await line.send(json.dumps({"type": "auth", "id": "a", "token": token}))
                # A machine that was paused is told of by a `status` in between.
                while (answer := json.loads(await line.recv()))["type"] == "status":
                    continue
                assert (answer["type"], answer["code"], answer["id"]) == ("error", code, "a")
        refused = [(one["reason"], one["sub"], one["address"]) for one in audit.of("refused")]
        assert refused == [("forbidden", "ann", "127.0.0.1"), ("expired", "ann", "127.0.0.1")]
        await line.send(json.dumps({"type": "ping", "id": "p"}))
        assert json.loads(await line.recv())["type"] == "pong"


async def test_frames_behind_an_auth_are_the_new_principals_and_a_flood_of_them_waits(service: Service) -> None:
    url = service.url.replace("http", "ws") + "/v1/ws"
    async with connect(url) as line:
        await line.send(json.dumps({"type": "auth", "id": "a", "token": SIGNER.token()}))
        for number in range(200):
            await line.send(json.dumps({"type": "ping", "id": f"p{number}"}))
        frames = [json.loads(await line.recv()) for _ in range(202)]
    assert [frame["type"] for frame in frames[:2]] == ["welcome", "authenticated"]
    assert [frame["id"] for frame in frames[2:]] == [f"p{number}" for number in range(200)]
    assert all("position" in frame for frame in frames[2:])


async def test_an_event_stream_and_ndjson_end_with_their_principal(service: Service) -> None:
    end = time.time() + 1.5
    headers = bearer(SIGNER.token(exp=end))
    answer = await service.http.get(EVENTS, headers=headers)
    assert 0 < time.time() - end < 5
    last = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")][-1]
    assert (last["type"], last["code"], last["message"]) == ("closing", 4002, "expired")


async def test_ndjson_asks_before_each_part_and_says_why_it_ends(service: Service) -> None:
    service.database.orders.insert_many({"_id": number, "text": "x" * 1000} for number in range(60_000))
    headers = {**bearer(SIGNER.token(exp=time.time() + 1)), "Accept": "application/x-ndjson"}
    lines: list[str] = []
    async with service.http.stream("GET", LIST, headers=headers) as answer:
        assert answer.status_code == 200
        parts = answer.aiter_lines()
        lines.append(await anext(parts))
        await asyncio.sleep(1.5)  # a reader that takes nothing for longer than its token lasts
        lines += [line async for line in parts]
    assert json.loads(lines[-1])["error"]["code"] == "unauthenticated"
    assert 1 < len(lines) < 60_000
    service.database.orders.delete_many({})


async def test_of_waiting_writes_only_the_one_with_mongodb_is_finished(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.database.orders.delete_many({})
    writer = service.realtime.live().writer
    insert, began, go, calls = writer.insert, asyncio.Event(), asyncio.Event(), 0

    async def held(collection: str, document: Any) -> Any:
        nonlocal calls
        calls += 1
        began.set()
        await go.wait()
        return await insert(collection, document)

    monkeypatch.setattr(writer, "insert", held)
    url, end = service.url.replace("http", "ws") + "/v1/ws", time.time() + 1.5
    async with connect(url, additional_headers=bearer(SIGNER.token(exp=end))) as line, asyncio.timeout(20):
        for number in range(3):
            frame = {"type": "insert", "id": f"w{number}", "collection": "orders", "document": {"_id": number}}
            await line.send(json.dumps(frame))
        await began.wait()
        told = [json.loads(text)["type"] async for text in _until_closed(line)]
        assert line.close_code == 4002
        go.set()
        while service.database.orders.find_one({"_id": 0}) is None:
            await asyncio.sleep(0.02)
    assert [kind for kind in told if kind != "heartbeat"] == ["welcome", "closing"]
    assert calls == 1
    assert service.database.orders.count_documents({}) == 1
    service.database.orders.delete_many({})


async def _until_closed(line: ClientConnection) -> AsyncIterator[str]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield str(await line.recv())


@pytest.mark.alone("a token that ends in seconds, and an upper bound after that")
@pytest.mark.parametrize("reads", [True, False], ids=["reads when it is over", "never reads"])
async def test_what_waits_is_dropped_at_the_end_and_who_takes_nothing_is_cut(
    replica_set: ReplicaSet, *, reads: bool
) -> None:
    """A peer that reads nothing: its kernel's room, its transport and its outbox are full when its token ends."""
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "outbox_bytes": 1 << 27}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        end = time.time() + 10
        reader, writer = await _that_reads_nothing(service, signer("HS256").token(exp=end))
        connections = service.realtime.live().connections
        waiting = 0
        async with asyncio.timeout(30):
            while waiting < 20_000_000:
                await asyncio.to_thread(service.database.orders.insert_one, {"text": "x" * 900_000})
                waiting = max(getattr(one.sink, "waiting", 0) for one in connections)
        assert time.time() < end, "the machine was too slow to fill the outbox before the token ended"
        (sink,) = [one.sink for one in connections]
        assert isinstance(sink, TransportSink)
        async with asyncio.timeout(end + 3 - time.time()):
            while sink._open if reads else connections:
                await asyncio.sleep(0.005)
        assert time.time() > end
        got = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while part := await reader.read(1 << 20):
                    got += part
        writer.close()
    # What the kernel and the transport had when it ended, and nothing of what waited behind.
    assert 0 < len(got) < 5_000_000


async def _that_reads_nothing(service: Service, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket with a subscription, whose peer takes little more than the handshake's answer."""
    port = int(service.url.rpartition(":")[2])
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    key = base64.b64encode(b"0123456789abcdef").decode()
    writer.write(
        f"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_masked(b'{"type":"subscribe","id":"s","collection":"orders"}'))
    return reader, writer


def _masked(payload: bytes) -> bytes:
    """A client's text frame (RFC 6455, 5.2), with a mask of zeros."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
