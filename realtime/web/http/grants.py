"""`GET /v1/access`: what the rules let whoever asks do, in the collections that they may read."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from realtime.core.access.principal import Principal
from realtime.core.access.rules.explaining import told
from realtime.core.access.rules.model import Grant
from realtime.core.access.rules.policy import Policy
from realtime.core.bson import ejson
from realtime.core.connection.requests import check_collection
from realtime.web.entrance.live import Current, Live, Who, ruled
from realtime.web.entrance.problems import problems
from realtime.web.entrance.shared import SharedRoute
from realtime.web.http import examples
from realtime.web.http.bodies import answer

MOST_COLLECTIONS = 200
MOST_BYTES = 256 * 1024
"""Of an answer; the collection that goes over it is its last."""

router = APIRouter(prefix="/v1", route_class=SharedRoute, tags=["documents"])


@router.head("/access", include_in_schema=False)
@router.get("/access", summary="What whoever asks may do", responses=examples.ACCESS | problems(503))
@ruled
async def access(
    live: Current,
    who: Who,
    collection: Annotated[
        str | None, Query(description="this one alone, whatever there is by its name", min_length=1, max_length=200)
    ] = None,
) -> Response:
    """By the rules of now, for each collection that `GET /v1/collections` names, or for one that is asked for.

    Nothing is told of anybody else, and no condition on a field that is hidden from whoever asks.
    """
    policy = live.policy
    if collection is not None:
        check_collection(collection)
        live.limits.collections.check(collection)
    shown: dict[str, Any] = {
        "sub": who.sub,
        "roles": sorted(who.roles),
        "rules": policy is not None,
        "read_only": live.limits.read_only,
        "collections": [],
        "more": False,
    }
    if policy is not None:
        names = await _readable(live, policy, who) if collection is None else [collection]
        shown["collections"], shown["more"] = await _told(policy, who, names)
    return answer(shown, headers={"Cache-Control": "no-store"})


async def _readable(live: Live, policy: Policy, who: Principal) -> list[str]:
    serves = live.limits.collections.serves
    found = await live.reader.collections(
        lambda name: serves(name) and bool(policy.granted(who, name, "read")), lambda _: False
    )
    return [name for name, _, _ in found]


async def _told(policy: Policy, who: Principal, names: list[str]) -> tuple[list[dict[str, Any]], bool]:
    """What is told of each, and whether there is more than is told."""
    said: dict[tuple[int, ...], dict[str, Any]] = {}  # collections of the same grants are told alike
    found: list[dict[str, Any]] = []
    size, rules = 0, policy.rules
    for name in names[:MOST_COLLECTIONS]:
        alike = _identities(rules.grants(who, name))
        if alike not in said:
            said[alike] = told(rules, who, name)
            await asyncio.sleep(0)  # a turn each, for the rules may be long
        found.append({"name": name, **said[alike]})
        size += len(ejson.encode(found[-1]))
        if size > MOST_BYTES:
            break
    return found, len(found) < len(names)


def _identities(grants: tuple[Grant, ...]) -> tuple[int, ...]:
    return tuple(map(id, grants))
