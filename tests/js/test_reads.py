"""The browser client's reads, at the real service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.js.conftest import run
from tests.serving import Service


async def test_a_read_has_every_write_that_was_answered_before_it(service: Service, workshop: Path) -> None:
    told = json.loads(await asyncio.to_thread(run, ["node", "reads.mjs", service.url], workshop))
    assert told == {"wrong": [], "absent": None, "all": 60}
    assert service.database.orders.count_documents({"done": True}) == 60
