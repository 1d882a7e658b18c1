"""Tickets of event streams: one stream, the same again, nothing else; on every node; and silent about who asks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

SIGNER = signer("HS256")
ASKS = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100}
EVENTS, LIVE = "/v1/collections/orders/events", "/v1/collections/orders/documents"


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    async with serving(replica_set, **ASKS) as running:
        yield running


async def a_ticket(service: Service, **claims: Any) -> str:
    headers = {"Authorization": f"Bearer {SIGNER.token(**claims)}"}
    answer = await service.http.post("/v1/tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    text: str = answer.json()["ticket"]
    return text


@asynccontextmanager
async def opened(service: Service, path: str, ticket: str, **headers: str) -> AsyncIterator[httpx.Response]:
    async with service.http.stream("GET", path, params={"ticket": ticket}, headers=headers) as answer:
        yield answer


async def first_id(lines: AsyncIterator[str]) -> str:
    """Up to the first position."""
    while not (line := await anext(lines)).startswith("id: "):
        pass
    return line[4:]


async def test_a_ticket_opens_one_stream_and_the_same_again_with_last_event_id(service: Service) -> None:
    ticket = await a_ticket(service)
    async with opened(service, EVENTS, ticket) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()  # kept: its end would be the stream's
        position = await first_id(lines)
        beside = await service.http.get(EVENTS, params={"ticket": ticket})
        assert (beside.status_code, beside.json()["code"]) == (401, "unauthenticated")
        again = await service.http.get(EVENTS, params={"ticket": ticket}, headers={"Last-Event-ID": position})
        assert again.status_code == 200
        assert '"code":"unavailable"' in again.text
        assert '"retry":true' in again.text
    await until_free(service)
    fresh = await service.http.get(EVENTS, params={"ticket": ticket})
    assert fresh.status_code == 401
    other = await service.http.get(
        EVENTS, params={"ticket": ticket, "operations": "insert"}, headers={"Last-Event-ID": position}
    )
    assert '"code":"unauthenticated"' in other.text
    service.database.orders.insert_one({"_id": "meanwhile"})
    async with opened(service, EVENTS, ticket, **{"Last-Event-ID": position}) as answer, asyncio.timeout(20):
        async for line in answer.aiter_lines():
            if "meanwhile" in line:
                break


async def until_free(service: Service) -> None:
    """The service has written down that no stream of these tickets is open."""
    async with asyncio.timeout(20):
        while service.database.realtime_tickets.find_one({"holder": {"$ne": None}, "who": {"$exists": True}}):
            await asyncio.sleep(0.05)


async def test_a_ticket_serves_the_live_query_too_and_nothing_that_is_no_stream(service: Service) -> None:
    ticket = await a_ticket(service)
    for path, headers in ((LIVE, {}), (LIVE, {"Accept": "application/x-ndjson"})):
        answer = await service.http.get(path, params={"ticket": ticket}, headers=headers)
        assert answer.status_code == 401
    posted = await service.http.post(LIVE, params={"ticket": ticket}, json={"_id": "never"})
    assert posted.status_code in {401, 422}
    async with opened(service, LIVE, ticket, Accept="text/event-stream") as answer:
        assert answer.status_code == 200
        assert await first_id(answer.aiter_lines())
    assert service.database.orders.find_one({"_id": "never"}) is None


async def test_a_ticket_is_good_at_every_node(replica_set: ReplicaSet, service: Service) -> None:
    async with serving(replica_set, database=service.database.name, keep=True, **ASKS) as other:
        for one, another in ((service, other), (other, service)):
            ticket = await a_ticket(one)
            async with opened(another, EVENTS, ticket) as answer:
                assert answer.status_code == 200
                assert await first_id(answer.aiter_lines())


async def test_what_is_no_ticket_or_a_used_up_one_is_401(service: Service) -> None:
    ticket = await a_ticket(service)
    changed = ticket[:-5] + ("A" if ticket[-5] != "A" else "B") + ticket[-4:]
    for text in (changed, "x", "", "ä" * 43):
        answer = await service.http.get(EVENTS, params={"ticket": text})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), text


async def test_a_ticket_that_is_refused_is_in_the_audit_log_and_is_counted(
    replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """What stands in an address can be tried as any token can, and nobody was told."""
    file = tmp_path / "audit.jsonl"
    limits = {"requests_per_second": 1, "audit_log": file}
    async with serving(replica_set, **ASKS, **limits) as service:
        assert (await service.http.get(EVENTS)).status_code == 401
        answers = [await service.http.get(EVENTS, params={"ticket": f"made-up-{n}"}) for n in range(12)]
        async with asyncio.timeout(20):
            while len(told := [json.loads(line) for line in file.read_text().splitlines()]) < 13:
                await asyncio.sleep(0.02)
    assert [one["what"] for one in told] == ["refused"] * len(told)
    assert [one["reason"] for one in told][:3] == ["no_token", "bad_ticket", "bad_ticket"]
    assert "made-up" not in json.dumps(told)
    assert answers[0].status_code == 401
    # Over an address's limit of refused requests nothing is looked into any more.
    assert [one.status_code for one in answers][-1] == 429


async def test_a_ticket_is_a_write_to_the_limits(replica_set: ReplicaSet) -> None:
    """It is a document of `realtime_tickets`."""
    async with serving(replica_set, **ASKS, writes_per_second=1) as service:
        headers = {"Authorization": f"Bearer {SIGNER.token()}"}
        answers = [await service.http.post("/v1/tickets", headers=headers) for _ in range(12)]
        assert answers[0].status_code == 201
        assert (answers[-1].status_code, answers[-1].json()["details"]) == (429, {"limit": "writes_per_second"})
        assert service.database.realtime_tickets.count_documents({"who": {"$exists": True}}) < 12


async def test_a_stream_by_a_ticket_is_a_request_to_the_limits(replica_set: ReplicaSet, tmp_path: Path) -> None:
    """By a token it was one, and by a ticket as many as anybody liked, each of which asks MongoDB twice."""
    file = tmp_path / "audit.jsonl"
    async with serving(replica_set, **ASKS, requests_per_second=1, audit_log=file) as service:
        ticket, told, position = await a_ticket(service), list[str](), ""
        while not (told and '"rate_limited"' in told[-1]) and len(told) < 100:
            again = {"Last-Event-ID": position} if position else {}
            async with opened(service, EVENTS, ticket, **again) as answer:
                lines = answer.aiter_lines()  # kept: its end would be the stream's
                while not (line := await anext(lines)).startswith("data:"):
                    position = line[4:] if line.startswith("id: ") else position
                told.append(line[5:])
                if not position:
                    position = await first_id(lines)
            await until_free(service)
        assert '"type":"subscribed"' in told[0]
        fields = json.loads(told[-1])
        assert (fields["code"], fields["details"]) == ("rate_limited", {"limit": "requests_per_second"})
        # As many as a second has ten times over, one of which gave the ticket; and what came meanwhile.
        assert ['"error"' in one for one in told] == [False] * (len(told) - 1) + [True]
        assert len(told) >= 10
        async with asyncio.timeout(20):
            while '"rate_limited"' not in file.read_text():
                await asyncio.sleep(0.02)


async def test_a_stream_by_a_ticket_ends_with_the_token_and_so_does_the_ticket(service: Service) -> None:
    end = time.time() + 1.5
    ticket = await a_ticket(service, exp=end)
    answer = await service.http.get(EVENTS, params={"ticket": ticket})
    assert 0 < time.time() - end < 5
    frames = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    assert (frames[-1]["type"], frames[-1]["code"]) == ("closing", 4002)
    again = await service.http.get(EVENTS, params={"ticket": ticket}, headers={"Last-Event-ID": "x"})
    assert again.status_code == 200
    assert '"code":"unauthenticated"' in again.text


async def test_a_ticket_says_nothing_of_who_asks_and_is_forgotten_when_its_time_is_over(service: Service) -> None:
    ticket = await a_ticket(service, sub="a-very-special-name")
    assert "special" not in ticket
    stored = service.database.realtime_tickets.find_one({"who.sub": "a-very-special-name"})
    assert stored is not None
    assert ticket not in json.dumps(stored, default=str)
    (index,) = [one for one in service.database.realtime_tickets.list_indexes() if one["key"] == {"expires": 1}]
    assert index["expireAfterSeconds"] == 0
    refused = await service.http.get("/v1/collections/realtime_tickets/documents", headers=auth())
    assert refused.json()["code"] == "unsupported_collection"


def auth() -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.token()}"}


@pytest.mark.parametrize("begun", ["not attached yet", "not answered yet"])
async def test_a_stream_whose_principal_ends_before_it_begins_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    """It was attached all the same, to a sink that was closed already."""
    live, attached = service.realtime.live(), []
    watch = live.doorkeeper.watch

    def revoked(guest: Any, principal: Any, connection: Any = None) -> None:
        watch(guest, principal, connection)
        guest.over(4504, "revoked")

    def noted(subscription: Any) -> None:
        attached.append(subscription)
        if begun == "not answered yet":
            subscription.owner.over(4504, "revoked")

    monkeypatch.setattr(live.hub, "attach", noted)
    if begun != "not answered yet":
        monkeypatch.setattr(live.doorkeeper, "watch", revoked)
    path = {"Accept": "text/event-stream", **auth()}
    answer = await service.http.get(LIVE, headers=path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    again = await service.http.get(LIVE, headers={**path, "Last-Event-ID": "5FF2E727-6B0343B000000001"})
    frames = [json.loads(line[5:]) for line in again.text.splitlines() if line.startswith("data:")]
    assert (again.status_code, [(one["type"], one["code"]) for one in frames]) == (200, [("error", "unauthenticated")])
    assert len(attached) == (2 if begun == "not answered yet" else 0)
