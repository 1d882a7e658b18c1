"""Documents as large as MongoDB has them, of text, broken text, binary data, many fields, many elements.

Sabotage: `make sabotage`, rows "odd".
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest

from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.exact.ear import listening
from tests.exact.followers import Followers
from tests.exact.odd_views import Asked
from tests.exact.raw_bson import Made, RawBson
from tests.exact.storing import LARGE, LARGE_IMAGED, STORED, Storing
from tests.replica_set import ReplicaSet
from tests.serving import serving

SETTINGS: dict[str, Any] = {"feed_await_ms": 100, "outbox_bytes": 1 << 30}
WITHOUT = "without v"
STEPPED_OVER = "change stream interrupted (step over)"
WITHOUT_IMAGES = "a change event is over MongoDB's 16 MB: it is read without its images"


async def come_and_go(storing: Storing, followers: Followers, collection: str, made: Made) -> list[str]:
    """It comes, is changed, and goes; what was told otherwise than MongoDB answers."""
    mongodb, different = Asked(storing.database), []
    for write in (storing.insert, storing.touch, storing.remove):
        await asyncio.to_thread(write, collection, [made])
        await followers.reach(storing.last)
        for name in (collection, f"{collection} {WITHOUT}"):
            query, view = followers.asked[name][1], followers.views[name]
            found = await asyncio.to_thread(mongodb.difference, collection, query, view)
            different += [f"{name}, {made.kind}, {write.__name__}: {found}"] if found is not None else []
    assert mongodb.documents == 4
    return different


async def hear(followers: Followers, **more: Any) -> None:
    for collection in (LARGE, LARGE_IMAGED):
        query = {"collection": collection, "projection": {"n": 1}}
        await followers.hear(f"events of {collection}", query, **more)


def heard(followers: Followers, collection: str) -> list[tuple[str, Any, str]]:
    return [(one["op"], one["key"], one["position"]) for one in followers.told[f"events of {collection}"].events]


@pytest.mark.alone("nothing else gets a turn beside it in time")
@pytest.mark.long("documents of 16 MB keep one loop busy for seconds at a time")
@pytest.mark.timeout(300)
async def test_documents_of_15_9_mb_are_told_like_any_other(
    replica_set: ReplicaSet, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    """With images an update of theirs is over what an event may be, and comes without them."""
    seed = fresh_seed()
    name = f"t_large_{seed:08x}"
    different: list[str] = []
    async with serving(replica_set, database=name, keep=True, **SETTINGS) as service, listening(service.url) as ear:
        storing, followers = Storing(service.database, RawBson(random.Random(seed))), Followers(ear)
        storing.prepare()
        await hear(followers)
        position = ear.of("live")[0]["position"]
        for collection in (LARGE, LARGE_IMAGED):
            await followers.view(collection, collection, {})
            await followers.view(f"{collection} {WITHOUT}", collection, {"projection": {"v": 0}})
        for at, made in enumerate(storing.made.large()):
            for collection in (LARGE, LARGE_IMAGED)[: 1 if at else 2]:
                different += await come_and_go(storing, followers, collection, made)
    async with serving(replica_set, database=name, **SETTINGS) as service, listening(service.url) as ear:
        again = Followers(ear)
        await hear(again, position=position)
        await again.reach(storing.last)
    say(f"seed {seed}: {[(kind, how) for kind, _, how, _ in storing.written.became]}")
    assert different == []
    ops = [op for op, *_ in heard(followers, LARGE)]
    assert ops == ["insert", "update", "delete"] * 6
    assert [op for op, *_ in heard(followers, LARGE_IMAGED)] == ["insert", "update", "delete"]
    for collection in (LARGE, LARGE_IMAGED):
        assert heard(again, collection) == heard(followers, collection)
    assert storing.written.of(what=STORED) == storing.written.inputs == 14
    assert {record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR} <= {WITHOUT_IMAGES}
    assert any(STEPPED_OVER in record.getMessage() for record in caplog.records)
