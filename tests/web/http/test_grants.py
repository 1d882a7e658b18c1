"""`GET /v1/access`: what whoever asks may do, and nothing of anybody else, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime.core.bson import ejson
from realtime.web.http import grants
from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

SIGNER = signer("HS256")
RULES = """
orders:
  customer: {read: {owner: $user.sub}, insert: {owner: $user.sub}, fields: {hide: [margin]}}
  author: {insert: {team: {$in: $user.claims.teams}}, update: {status: draft}}
vault:
  guard: {read: {password: {$ne: planted}}}
"*":
  admin: {read: true}
"""
MINE = {"owner": {"$eq": "ann"}}
ASKS: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100}


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    rules: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    async with serving(replica_set, **ASKS, rules=rules) as running:
        for name in ("orders", "vault", "others"):
            running.database[name].insert_one({"_id": 1, "owner": "ann"})
        running.database.create_collection("view", viewOn="orders", pipeline=[])
        yield running


async def said(service: Service, *roles: str, claims: dict[str, Any] | None = None, **params: Any) -> Any:
    token = SIGNER.token(sub="ann", roles=list(roles), **(claims or {}))
    answer = await service.http.get("/v1/access", params=params, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return ejson.decode(answer.content)


async def test_one_is_told_what_one_may_do_where_one_may_read(service: Service) -> None:
    told = await said(service, "customer", "author", claims={"teams": ["a", "b"]})
    entry = {
        "name": "orders",
        "read": [{"documents": MINE, "hidden": ["margin"]}],
        "insert": [{"documents": {"team": {"$in": ["a", "b"]}}}, {"documents": MINE, "unwritable": ["margin"]}],
        "update": [{"documents": {"status": "draft"}}],
        "delete": [],
    }
    assert told == {
        "sub": "ann",
        "roles": ["author", "customer"],
        "rules": True,
        "read_only": False,
        "collections": [entry],
        "more": False,
    }


async def test_nothing_is_told_of_what_the_list_of_collections_does_not_name(service: Service) -> None:
    for roles in ((), ("author",), ("customer",), ("guard",), ("admin",)):
        token = SIGNER.token(sub="ann", roles=list(roles))
        listed = await service.http.get("/v1/collections", headers={"Authorization": f"Bearer {token}"})
        told = await said(service, *roles)
        names = [one["name"] for one in told["collections"]]
        assert names == [one["name"] for one in listed.json()["collections"]]
        assert "planted" not in repr(told) or "guard" in roles
    assert names == ["orders", "others", "vault"]


async def test_of_a_name_the_rules_alone_are_told_whatever_there_is(service: Service) -> None:
    nothing: dict[str, Any] = {"read": [], "insert": [], "update": [], "delete": []}
    for name in ("vault", "others", "view", "never"):
        told = await said(service, "customer", collection=name)
        assert told["collections"] == [{"name": name, **nothing}]
    (orders,) = (await said(service, "author", collection="orders"))["collections"]
    # Who may write and not read is told so where they know the name.
    assert (orders["read"], orders["update"]) == ([], [{"documents": {"status": "draft"}}])
    for name in ("realtime_keys", "system.users", "a$b"):
        answer = await service.http.get(
            "/v1/access", params={"collection": name}, headers={"Authorization": f"Bearer {SIGNER.token(sub='ann')}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_collection")


async def test_nobody_is_told_nothing(service: Service) -> None:
    assert (await service.http.get("/v1/access")).status_code == 401


async def test_an_answer_is_bounded_and_says_that_there_is_more(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "MOST_COLLECTIONS", 2)
    told = await said(service, "admin")
    assert ([one["name"] for one in told["collections"]], told["more"]) == (["orders", "others"], True)
    monkeypatch.setattr(grants, "MOST_BYTES", 1)
    told = await said(service, "admin")
    assert ([one["name"] for one in told["collections"]], told["more"]) == (["orders"], True)


async def test_without_rules_it_is_said_that_there_are_none(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, **ASKS, read_only=True) as service:
        service.database.orders.insert_one({})
        told = await said(service)
    assert told == {"sub": "ann", "roles": [], "rules": False, "read_only": True, "collections": [], "more": False}
