"""A live query of the service's own: whole, then change by change; unknown whenever it cannot be told for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from realtime.core.wire.reserved_names import REVOCATIONS
from realtime.errors import UnavailableError, UnsupportedCollectionError
from realtime.hub import own
from realtime.hub.own import OwnQuery
from tests.core import examples
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import types, watch


class Told:
    """A follower that keeps what it was told."""

    def __init__(self) -> None:
        self.documents: dict[str, Mapping[str, Any]] | None = None
        self.said: list[str] = []
        self.fails = False

    def whole(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.said.append("whole")
        self.documents = dict(documents)

    def changed(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        if self.fails:
            self.fails = False
            raise ValueError("a bug")
        self.said.append(f"changed {len(changes)}")
        assert self.documents is not None
        for name, document in changes.items():
            if document is None:
                del self.documents[name]
            else:
                self.documents[name] = document

    def unknown(self) -> None:
        self.said.append("unknown")
        self.documents = None


def begun(service: Service) -> tuple[OwnQuery, Told]:
    told = Told()
    query = OwnQuery(service.hub, REVOCATIONS, told)
    query.begin()
    return query, told


async def test_it_is_whole_first_and_then_changes_by_moments() -> None:
    async with Service() as service:
        for number in range(3):
            service.store.insert(REVOCATIONS, {"_id": f"sub:{number}", "sub": str(number)})
        await service.flow()
        query, told = begun(service)
        await until(lambda: told.documents is not None)
        assert told.documents is not None
        assert sorted(told.documents) == ['"sub:0"', '"sub:1"', '"sub:2"']
        with service.store.transaction():
            service.store.insert(REVOCATIONS, {"_id": "sub:9", "sub": "9"})
            service.store.delete(REVOCATIONS, "sub:0")
        service.store.replace(REVOCATIONS, {"_id": "sub:1", "sub": "changed"})
        await service.flow()
        assert told.documents['"sub:1"'] == {"_id": "sub:1", "sub": "changed"}
        assert sorted(told.documents) == ['"sub:1"', '"sub:2"', '"sub:9"']
        assert told.said[0] == "whole"
        assert told.said.count("whole") == 1
        query.close()
        service.store.insert(REVOCATIONS, {"_id": "late"})
        await service.flow()
        assert '"late"' not in told.documents


async def test_a_collection_that_is_not_there_is_whole_and_empty() -> None:
    async with Service() as service:
        query, told = begun(service)
        await until(lambda: told.documents is not None)
        assert told.documents == {}
        query.close()


@pytest.mark.parametrize("how", ["lost", "dropped"])
async def test_after_lost_history_and_after_a_drop_it_is_unknown_until_it_is_read_again(how: str) -> None:
    async with Service() as service:
        service.store.insert(REVOCATIONS, {"_id": "sub:1", "sub": "1"})
        await service.flow()
        query, told = begun(service)
        await until(lambda: told.documents is not None)
        service.store.hold("find")
        if how == "dropped":
            service.store.drop(REVOCATIONS)
        else:
            service.store.insert("items", {"_id": 1})
        await service.flow(lost=how == "lost")
        assert told.documents is None
        assert told.said == ["whole", "unknown"]
        service.store.let_go("find")
        await until(lambda: told.documents is not None)
        assert told.documents == ({} if how == "dropped" else {'"sub:1"': {"_id": "sub:1", "sub": "1"}})
        query.close()


async def test_what_cannot_be_read_is_unknown_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "RETRY_SECONDS", 0.01)
    async with Service() as service:
        service.store.faults["describe"] += [
            UnavailableError("MongoDB does not answer"),
            UnsupportedCollectionError("a view"),
        ]
        query, told = begun(service)
        async with asyncio.timeout(10):
            while told.documents is None:
                await asyncio.sleep(0.01)
        assert told.said == ["unknown", "unknown", "whole"]
        query.close()


@pytest.mark.parametrize("grows", ["the own one", "a client's"])
async def test_the_bounds_of_clients_queries_are_none_of_its_own(grows: str) -> None:
    """Who filled them ended the revocations with that, until when nobody was let in."""
    async with Service(all_bytes=400, bytes=390, documents=3, kept=3) as service:
        store, peer = service.store, Peer()
        for number in range(3):
            store.insert("items", {"_id": number, "team": "red", "text": "x" * 80})
            store.insert(REVOCATIONS, {"_id": f"sub:{number}", "sub": "x" * 100})
        await service.flow()
        query, told = begun(service)
        await until(lambda: told.documents is not None)
        await service.subscribed(watch(peer, examples.query(sort=[["_id", 1]])))
        (own_group,) = service.hub.router.query_groups(REVOCATIONS)
        assert own_group.size > 200
        assert service.hub.groups.holdings.bytes == sum(one.size for one in service.hub.router.query_groups("items"))
        for number in range(3, 10):
            if grows == "the own one":
                store.insert(REVOCATIONS, {"_id": f"sub:{number}", "sub": "x" * 100})
            else:
                store.update("items", number % 3, text="x" * 80 * number)
            await service.flow()
        assert told.said[0] == "whole"
        assert told.said[1:] == (["changed 1"] * 7 if grows == "the own one" else [])
        assert told.documents is not None
        assert len(told.documents) == (10 if grows == "the own one" else 3)
        assert own_group.keeps
        # Nor is a client's ended for what the service knows.
        assert ("unsubscribed" in types(peer)) == (grows != "the own one")
        query.close()


async def test_a_bug_in_who_follows_is_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "RETRY_SECONDS", 0.01)
    async with Service() as service:
        query, told = begun(service)
        await until(lambda: told.documents is not None)
        told.fails = True
        service.store.insert(REVOCATIONS, {"_id": "sub:1", "sub": "1"})
        await service.flow()
        async with asyncio.timeout(10):
            while told.documents is None:
                await asyncio.sleep(0.01)
        assert list(told.documents) == ['"sub:1"']
        assert told.said == ["whole", "unknown", "whole"]
        query.close()
        await rest()
