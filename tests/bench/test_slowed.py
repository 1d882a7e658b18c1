"""The bench sees a fan-out that does a fifth more for each frame: by a ratio, in every one of five pairs."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.slowed import SEEN, pairs
from tests.replica_set import ReplicaSet

pytestmark = [
    pytest.mark.alone("measures processor time"),
    pytest.mark.long("two services beside each other, twelve times"),
    pytest.mark.timeout(900),
]


async def test_a_fifth_more_is_seen_in_five_of_five(replica_set: ReplicaSet) -> None:
    alike, *slowed = await asyncio.to_thread(lambda: list(pairs(replica_set.uri, 0.2, 5)))
    assert len(slowed) == 5
    assert alike < SEEN < min(slowed), (alike, slowed)
