"""The sample of docs/embedding.md about rules, run as it stands there, by users of the application's own."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pymongo
import pytest
from fastapi import HTTPException
from fastapi.requests import HTTPConnection

from realtime import Fields, Grant, Principal, Realtime, Rules
from realtime.errors import ConfigurationError
from realtime.settings import load
from tests.embedding import listening
from tests.replica_set import ReplicaSet

DOCS = Path(__file__).parents[2] / "docs" / "embedding.md"
LIST = "/live/v1/collections/orders/documents"
ORDERS = [
    {"_id": 1, "owner": "ann", "status": "open", "margin": 5},
    {"_id": 2, "owner": "ann", "status": "paid", "margin": 6},
    {"_id": 3, "owner": "bob", "status": "paid", "margin": 7},
]
ANN, EVE = {"x-user": "ann:customer"}, {"x-user": "eve:staff"}


async def who(connection: HTTPConnection) -> Principal:
    """As the sample has it from elsewhere."""
    user, _, role = connection.headers.get("x-user", "").partition(":")
    if not user:
        raise HTTPException(401, "sign in first")
    return Principal(user, frozenset({role}))


@pytest.fixture
async def http(replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """The application of the sample, asked over a real socket."""
    (sample,) = re.findall(
        r"^```python\n((?:(?!```).)*reload_rules.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL
    )
    theirs = ModuleType("shop.sessions")
    theirs.__dict__["who"] = who
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    name = f"t_{uuid.uuid4().hex[:12]}"
    given = {"MONGODB_URI": replica_set.uri, "DATABASE": name, "FEED_AWAIT_MS": "100"}
    for variable, value in given.items():
        monkeypatch.setenv(f"REALTIME_{variable}", value)
    made: dict[str, Any] = {}
    exec(compile(sample, "docs/embedding.md", "exec", dont_inherit=True), made)
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    client[name].orders.insert_many(ORDERS)
    try:
        async with listening(made["app"]) as url, httpx.AsyncClient(base_url=url, verify=False) as asking:
            yield asking
    finally:
        client.drop_database(name)
        client.close()


async def listed(http: httpx.AsyncClient, headers: dict[str, str]) -> Any:
    answer = await http.get(LIST, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["documents"]


async def test_the_sample_obeys_its_rules_and_other_ones_when_they_are_taken(http: httpx.AsyncClient) -> None:
    assert (await http.get(LIST)).status_code == 401
    assert await listed(http, ANN) == [
        {"_id": 1, "owner": "ann", "status": "open"},
        {"_id": 2, "owner": "ann", "status": "paid"},
    ]
    assert await listed(http, EVE) == ORDERS
    assert (await http.post(LIST, headers=ANN, json={"_id": 4, "owner": "ann"})).status_code == 201
    assert (await http.post(LIST, headers=ANN, json={"_id": 5, "owner": "bob"})).status_code == 403

    assert (await http.post("/close", headers=ANN)).status_code == 403
    assert (await http.post("/close", headers=EVE)).status_code == 200
    # The grant of before hides the margin, the one of now does not.
    assert await listed(http, ANN) == [ORDERS[1]]
    assert (await http.post(LIST, headers=ANN, json={"_id": 6, "owner": "ann"})).status_code == 403
    assert len(await listed(http, EVE)) == 4


async def test_the_database_of_a_route_obeys_no_rule(http: httpx.AsyncClient) -> None:
    """Eve's sum has what she may read; it is the route that keeps ann out, and no rule."""
    assert (await http.get("/margin", headers=EVE)).json() == [18]
    assert (await http.get("/margin", headers=ANN)).status_code == 403


def test_what_is_wrong_with_models_is_told_with_its_path() -> None:
    wrong = Rules(collections={"orders": {"customer": Grant(read={"a": {"$nope": 1}}, fields=Fields(hide=("_id",)))}})
    with pytest.raises(ConfigurationError) as refused:
        Realtime(load(), rules=wrong)
    told = str(refused.value).splitlines()
    assert len(told) == 2
    assert "orders.customer.read" in told[0]
    assert "orders.customer.fields.hide" in told[1]
