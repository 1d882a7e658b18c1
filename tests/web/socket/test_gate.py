"""Over its address's limit a connection is closed before a byte of it is read, and what has gone counts no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime import metrics
from realtime.core.connection.admission import NOBODY_BYTES
from realtime.errors import RateLimitedError
from realtime.web.socket import handshake
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

MOST = 4
SIGNER = signer("HS256")


def limited(name: str) -> float:
    return float(metrics.LIMITED.labels(name)._value.get())


async def opened(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))


async def is_let_in(service: Service) -> bool:
    """Whether a request on a new connection is answered."""
    reader, writer = await opened(service)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            return (await reader.read()).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False
    finally:
        writer.close()


async def test_over_the_limit_of_an_address_nothing_is_read_until_another_has_gone(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, connections_per_address=MOST, feed_await_ms=100) as service:
        before = limited("connections_per_address")
        url = service.url.replace("http", "ws") + "/v1/ws"
        held = [await opened(service) for _ in range(MOST - 2)]
        sockets = [await connect(url) for _ in range(2)]
        assert not await is_let_in(service)
        assert limited("connections_per_address") == before + 1
        await sockets[0].close()
        assert await until_let_in(service)
        held[0][1].close()
        await sockets[1].close()
        assert await until_let_in(service)
        for _, writer in held:
            writer.close()


async def until_let_in(service: Service) -> bool:
    """Once the service has heard that another connection is gone."""
    async with asyncio.timeout(10):
        while not await is_let_in(service):
            await asyncio.sleep(0.02)
    return True


async def test_an_address_that_connects_too_often_waits(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, connects_per_second=1, feed_await_ms=100) as service:
        let_in = [await is_let_in(service) for _ in range(20)]
        assert let_in[0]
        assert not all(let_in)


async def test_proxies_that_are_trusted_are_not_counted(replica_set: ReplicaSet) -> None:
    limits: dict[str, Any] = {"connections_per_address": 1, "trusted_proxies": ("127.0.0.1",)}
    async with serving(replica_set, feed_await_ms=100, **limits) as service:
        held = [await opened(service) for _ in range(5)]
        assert await is_let_in(service)
        for _, writer in held:
            writer.close()


async def test_behind_a_trusted_proxy_each_client_counts_by_its_own_address(replica_set: ReplicaSet) -> None:
    """All of them held and opened as many connections as they liked, for the proxy is not counted."""
    limits: dict[str, Any] = {"connections_per_address": 2, "trusted_proxies": ("127.0.0.1",)}
    async with serving(replica_set, feed_await_ms=100, **limits) as service, AsyncExitStack() as stack:
        url, before = service.url.replace("http", "ws") + "/v1/ws", limited("connections_per_address")

        def of(address: str) -> dict[str, str]:
            return {"X-Forwarded-For": f"198.51.100.1, {address}"}

        held = [await stack.enter_async_context(connect(url, additional_headers=of("192.0.2.7"))) for _ in range(2)]
        assert len(held) == 2
        for unusual in ({}, {f"X-Unusual-{number}": "x" for number in range(105)}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers={**of("192.0.2.7"), **unusual})
            told = json.loads(refused.value.response.body)
            assert (refused.value.response.status_code, told["code"]) == (429, "rate_limited")
            assert told["details"] == {"limit": "connections_per_address"}
            assert refused.value.response.headers["Retry-After"] == "1"
        # One connection of the proxy carries one client's requests after another's.
        answers = [
            (await service.http.get(service.documents, headers=of(address))).status_code
            for address in (f"192.0.2.{last}" for last in "78897898")
        ]
        assert answers == [429, 200, 200, 200, 429, 200, 200, 200]
        assert limited("connections_per_address") == before + 4
        # Another one's word for who one is counts nothing, and who has gone makes room.
        await stack.enter_async_context(connect(url, additional_headers={"X-Forwarded-For": "192.0.2.7, 203.0.113.5"}))
        await held[0].close()
        async with asyncio.timeout(10):
            while (await service.http.get(service.documents, headers=of("192.0.2.7"))).status_code != 200:
                await asyncio.sleep(0.02)


async def test_a_client_behind_a_proxy_that_connects_too_often_waits(replica_set: ReplicaSet) -> None:
    limits: dict[str, Any] = {"connects_per_second": 1, "trusted_proxies": ("127.0.0.1",)}
    async with serving(replica_set, feed_await_ms=100, **limits) as service:
        url = service.url.replace("http", "ws") + "/v1/ws"
        refused = 0
        for _ in range(20):
            try:
                async with connect(url, additional_headers={"X-Forwarded-For": "192.0.2.7"}) as line:
                    await line.recv()
            except InvalidStatus:
                refused += 1
        assert 1 <= refused <= 10
        async with connect(url, additional_headers={"X-Forwarded-For": "192.0.2.8"}) as line:
            await line.recv()


LIMITS = ("connections_per_principal", "unauthenticated_sockets", "unauthenticated_per_address")


@pytest.mark.parametrize("what", LIMITS)
async def test_a_socket_over_its_limit_is_told_so_and_may_come_again(replica_set: ReplicaSet, what: str) -> None:
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, what: 1}
    bearer = {"Authorization": f"Bearer {SIGNER.token()}"} if what == "connections_per_principal" else {}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        url = service.url.replace("http", "ws") + "/v1/ws"
        async with connect(url, additional_headers=bearer) as first:
            await first.recv()
            async with connect(url, additional_headers=bearer) as second, asyncio.timeout(20):
                told = [json.loads(await second.recv()) for _ in range(3)]
                await second.wait_closed()
            assert [frame["type"] for frame in told] == ["welcome", "error", "closing"]
            assert (told[1]["code"], told[1]["details"]) == (RateLimitedError.code, {"limit": what})
            assert (second.close_code, second.close_reason) == (4003, "rate_limited")
        async with asyncio.timeout(20):
            while True:
                async with connect(url, additional_headers=bearer) as third:
                    await third.recv()
                    await third.send('{"type":"ping","id":"p"}')
                    if json.loads(await third.recv())["type"] == "pong":
                        break


async def test_no_address_has_all_places_of_sockets_that_are_nobodys(replica_set: ReplicaSet) -> None:
    """All of loopback is one machine; a proxy says that others are others."""
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "feed_await_ms": 100}
    asks |= {"unauthenticated_sockets": 4, "unauthenticated_per_address": 3, "trusted_proxies": ("127.0.0.1",)}
    async with serving(replica_set, **asks) as service, AsyncExitStack() as stack:
        url = service.url.replace("http", "ws") + "/v1/ws"
        before = limited("unauthenticated_per_address")

        async def kinds(address: str, frames: int) -> list[str]:
            line = await stack.enter_async_context(connect(url, additional_headers={"X-Forwarded-For": address}))
            return [json.loads(await line.recv())["type"] for _ in range(frames)]

        # Of IPv6 one machine has a whole network.
        flood = [await kinds(f"2001:db8::{number}", 1 if number < 3 else 3) for number in range(5)]
        assert flood == [["welcome"]] * 3 + [["welcome", "error", "closing"]] * 2
        assert limited("unauthenticated_per_address") == before + 2
        async with asyncio.timeout(20):
            line = await stack.enter_async_context(connect(url, additional_headers={"X-Forwarded-For": "192.0.2.7"}))
            await line.recv()
            await line.send(json.dumps({"type": "auth", "id": "a", "token": SIGNER.token()}))
            assert json.loads(await line.recv())["type"] == "authenticated"


async def test_frames_writes_and_requests_over_their_rates_are_refused(replica_set: ReplicaSet) -> None:
    rates: dict[str, Any] = {"frames_per_second": 10, "writes_per_second": 1, "requests_per_second": 2}
    async with serving(replica_set, feed_await_ms=100, **rates) as service:
        async with connect(service.url.replace("http", "ws") + "/v1/ws") as socket:
            await socket.recv()
            for number in range(150):
                await socket.send(json.dumps({"type": "ping", "id": f"p{number}"}))
            answers = [json.loads(await socket.recv()) for _ in range(150)]
        refused = [one for one in answers if one["type"] == "error"]
        assert 20 <= len(refused) <= 60
        assert all(
            one["code"] == "rate_limited" and one["details"] == {"limit": "frames_per_second"} for one in refused
        )
        assert all(one["id"].startswith("p") for one in refused)
        written = [await service.http.post(service.documents, json={}) for _ in range(15)]
        assert [one.status_code for one in written[:10]] == [201] * 10
        assert written[-1].status_code == 429
        assert written[-1].json()["details"]["limit"] in {"writes_per_second", "requests_per_second"}
        assert int(written[-1].headers["retry-after"]) >= 1
        asked = [await service.http.get(service.documents) for _ in range(20)]
        assert asked[-1].status_code == 429
        assert asked[-1].json()["details"] == {"limit": "requests_per_second"}


@pytest.mark.parametrize("plain", [False, True])
async def test_a_frame_over_the_rate_is_refused_unread_whatever_it_is(replica_set: ReplicaSet, plain: bool) -> None:
    """Floods of binary frames had no rate, and of text each was read to be refused."""
    given: dict[str, Any] = {"frames_per_second": 1, "plain_uvicorn": plain}
    async with serving(replica_set, feed_await_ms=100, **given) as service:
        async with connect(service.url.replace("http", "ws") + "/v1/ws") as socket, asyncio.timeout(30):
            await socket.recv()
            for _ in range(14):
                await socket.send(b"binary")
            for frame in ('{"a":1,"id":"m","b":2}', '{"id":"first","a":[', '{"a":[],"id":"last"}'):
                await socket.send(frame)
            answers = [json.loads(await socket.recv()) for _ in range(17)]
        codes = [(one["code"], one.get("id")) for one in answers]
        assert codes[:10] == [("malformed_frame", None)] * 10
        assert set(codes[12:14]) == {("rate_limited", None)}
        assert codes[14:] == [("rate_limited", None), ("rate_limited", "first"), ("rate_limited", "last")]


@pytest.mark.parametrize("plain", [False, True])
async def test_of_nobody_large_frames_are_not_taken_but_after_a_token_they_are(
    replica_set: ReplicaSet, plain: bool
) -> None:
    """Any address could have a thousand frames of a megabyte read, before it had said a word of who it was."""
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "plain_uvicorn": plain}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        url = service.url.replace("http", "ws") + "/v1/ws"
        async with connect(url) as nobody, asyncio.timeout(20):
            await nobody.recv()
            await nobody.send('{"type":"ping","id":"' + "x" * NOBODY_BYTES)
            await nobody.wait_closed()
            assert (nobody.close_code, nobody.close_reason) == (1009, "too_large")
        async with connect(url) as ann, asyncio.timeout(20):
            await ann.send(json.dumps({"type": "auth", "id": "a", "token": SIGNER.token()}))
            document = {"_id": "large", "text": "x" * (1_000_000)}
            await ann.send(json.dumps({"type": "insert", "id": "i", "collection": "orders", "document": document}))
            told = [json.loads(await ann.recv()) for _ in range(3)]
        assert [frame["type"] for frame in told] == ["welcome", "authenticated", "result"]


async def test_a_head_that_is_late_or_has_no_end_is_given_up(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(replica_set, feed_await_ms=100) as service:
        reader, writer = await opened(service)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")
        answer = asyncio.create_task(reader.readline())
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                while not answer.done():
                    writer.write(b"x" * 16_384)
                    await writer.drain()
                    await asyncio.sleep(0)
            assert (await answer).startswith(b"HTTP/1.1 400")
        writer.close()
        monkeypatch.setattr(handshake, "HEAD_SECONDS", 0.2)
        for begun in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /he"):
            reader, writer = await opened(service)
            writer.write(begun)
            async with asyncio.timeout(20):
                assert (await reader.read()).count(b"HTTP/1.1 200") == (1 if begun.count(b"GET") == 2 else 0)
            writer.close()
        assert await is_let_in(service)


async def test_an_address_whose_tokens_were_refused_too_often_is_asked_no_more(replica_set: ReplicaSet) -> None:
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "requests_per_second": 1}
    async with serving(replica_set, feed_await_ms=100, **asks) as service:
        answers = [
            await service.http.get(service.documents, headers={"Authorization": "Bearer nonsense"}) for _ in range(14)
        ]
        assert [one.status_code for one in answers[:10]] == [401] * 10
        assert answers[-1].status_code == 429
        assert answers[-1].json()["details"] == {"limit": "requests_per_second"}
