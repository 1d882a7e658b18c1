"""How long nothing is published while one relay follows another; and what publishing costs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.mongo.commands import Documents
from tests.relay.connecting import connection
from tests.relay.processes import Place, RelayProcess, Writer, check, keys_of
from tests.relay.test_relay import PUBLISHES, passed

pytestmark = pytest.mark.alone("asserts pauses in seconds")


@pytest.mark.parametrize(
    ("end", "most"),
    [
        (lambda relay: relay.end(signal.SIGKILL), 6.0),
        (lambda relay: relay.end(signal.SIGTERM), 1.0),
    ],
    ids=["killed", "ended"],
)
async def test_the_pause_is_short(
    here: Place,
    documents: Documents,
    end: Callable[[RelayProcess], Any],
    most: float,
    record_property: Callable[[str, object], None],
) -> None:
    """Of all that arrives in NATS while 200 documents a second are written and two relays follow each other."""
    await here.relay().says(PUBLISHES)
    await here.relay().says("waits for its turn")
    identity = await here.identity()
    arrived: list[float] = []

    async def heard(message: Any) -> None:
        arrived.append(time.monotonic())

    async with connection(here.nats) as client:
        await client.subscribe(identity.subject, cb=heard)
        async with Writer(documents.items, pause=0.005).writing() as writer:
            await passed(writer, 200)
            await asyncio.to_thread(end, here.relays[0])
            await here.relays[1].says(PUBLISHES)
            await passed(writer, 200)
    messages = await here.until(lambda messages: len(keys_of(messages)) >= writer.written)
    assert keys_of(messages) == list(range(writer.written))
    check(messages)
    pause = max(after - before for before, after in pairwise(arrived))
    record_property("figures", f"pause {pause:.2f} s, {len(arrived)} messages for {writer.written} writes")
    assert pause <= most
