"""Batches that bring their images with them: those are not read again, and what is lacking is read at its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace

import pytest

from realtime.core.live.events import Batch
from realtime.hub.slicing import SLICE_EVENTS
from realtime.ports import VoidReadError
from tests.core.examples import query
from tests.hub.fakes import Service, rest, until
from tests.hub.scenes import RED, exact, two_collections


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


def brought(service: Service, *collections: str, without: Collection[str] = ()) -> Batch:
    """What was written since, with the documents of these collections as they are now."""
    batch, store = service.store.batch(), service.store
    images = {
        name: {key: document for key, document in store.at(name, batch.time).items() if key not in without}
        for name in collections
    }
    assert batch.events
    return replace(batch, images=images)


async def flow(service: Service, batch: Batch) -> None:
    service.stream.put(batch)
    await until(lambda: service.hub.time == batch.time)
    await rest()


async def test_images_that_a_batch_brings_are_not_read(service: Service) -> None:
    concerned, neighbour = await two_collections(service)
    service.store.update("items", 1, n=1)
    service.store.update("others", 3, n=2)
    await flow(service, brought(service, "items", "others"))
    assert service.store.reads_of("images") == []
    assert exact(concerned, service.store, query(RED)).documents["1"]["n"] == 1
    assert exact(neighbour, service.store, query(RED, collections="others")).documents["3"]["n"] == 2


async def test_a_collection_that_a_batch_brings_nothing_of_is_read_at_its_time(service: Service) -> None:
    concerned, neighbour = await two_collections(service)
    service.store.update("items", 1, n=1)
    service.store.update("others", 3, n=2)
    batch = brought(service, "items")
    await flow(service, batch)
    (read,) = service.store.reads_of("images")
    assert (read.collection, read.time) == ("others", batch.time)
    assert exact(concerned, service.store, query(RED)).documents["1"]["n"] == 1
    assert exact(neighbour, service.store, query(RED, collections="others")).documents["3"]["n"] == 2


async def test_of_a_collection_only_what_is_lacking_is_read(service: Service) -> None:
    concerned, _ = await two_collections(service)
    service.store.update("items", 1, n=1)
    service.store.update("items", 3, n=2)
    await flow(service, brought(service, "items", without={"3"}))
    (read,) = service.store.reads_of("images")
    assert list(read.keys) == [3]
    held = exact(concerned, service.store, query(RED))
    assert (held.documents["1"]["n"], held.documents["3"]["n"]) == (1, 2)


async def test_one_that_brings_its_images_is_told_whole_however_large(service: Service) -> None:
    """They are of its end: a part of it would have to be read."""
    store = service.store
    concerned, _ = await two_collections(service)
    for number in range(SLICE_EVENTS + 100):
        store.update("items", 1, n=number)
    batch = brought(service, "items")
    moments = len(concerned.moments())
    await flow(service, batch)
    assert len(concerned.moments()) == moments + 1
    assert store.reads_of("images") == []
    exact(concerned, store, query(RED))


async def test_after_a_bug_it_is_told_moment_by_moment_and_its_end_is_not_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.hub.pipe.backoff", lambda _: 0.0)
    store = service.store
    concerned, _ = await two_collections(service)
    failures = [ValueError("a bug of ours")]
    dispatch = service.hub.dispatch

    def failing(*arguments: object) -> None:
        if failures:
            raise failures.pop()
        dispatch(*arguments)  # type: ignore[arg-type]  # reason: it is handed on as it came

    monkeypatch.setattr(service.hub, "dispatch", failing)
    for number in range(1, 4):
        store.update("items", 1, n=number)
    batch = brought(service, "items")
    await flow(service, batch)
    assert [read.time for read in store.reads_of("images")] == [batch.time - 2, batch.time - 1]
    exact(concerned, store, query(RED))


async def test_one_that_waits_for_a_later_read_is_read_at_that_time_whatever_it_brought(service: Service) -> None:
    """One collection's read is void: the moment is told at T', where nothing that was brought holds any more."""
    store = service.store
    concerned, neighbour = await two_collections(service)
    store.faults["images"] = [VoidReadError("246")]
    store.update("items", 1, n=1)
    store.update("others", 3, n=2)
    first = brought(service, "items")
    store.update("items", 1, n=7)
    second = brought(service, "items")
    service.stream.put(first)
    await flow(service, second)
    assert exact(concerned, store, query(RED)).documents["1"]["n"] == 7
    assert exact(neighbour, store, query(RED, collections="others")).documents["3"]["n"] == 2
    assert "items" in {read.collection for read in store.reads_of("images")}
