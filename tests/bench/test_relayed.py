"""Behind a relay MongoDB is asked as often by three nodes as by one; without one, by each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.relayed import Figure, figure

pytestmark = pytest.mark.alone("counts what mongod is asked while 200 events a second are written")

SECONDS = 4


@pytest.mark.long("eight nodes are started")
async def test_with_a_relay_three_nodes_ask_mongodb_what_one_does(tmp_path: Path) -> None:
    async def commands(nodes: int, *, relay: bool) -> Figure:
        return await figure(tmp_path / f"{nodes}{relay}", nodes, relay=relay, seconds=SECONDS)

    alone = [await commands(nodes, relay=False) for nodes in (1, 3)]
    behind = [await commands(nodes, relay=True) for nodes in (1, 3)]
    assert {one.events for one in (*alone, *behind)} == {SECONDS * 200}
    assert min(one.commands for one in (*alone, *behind)) >= 100
    # Commands go with batches, which are as the machine has time: what grows is three times as much, and this does not.
    assert alone[1].commands >= 2 * alone[0].commands, alone
    assert behind[1].commands <= 1.5 * behind[0].commands, behind
