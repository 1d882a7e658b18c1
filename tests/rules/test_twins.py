"""Two databases that differ in hidden values alone: equal answers and equal frames, whatever one person asks.

Sabotage: `make sabotage`, rows "rules".
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.chance import fresh_seed
from tests.exact.conftest import Say, say
from tests.replica_set import ReplicaSet
from tests.rules.scene import RULED, written
from tests.rules.twins import SETUPS, Twins
from tests.serving import serving

__all__ = ["say"]

STEPS = int(os.environ.get("REALTIME_TEST_RULES_TWINS", "100"))
"""Of each setup."""


@pytest.mark.timeout(3600 if STEPS > 1000 else 180)
@pytest.mark.parametrize("setup", SETUPS)
async def test_two_databases_that_differ_in_what_is_hidden_answer_alike(
    replica_set: ReplicaSet, tmp_path: Path, say: Say, setup: str
) -> None:
    seed = fresh_seed()
    file = written(tmp_path / "rules.yaml", SETUPS[setup])
    async with AsyncExitStack() as stack:
        settings = {**RULED, "rules": str(file)}
        services = [await stack.enter_async_context(serving(replica_set, **settings)) for _ in range(2)]
        twins = await Twins(seed, named=setup == "show").begin(services)
        try:
            for _ in range(STEPS):
                await twins.step()
                assert len(twins.differences) < 12, _shown(seed, twins)
        finally:
            await twins.end()
        raw = "".join(text for twin in twins.both for text in twin.wire.raw)
    say(f"{STEPS} steps {twins.kinds}, {twins.taken} taken, {twins.refused} refused, seed {seed}")
    assert not twins.differences, _shown(seed, twins)
    assert "hid" not in raw
    assert twins.taken > STEPS / 8
    assert twins.refused > STEPS / 8


def _shown(seed: int, twins: Twins) -> str:
    return f"seed {seed}: {len(twins.differences)} differences:\n" + "\n".join(
        f"  {said}\n    {one}\n    {other}" for said, one, other in twins.differences[:8]
    )
