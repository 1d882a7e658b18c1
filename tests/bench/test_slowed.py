"""The bench sees a fan-out that does a fifth more for each frame: by a ratio, in every one of five pairs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.bench.slowed import SCENARIO, SEEN, at_once, loop_us, pairs, slower
from tests.bench.standing import ROOT
from tests.replica_set import ReplicaSet
from tests.sabotaged import copied

pytestmark = pytest.mark.alone("measures processor time")


async def test_a_copy_that_does_twice_as_much_is_told_from_the_service(replica_set: ReplicaSet) -> None:
    brief = replace(SCENARIO, documents=60)
    with copied(ROOT) as tree:
        slower(tree, round(10 / loop_us()))
        plain, slowed = await asyncio.to_thread(at_once, replica_set.uri, [ROOT, tree], brief)
    # 10 µs for each frame, and a frame is a delivery.
    assert 5 < slowed - plain < 30, (plain, slowed)


@pytest.mark.long("two services beside each other, twelve times")
@pytest.mark.timeout(900)
async def test_a_fifth_more_is_seen_in_five_of_five(replica_set: ReplicaSet) -> None:
    alike, *slowed = await asyncio.to_thread(lambda: list(pairs(replica_set.uri, 0.2, 5)))
    assert len(slowed) == 5
    assert alike < SEEN < min(slowed), (alike, slowed)
