"""Class B without progress becomes class E: five refusals in a minute, and the feed tries slowly and says so."""

from __future__ import annotations

import asyncio

import pytest

from realtime.core.upstream.stream_errors import MOST_REFUSALS
from realtime.mongo import feed as feeds
from tests.mongo.commands import Documents, failing, until
from tests.mongo.reading import FEED, reading


async def test_five_refusals_without_progress_are_a_matter_of_configuration_until_it_goes_on(
    own: Documents, own_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "SLOW_RETRY_SECONDS", 2.0)
    async with reading(own, own_uri) as got:
        await got.idle()
        with failing(own, "getMore", appName=FEED, errorCode=6) as fault:
            await asyncio.to_thread(fault.struck, MOST_REFUSALS)
            await until(lambda: got.statuses, seconds=3)
            await asyncio.sleep(1.0)  # the delay of class B would have tried again by now
            assert own["docs"].insert_one({"_id": 1}).acknowledged
        await got.has(1)
        await until(lambda: len(got.statuses) == 2)
    assert fault.hits == MOST_REFUSALS
    assert [status.up for status in got.statuses] == [False, True]
    assert got.statuses[0].reason == "MongoDB refuses the change stream (code 6)"
