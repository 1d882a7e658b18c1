"""All cells at once: three services beside each other, one file of rules, one change of it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pymongo

from tests.replica_set import ReplicaSet
from tests.rules.cells import Cell
from tests.rules.runs import Run, Urls
from tests.rules.scene import RULED, written
from tests.serving import Service, serving

Found = tuple[str, str, str, str]
"""The cell, and what does not hold in it."""


async def run_cells(
    replica_set: ReplicaSet, cells: Sequence[Cell], seed: int, folder: Path
) -> tuple[list[Found], dict[str, Counter[str]]]:
    """Everything that does not hold in these cells, and what was looked at in each."""
    name = f"t_rules_{uuid.uuid4().hex[:8]}"
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(replica_set.uri) as client:
        try:
            runs = [Run(number, cell, seed, client[name]) for number, cell in enumerate(cells)]
            for run in runs:
                await asyncio.to_thread(run.seed)
            await _stages(replica_set, runs, name, written(folder / "rules.yaml", _rules(runs, 0)))
        finally:
            client.drop_database(name)
    found: list[Found] = []
    figures: dict[str, Counter[str]] = {}
    for run in runs:
        verdict = await asyncio.to_thread(run.judged)
        found += [(f"{run.number}: {run.cell}", *violation) for violation in verdict.violations]
        figures[str(run.cell)] = verdict.figures
    return found, figures


def _rules(runs: Sequence[Run], phase: int) -> dict[str, Any]:
    """The one file: each cell's collection, and that whoever is root may write what rules go by."""
    every: dict[str, Any] = {}
    for run in runs:
        every |= run.told_rules[phase]
    return every


async def _stages(replica_set: ReplicaSet, runs: Sequence[Run], name: str, file: Path) -> None:
    settings = {**RULED, "rules": str(file), "database": name, "keep": True, "outbox_bytes": 65536}
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(serving(replica_set, **settings))
        oplog = await stack.enter_async_context(serving(replica_set, **settings, journal_bytes=0))
        async with serving(replica_set, **settings) as first:
            urls = Urls(journal.url, oplog.url, first.url)
            await asyncio.gather(*(run.before(urls) for run in runs))
            reload = asyncio.Event()
            changing = asyncio.gather(*(run.changing(reload) for run in runs))
            waiting = asyncio.create_task(_reload(runs, file, (journal, oplog, first), reload))
            await changing
            await waiting
        restarted = await stack.enter_async_context(serving(replica_set, **settings))
        urls = Urls(journal.url, oplog.url, restarted.url)
        await asyncio.gather(*(run.after(urls) for run in runs))


async def _reload(runs: Sequence[Run], file: Path, services: Sequence[Service], reload: asyncio.Event) -> None:
    """Once every cell that is about it waits."""
    about = [run for run in runs if run.cell.change.startswith("rule")]
    async with asyncio.timeout(60):
        await asyncio.gather(*(run.waiting.wait() for run in about))
    written(file, _rules(runs, 1))
    for service in services:
        await service.realtime.reload_rules()
    reload.set()
