"""A list of documents is inserted whole or not at all, and seen in one moment."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime.core.live.events import parse_position
from tests.exact.ledger import to_int
from tests.mongo.commands import breakable, failing, now
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired


@pytest.fixture(scope="module")
async def own_service() -> AsyncIterator[Service]:
    """A service, its requests bounded to 1 s, on a replica set whose commands may be made to fail."""
    with tempfile.TemporaryDirectory(prefix="realtime-bulk-") as directory:
        async with breakable(Path(directory)) as uri:
            own = ReplicaSet(uri=uri, lane="embedded", can_fail_commands=True)
            async with serving(own, feed_await_ms=100, request_timeout_seconds=1) as running:
                running.database.create_collection("orders")
                yield running


@pytest.fixture(autouse=True)
def emptied(own_service: Service) -> None:
    """Its tests share one collection."""
    own_service.database.orders.delete_many({})


async def test_a_list_is_one_moment_at_its_position(service: Service) -> None:
    documents = [{"_id": n, "group": n % 3} for n in range(1000)]
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders")
        made = await service.http.post(service.documents, json=documents)
        assert made.status_code == 201, made.text
        await wire.when(lambda: bool(view.documents))
        held = len(view.documents)
    body = made.json()
    assert body["keys"] == list(range(1000))
    assert "location" not in made.headers
    told = [(frame["position"], len(frame["changes"])) for frame in wire.of("changes")]
    # Told as one. Where the feed comes late to it the batch, and with it the frame, may end behind the moment.
    assert [changes for _, changes in told] == [1000]
    assert told[0][0] >= body["position"]
    assert held == 1000


async def test_the_position_is_the_commits_own_time(service: Service) -> None:
    """Read at it the documents are there; one increment before it, none is."""
    service.database.orders.insert_one({"_id": "before"})
    made = await service.http.post(service.documents, json=[{"_id": n} for n in range(50)])
    live = service.realtime.live()
    time = parse_position(made.json()["position"], live.epoch)
    oplog: Any = service.database.client["local"]["oplog.rs"]
    applied = oplog.find_one({"o.applyOps.ns": f"{service.database.name}.orders"}, sort=[("$natural", -1)])
    assert to_int(applied["ts"]) == time
    assert len(applied["o"]["applyOps"]) == 50


async def test_documents_without_a_key_get_one_each_in_the_order_given(service: Service) -> None:
    made = await service.http.post(service.documents, json=[{"n": n} for n in range(20)])
    keys = [key["$oid"] for key in made.json()["keys"]]
    found = {str(one["_id"]): one["n"] for one in service.database.orders.find()}
    assert [found[key] for key in keys] == list(range(20))


@pytest.mark.parametrize("place", [0, 7, 19])
async def test_a_duplicate_anywhere_leaves_nothing_and_names_the_document(service: Service, place: int) -> None:
    service.database.orders.create_index("number", unique=True)
    service.database.orders.insert_one({"_id": "there", "number": place})
    answer = await service.http.post(service.documents, json=[{"_id": n, "number": n} for n in range(20)])
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_key")
    assert answer.json()["details"] == {"fields": ["number"], "index": place}
    assert [one["_id"] for one in service.database.orders.find()] == ["there"]


async def test_a_key_that_stands_twice_in_the_list_is_named(service: Service) -> None:
    answer = await service.http.post(service.documents, json=[{"_id": 1}, {"_id": 2}, {"_id": 1}])
    assert (answer.status_code, answer.json()["details"]) == (409, {"fields": ["_id"], "index": 2})
    assert service.database.orders.count_documents({}) == 0


async def test_what_a_validator_refuses_is_named_and_nothing_is_there(service: Service) -> None:
    service.database.create_collection("orders", validator={"n": {"$lt": 3}})
    answer = await service.http.post(service.documents, json=[{"n": n} for n in range(5)])
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["details"]["index"] == 3
    assert service.database.orders.count_documents({}) == 0


@pytest.mark.parametrize(
    ("documents", "details"),
    [
        ([{"a": 1}, {"b": {"$c": 1}}], {"field": "document.b.$c", "index": 1}),
        ([{"a": 1}, {"b": 1}, 7], {"index": 2}),
        ([], {"count": 0, "limit": 1000}),
        ([{}] * 1001, {"count": 1001, "limit": 1000}),
    ],
    ids=["operator", "no object", "none", "too many"],
)
async def test_what_cannot_be_stored_is_refused_by_its_place(
    service: Service, documents: list[Any], details: dict[str, Any]
) -> None:
    answer = await service.http.post(service.documents, json=documents)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["details"] == details
    assert service.database.orders.count_documents({}) == 0


async def test_the_body_of_a_list_is_bounded_as_a_whole(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, document_bytes=4096, feed_await_ms=100) as service:
        answer = await service.http.post(service.documents, json=[{"text": "x" * 100}] * 50)
        assert (answer.status_code, answer.json()["details"]) == (413, {"limit": 4096})
        assert service.database.orders.count_documents({}) == 0


async def test_concurrent_lists_with_a_key_in_common_are_each_whole_or_refused(service: Service) -> None:
    """Transactions that conflict are run again, and decided again."""
    lists = [[{"_id": f"{n}-{one}"} for one in range(5)] + [{"_id": "common"}] for n in range(10)]
    answers = await asyncio.gather(*(service.http.post(service.documents, json=one) for one in lists))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    winner = next(n for n, answer in enumerate(answers) if answer.status_code == 201)
    assert {one["_id"] for one in service.database.orders.find()} == {one["_id"] for one in lists[winner]}


TRANSIENT: dict[str, Any] = {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}
UNKNOWN: dict[str, Any] = {
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"},
    "errorLabels": ["UnknownTransactionCommitResult"],
}


async def test_a_transient_error_is_tried_again(own_service: Service) -> None:
    with failing(own_service.database, "insert", times=3, appName="realtime", **TRANSIENT) as point:
        made = await own_service.http.post(own_service.documents, json=[{"_id": 1}, {"_id": 2}])
    assert (made.status_code, point.hits) == (201, 3)
    assert own_service.database.orders.count_documents({}) == 2


async def test_a_transient_error_that_stays_ends_within_the_request_time_limit(own_service: Service) -> None:
    began = asyncio.get_running_loop().time()
    with failing(own_service.database, "insert", appName="realtime", **TRANSIENT) as point:
        answer = await own_service.http.post(own_service.documents, json=[{"_id": 1}, {"_id": 2}])
    took = asyncio.get_running_loop().time() - began
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (503, "unavailable", True)
    assert point.hits > 3
    assert took < 3.0
    assert own_service.database.orders.count_documents({}) == 0


async def test_a_commit_whose_answer_was_lost_is_asked_for_again(own_service: Service) -> None:
    start = now(own_service.database)
    with failing(own_service.database, "commitTransaction", times=2, appName="realtime", **UNKNOWN) as point:
        made = await own_service.http.post(own_service.documents, json=[{"_id": 1}, {"_id": 2}])
    assert (made.status_code, point.hits) == (201, 2)
    assert own_service.database.orders.count_documents({}) == 2
    assert parse_position(made.json()["position"], own_service.realtime.live().epoch) > start


async def test_a_commit_that_nobody_confirms_may_have_happened(own_service: Service) -> None:
    with failing(own_service.database, "commitTransaction", appName="realtime", **UNKNOWN) as point:
        answer = await own_service.http.post(own_service.documents, json=[{"_id": 1}, {"_id": 2}])
    assert answer.status_code in {503, 504}, answer.text
    assert answer.json()["details"]["maybe_written"] is True
    assert point.hits > 1
