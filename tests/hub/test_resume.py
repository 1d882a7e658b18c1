"""Those who resume alike are told alike: worked out and encoded once, and each is told all of its own rest."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Literal

import orjson
import pytest

from realtime.core.live.event_group import EventGroup
from realtime.core.live.query import QueryGroup
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, until

CROWD = 50


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


class Calls:
    """Counts what is worked out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        for kind, name in ((QueryGroup, "since"), (EventGroup, "matching")):
            monkeypatch.setattr(kind, name, self._counting(getattr(kind, name)))

    def _counting(self, method: object) -> object:
        def counted(*given: object, **named: object) -> object:
            self.made += 1
            return method(*given, **named)  # type: ignore[operator]  # reason: whatever method it is, it is passed on

        return counted


@pytest.mark.parametrize("mode", ["query", "events"])
async def test_a_crowd_that_resumes_from_three_positions_costs_no_more_than_three(
    service: Service, mode: Literal["query", "events"], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, what = service.store, query(mode=mode)
    first = Peer()
    await service.subscribed(Subscription("s", first, what))
    for number in range(10):
        store.insert("items", {"_id": number})
        await service.flow()
    calls, last = Calls(monkeypatch), service.hub.time
    peers = [(Peer(), after) for after in itertools.islice(itertools.cycle(range(last - 3, last)), CROWD)]
    for peer, after in peers:
        service.attach(Subscription(f"s{after}", peer, what, after))
    await until(lambda: all(b'"live"' in b"".join(peer.frames) for peer, _ in peers))
    told = [sum(map(entries, peer.frames)) for peer, _ in peers]
    assert told == [last - after for _, after in peers]
    assert sum(told) > CROWD
    # Query mode: a list for each position. Events mode: one for each moment, which all three share.
    assert calls.made == 3
    # And what happens next is told anew.
    store.insert("items", {"_id": 11})
    await service.flow()
    late = Peer()
    await service.subscribed(Subscription("s", late, what, last - 1))
    assert sum(map(entries, late.frames)) == 2


def entries(frame: bytes) -> int:
    """How many changes or events a frame has."""
    told = orjson.loads(frame)
    return len(told.get("changes", told.get("events", ())))
