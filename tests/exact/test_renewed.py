"""Tokens that live three seconds, renewed by the clients or not: what they say is all that happened, once.

Sabotage: `make sabotage`, rows "token".
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from realtime import errors
from realtime.client import Client, Status, connect
from tests.access.issuer import SECRET, signer
from tests.checker import Asked
from tests.exact.conftest import Say
from tests.exact.ledger import Ledger
from tests.exact.test_client import ACCOUNTS, QUICK, Listener, Witness, judged, transfers
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

LIFE = 3
CLIENTS = 4
SECONDS = 14.0
SIGNER = signer("HS256")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """One that asks for tokens."""
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop"}
    async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.5, **asks) as running:
        yield running


def minted(sub: str, life: float = LIFE) -> str:
    now = time.time()
    return SIGNER.token(sub=sub, iat=now, exp=now + life)


@dataclasses.dataclass(slots=True)
class Pass:
    """Where one client has its tokens from, and what became of its connection."""

    sub: str
    renews: bool
    asked: int = 0
    kept: str = ""
    reasons: list[str] = dataclasses.field(default_factory=list)
    ends: set[str] = dataclasses.field(default_factory=set)
    principals: set[str | None] = dataclasses.field(default_factory=set)

    def token(self) -> str:
        """A new one each time; for one that does not renew the same until it has ended."""
        self.asked += 1
        if self.renews or not self.kept or self.reasons:
            self.kept = minted(self.sub)
            self.reasons.clear()
        return self.kept

    def note(self, status: Status) -> None:
        if status.link == "connecting" and status.reason:
            self.reasons.append(status.reason)
            self.ends.add(status.reason)
        if status.link == "connected":
            self.principals.add(status.principal)


async def live(one: Pass, url: str, ends: list[int], over: asyncio.Event) -> tuple[Witness, Listener, Pass]:
    """One client's life: a view and events, until everything is there."""
    asked = Asked("q", ("accounts",))
    witness, listener = Witness([asked]), Listener(Asked("e", ("accounts",), mode="events"))
    async with AsyncExitStack() as stack:
        rt = await stack.enter_async_context(connect(url, token=one.token, backoff=QUICK))
        rt.on_status(one.note)
        view = await stack.enter_async_context(rt.query("accounts"))
        witness.entered(view)
        events = await stack.enter_async_context(rt.events("accounts"))
        tasks = [asyncio.create_task(witness.follow(view)), asyncio.create_task(listener.follow(events))]
        await over.wait()
        await rt.settled(f"{str(view.position)[:8]}-{ends[0]:016X}")
        view.close()
        events.close()
        await asyncio.gather(*tasks)
    return witness, listener, one


async def test_nothing_is_missed_by_clients_whose_tokens_end_every_three_seconds(service: Service, say: Say) -> None:
    ledger, stop, over, ends = Ledger(service.database), threading.Event(), asyncio.Event(), list[int]()
    ledger.bulk("accounts", [{"_id": f"0-{n}", "part": 0, "balance": 100} for n in range(ACCOUNTS)])
    passes = [Pass(f"u{number}", renews=number % 2 == 0) for number in range(CLIENTS)]
    clients = [asyncio.create_task(live(one, service.url, ends, over)) for one in passes]
    writer = asyncio.create_task(asyncio.to_thread(transfers, ledger, 0, stop))
    try:
        await asyncio.wait(clients, timeout=SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        assert not any(client.done() for client in clients), clients
    finally:
        stop.set()
    await writer
    ends.append(ledger.last)
    over.set()
    ran = await asyncio.gather(*clients)
    truth, figures = ledger.truth(), Counter[str]()
    for witness, listener, one in ran:
        figures += await asyncio.to_thread(judged, truth, witness, listener)
        assert one.principals == {one.sub}
        if one.renews:
            # In place: no connection but the first.
            assert one.ends == set()
            assert one.asked >= SECONDS / LIFE
            figures["renewed"] += one.asked - 1
        else:
            assert one.ends == {"closed with 4002 expired"}
            figures["came back"] += one.asked
    say(f"{len(truth.writes)} writes, {dict(figures)}")
    assert figures["told"] == figures["expected"] > 300
    assert figures["renewed"] >= CLIENTS / 2 * 3
    assert figures["came back"] >= CLIENTS / 2 * 3


def always_bad(asked: list[str]) -> Callable[[], str]:
    """Another one each time, and none of them good."""

    def give() -> str:
        asked.append(signer("RS256").token(sub="ann"))
        return asked[-1]

    return give


async def test_a_token_that_is_not_good_stops_the_client_with_what_the_service_says(service: Service) -> None:
    wrong: list[tuple[object, str]] = [
        (minted("ann", life=-60), "expired"),
        (lambda: minted("ann", life=-60), "expired"),
        (None, r"connect\(token=…\)"),
        ("hello", "token"),
    ]
    for token, told in wrong:
        with pytest.raises(errors.UnauthenticatedError, match=told) as raised:
            async with connect(service.url, token=token, backoff=QUICK):  # type: ignore[arg-type]  # reason: of several kinds
                pass
        if isinstance(token, str):
            assert token not in str(raised.value) or token == "hello"
    asked: list[str] = []
    with pytest.raises(errors.UnauthenticatedError):
        async with connect(service.url, token=always_bad(asked), backoff=QUICK):
            pass
    assert len(asked) == 2


async def ended(rt: Client) -> errors.ServiceError:
    """What ends the client."""
    with pytest.raises(errors.ServiceError) as raised:
        async for _ in rt.events("accounts"):
            pass
    return raised.value


async def test_a_token_that_is_text_ends_the_client_when_it_ends_and_says_so(service: Service) -> None:
    async with connect(service.url, token=minted("ann", life=1), backoff=QUICK) as rt, asyncio.timeout(30):
        error = await ended(rt)
    assert (type(error), rt.status.link) == (errors.UnauthenticatedError, "closed")
    assert "expired" in error.message


async def test_reads_and_writes_go_by_the_token_too(service: Service) -> None:
    async with connect(service.url, token=lambda: minted("ann")) as rt:
        await rt.insert("accounts", {"_id": 1})
        assert await rt.get("accounts", 1) == {"_id": 1}
        assert (rt.status.principal, await rt.count("accounts")) == ("ann", 1)
        assert rt.status.expires is not None
