"""The browser client at the real service, by tokens that live three seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.issuer import SECRET
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

LIFE = 3
SECONDS = 11.0


@pytest.fixture
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop"}
    async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.5, **asks) as running:
        yield running


async def listening(service: Service, workshop: Path, *, renews: bool) -> tuple[dict[str, Any], list[Any]]:
    """What one client was told, and what was written meanwhile."""
    given = {"url": service.url, "secret": SECRET, "life": LIFE, "renews": renews}
    child = await asyncio.create_subprocess_exec(
        "node",
        "renewed.mjs",
        json.dumps(given),
        cwd=workshop,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stderr is not None
        async with asyncio.timeout(SECONDS + 40):
            assert await child.stderr.readline() == b"ready\n"
            written: list[Any] = []
            loop = asyncio.get_running_loop()
            end = loop.time() + SECONDS
            while loop.time() < end:
                await asyncio.to_thread(service.database.numbers.insert_one, {"_id": len(written)})
                written.append(len(written))
                await asyncio.sleep(0.02)
            await asyncio.to_thread(service.database.numbers.insert_one, {"_id": "last"})
            out, complaint = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, complaint.decode()
    return json.loads(out), [*written, "last"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("renews", [True, False])
async def test_nothing_is_missed_by_a_client_whose_tokens_end_every_three_seconds(
    service: Service, workshop: Path, renews: bool
) -> None:
    told, written = await listening(service, workshop, renews=renews)
    assert told["told"] == written
    assert sorted(map(str, told["shown"])) == sorted(map(str, written))
    assert len(written) > 50
    assert told["principal"] == "ann"
    assert told["asked"] > SECONDS / LIFE
    assert told["reasons"] == ([] if renews else ["expired"])
