"""Reading over HTTP under rules: what each sees, and the one answer about what they do not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.access.rules_file import RulesFile
from realtime.access.ruling import read
from realtime.web.entrance import live
from realtime.web.http.keys import key_text
from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

SIGNER = signer("HS256")
RULES = """
orders:
  customer: {read: {owner: $user.sub}, fields: {hide: [margin, notes.internal]}}
  clerk: {read: {status: open}, fields: {show: [status, margin]}}
  author: {insert: true}
ratios:
  customer: {read: {$expr: {$gt: [{$divide: [10, $n]}, 1]}}}
"*":
  admin: {read: true}
"""
LIST = "/v1/collections/orders/documents"
ONE = key_text(1)
FAILING = json.dumps({"$or": [{"$expr": {"$gt": [{"$divide": [1, "$n"]}, 0]}}]})
ORDERS = [
    {"_id": 1, "owner": "ann", "status": "open", "margin": 5, "notes": {"internal": "secret 1", "text": "a"}, "n": 1},
    {"_id": 2, "owner": "ann", "status": "done", "margin": 6, "notes": [{"internal": "secret 2"}], "n": 2},
    {"_id": 3, "owner": "bob", "status": "open", "margin": 7, "notes": "secret 3", "n": 0},
]


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    rules: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100, "rules": rules}
    async with serving(replica_set, **asks) as running:
        running.database.orders.insert_many(ORDERS)
        running.database.others.insert_one({"_id": 1})
        running.database.create_collection("view", viewOn="orders", pipeline=[])
        yield running


def bearer(sub: str, *roles: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.token(sub=sub, roles=list(roles))}"}


async def get(service: Service, path: str, sub: str, *roles: str, accept: str = "*/*", **params: Any) -> httpx.Response:
    headers = {**bearer(sub, *roles), "Accept": accept}
    return await service.http.get(path, params=params, headers=headers)


async def listed(service: Service, *who: str, **params: Any) -> list[Any]:
    answer = await get(service, LIST, *who, **params)
    assert answer.status_code == 200, answer.text
    documents: list[Any] = answer.json()["documents"]
    return documents


async def lines(service: Service, *who: str, **params: Any) -> list[Any]:
    answer = await get(service, LIST, *who, accept="application/x-ndjson", **params)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


ANN = [
    {"_id": 1, "owner": "ann", "status": "open", "notes": {"text": "a"}, "n": 1},
    {"_id": 2, "owner": "ann", "status": "done", "notes": [{}], "n": 2},
]


async def test_a_list_has_what_the_rule_lets_with_the_fields_cut(service: Service) -> None:
    assert await listed(service, "ann", "customer") == ANN
    assert await lines(service, "ann", "customer") == [*ANN, {"end": True}]
    assert await listed(service, "eve", "customer") == []
    assert await listed(service, "eve", "admin") == ORDERS
    clerk = [{"_id": 1, "status": "open", "margin": 5}, {"_id": 3, "status": "open", "margin": 7}]
    assert await listed(service, "eve", "clerk") == clerk


async def test_with_two_grants_rows_and_fields_are_of_one(service: Service) -> None:
    both = [
        {"_id": 1, "owner": "ann", "status": "open", "margin": 5, "notes": {"text": "a"}, "n": 1},
        ANN[1],
        {"_id": 3, "status": "open", "margin": 7},
    ]
    assert await listed(service, "ann", "customer", "clerk") == both
    assert await lines(service, "ann", "customer", "clerk") == [*both, {"end": True}]


async def test_filter_sort_page_projection_and_count_are_of_what_is_seen(service: Service) -> None:
    answer = await get(
        service, LIST, "ann", "customer", sort='{"n":-1}', limit=1, count=True, projection='{"margin":1,"n":1}'
    )
    page = answer.json()
    assert page["documents"] == [{"_id": 2, "n": 2}]
    assert page["count"] == 2
    assert await listed(service, "ann", "customer", sort='{"n":-1}', limit=1, after=page["next"]) == [ANN[0]]
    assert await listed(service, "ann", "customer", filter='{"status":"open"}') == [ANN[0]]


async def test_a_hidden_document_makes_no_list_fail(service: Service) -> None:
    assert await listed(service, "ann", "customer", filter=FAILING) == ANN
    assert await lines(service, "ann", "customer", filter=FAILING) == [*ANN, {"end": True}]
    answer = await get(service, LIST, "ann", "customer", filter=FAILING, count=True)
    assert answer.json()["count"] == 2
    assert (await get(service, LIST, "ann", "admin", filter=FAILING)).status_code == 422


@pytest.mark.parametrize(
    "params",
    [
        {"filter": '{"margin":{"$gt":5}}'},
        {"filter": '{"$expr":{"$gt":["$margin",5]}}'},
        {"filter": '{"notes":"secret 3"}'},
        {"sort": '{"margin":1}'},
        {"projection": '{"m":{"$toString":"$margin"}}'},
    ],
)
async def test_nobody_asks_by_what_is_hidden(service: Service, params: dict[str, str]) -> None:
    for accept in ("application/json", "application/x-ndjson", "text/event-stream"):
        answer = await get(service, LIST, "ann", "customer", accept=accept, **params)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
        assert "secret" not in answer.text


async def test_one_document_is_shown_as_its_reader_sees_it(service: Service) -> None:
    mine = await get(service, f"{LIST}/{ONE}", "ann", "customer")
    assert mine.json() == ANN[0]
    whole = await get(service, f"{LIST}/{ONE}", "eve", "admin")
    assert whole.json() == ORDERS[0]
    assert mine.headers["etag"] != whole.headers["etag"]
    again = await service.http.get(
        f"{LIST}/{ONE}", headers={**bearer("ann", "customer"), "If-None-Match": mine.headers["etag"]}
    )
    assert again.status_code == 304
    hidden, missing = [await get(service, f"{LIST}/{key_text(key)}", "ann", "customer") for key in (3, 4)]
    assert (hidden.status_code, hidden.json()) == (missing.status_code, missing.json())
    assert hidden.status_code == 404


async def test_a_document_of_which_the_rule_has_no_value_is_answered_as_a_missing_one(service: Service) -> None:
    ratios = "/v1/collections/ratios/documents"
    service.database.ratios.insert_many([{"_id": 1, "n": 5}, {"_id": 3, "n": 0}])
    try:
        answers = [await get(service, f"{ratios}/{key_text(key)}", "ann", "customer") for key in (1, 3, 4)]
    finally:
        service.database.ratios.drop()
    mine, failing, missing = answers
    assert mine.json() == {"_id": 1, "n": 5}
    assert (failing.status_code, failing.json()) == (missing.status_code, missing.json())
    assert failing.status_code == 404


async def test_a_tag_does_not_change_with_what_is_hidden(service: Service) -> None:
    def tag() -> Any:
        return get(service, f"{LIST}/{key_text(9)}", "ann", "customer")

    service.database.orders.insert_one({"_id": 9, "owner": "ann", "margin": 1})
    before = (await tag()).headers["etag"]
    service.database.orders.update_one({"_id": 9}, {"$set": {"margin": 2}})
    assert (await tag()).headers["etag"] == before
    service.database.orders.update_one({"_id": 9}, {"$set": {"n": 2}})
    assert (await tag()).headers["etag"] != before
    service.database.orders.delete_one({"_id": 9})


async def test_where_one_has_no_rule_there_is_one_answer_whatever_there_is(service: Service) -> None:
    told = set()
    for name in ("orders", "others", "never", "view"):
        for path in (f"/v1/collections/{name}/documents", f"/v1/collections/{name}/documents/1"):
            answer = await get(service, path, "eve", "author")
            told.add((answer.status_code, answer.json()["code"], answer.json()["detail"]))
    assert told == {(403, "forbidden", "no rule lets you read this collection")}


async def test_collections_are_those_that_one_may_read_with_counts_where_one_sees_every_document(
    service: Service,
) -> None:
    async def names(*who: str) -> dict[str, Any]:
        answer = await get(service, "/v1/collections", *who)
        return {one["name"]: one.get("count") for one in answer.json()["collections"]}

    assert await names("ann", "customer") == {"orders": None}
    assert await names("ann", "author") == {}
    assert await names("ann", "admin") == {"orders": 3, "others": 1}
    (only,) = (await get(service, "/v1/collections", "ann", "customer")).json()["collections"]
    assert only == {"name": "orders"}


@pytest.mark.parametrize("path", [LIST, f"{LIST}/{ONE}", "/v1/collections", "/v1/collections/orders/events"])
async def test_an_endpoint_that_does_not_say_that_it_obeys_rules_is_nobodys(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(live, "_RULED", set())
    answer = await get(service, path, "ann", "admin")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == "no rule lets you do this"


async def test_an_event_stream_is_the_query_of_who_opens_it(service: Service) -> None:
    ticket = (await service.http.post("/v1/tickets", headers=bearer("ann", "customer"))).json()["ticket"]
    for how in (
        {"headers": {**bearer("ann", "customer"), "Accept": "text/event-stream"}},
        {"params": {"ticket": ticket}},
    ):
        given: dict[str, Any] = {"headers": {"Accept": "text/event-stream"}, **how}
        async with service.http.stream("GET", LIST, **given) as answer, asyncio.timeout(20):
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                if line.startswith('data: {"type":"snapshot"'):
                    found = json.loads(line.removeprefix("data: "))["documents"]
                    assert sorted(found, key=lambda one: str(one["_id"])) == ANN
                    break


async def test_ndjson_asks_again_before_each_part(service: Service) -> None:
    """Rules that change while lines are written: what is left is sent by the new ones, or not at all."""
    many = [{"_id": n, "owner": "ann" if n % 2 else "bob", "margin": 1, "pad": "x" * 1000} for n in range(1000, 4000)]
    service.database.orders.insert_many(many)
    policy = service.realtime.policy
    assert policy is not None
    before = policy.rules
    headers = {**bearer("ann", "admin"), "Accept": "application/x-ndjson"}
    try:
        async with service.http.stream("GET", LIST, params={"sort": '{"_id":1}'}, headers=headers) as answer:
            found = []
            async for line in answer.aiter_lines():
                found.append(json.loads(line))
                if len(found) == 10:
                    policy.rules = await changed(RULES.replace('"*":\n  admin', "orders:\n  admin", 0), service)
    finally:
        policy.rules = before
        service.database.orders.delete_many({"_id": {"$gte": 1000}})
    kept = [one for one in found if one.get("_id", 0) >= 1000]
    later = kept[-1000:]
    assert found[-1] == {"end": True}
    assert len(later) > 100
    assert all(one["owner"] == "ann" and "margin" not in one for one in later[-100:])
    assert any("margin" in one for one in found[:10])


async def changed(_: str, service: Service) -> Any:
    text = "orders:\n  admin: {read: {owner: $user.sub}, fields: {hide: [margin]}}\n"
    file = Path(str(service.realtime.settings.rules)).with_name("changed.yaml")
    file.write_text(text)
    return read(RulesFile(file), None)
