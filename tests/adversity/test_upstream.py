"""The line between the service and its MongoDB is cut, halved, stalled and half-open: nothing is missed or repeated.

Sabotage: `make sabotage`, rows "upstream".
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.uri_parser import parse_uri

from tests.adversity.scale import Scale
from tests.adversity.scene import RATE, scene
from tests.adversity.upstream_proxy import upstream_proxy
from tests.exact.conftest import Say
from tests.replica_set import ReplicaSet

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.long("every way of breaking a line in turn"),
    pytest.mark.alone("pauses in seconds are measured"),
]
STALLS = (2.0, 7.0)
"""Below and above the time after which a silent socket is given up."""
PAUSES = {"cut": 3.0, "halve": 3.0, "half-open": 10.0, "stall": 5.0}
"""Longest pauses; that of a stall is beyond the stall itself."""
REPLIES = 20


async def test_a_line_that_is_cut_halved_stalled_and_half_open_loses_nothing(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    (host, port), *_ = parse_uri(replica_set.uri)["nodelist"]
    assert host in {"127.0.0.1", "localhost"}
    client: pymongo.MongoClient[dict[str, Any]]
    pauses: dict[str, list[float]] = {name: [] for name in PAUSES}
    with pymongo.MongoClient(replica_set.uri) as client:
        async with upstream_proxy(int(port or 27017)) as proxy:
            uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
            async with scene(client, uri, tmp_path, clients=scale["clients"]) as running:
                rate = await running.rate()
                for number in range(scale["rounds"]):
                    for name in PAUSES:
                        began, beyond = time.monotonic(), 0.0
                        if name == "stall":
                            beyond = STALLS[number % 2]
                            await proxy.stall(beyond)
                        else:
                            {"cut": proxy.cut, "halve": proxy.halve, "half-open": proxy.deafen}[name]()
                        await asyncio.sleep(0.1)
                        await running.flows()
                        await asyncio.sleep(1)
                        pauses[name].append(running.pause(began) - beyond)
                    # Random lengths of the last connections, too: in the middle of a burst of replies.
                    for _ in range(REPLIES):
                        proxy.cut()
                        await asyncio.sleep(0.05)
                    await running.flows()
                figures = await running.judge()
                said = "".join(running.service.output)
                shown = ", ".join(f"{name} {max(times):.1f} s" for name, times in pauses.items())
                say(
                    f"{rate:.0f} writes/s; connections hit {dict(proxy.done)}; longest pauses {shown}; "
                    f"{running.summary()}"
                )
    assert rate >= RATE * 0.8
    assert all(proxy.done[name] >= scale["rounds"] for name in PAUSES), proxy.done
    assert {name: times for name, times in pauses.items() if max(times) > PAUSES[name]} == {}
    assert figures["resync"] == 0
    assert "Traceback" not in said
