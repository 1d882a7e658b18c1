"""Random pipelines, live: every view is what the client's pipeline gives in `aggregate` at the view's own position.

Writes of every kind go on, by HTTP and by another program, in transactions too. Views are looked at when their client
has heard of everything, and at moments in between. REALTIME_TEST_PAIRS=5000 makes it a long run, REALTIME_TEST_SEED
repeats one. Sabotage: `make sabotage`, rows "pipeline".
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from realtime.core.bson import ejson
from realtime.core.mql.pipelines.compiling import compile_pipeline
from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.exact.piping import KINDS, OPERATORS, Piped, Pipeline, Pipes, Sales, agree, answered, chosen
from tests.exact.test_filters import Chaos, fence
from tests.mongo.grammar import pairs
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import time_of
from tests.wire import Wire, wired

PIPELINES, LEAVING, DOCUMENTS = 60, 20, 25
pytestmark = pytest.mark.timeout(600)


class Views:
    """Live views of pipelines, each compared with what MongoDB says."""

    def __init__(self, service: Service, chance: random.Random, pipelines: list[Pipeline], seed: int) -> None:
        self.service = service
        self.chance = chance
        self.pipelines = pipelines
        self.compiled = [compile_pipeline(one) for one in pipelines]
        self.seed = seed
        self.compared = self.rows = 0
        self.figures: Counter[str] = Counter()

    def piped(self, number: int, name: str) -> Piped:
        ordered = self.compiled[number].order is not None
        return Piped(name, ordered, lambda why: why == "moment" and self.chance.random() < 0.2)

    async def subscribe(self, wire: Wire, number: int, view: Piped, **more: Any) -> dict[str, Any]:
        wire.views[view.id] = view  # type: ignore[assignment]  # reason: it folds rows in order
        after = len(wire.frames)
        asked = ejson.plain(self.pipelines[number])
        answer = await wire.ask(type="subscribe", id=view.id, collection="docs", pipeline=asked, **more)
        assert answer["type"] == "subscribed", (asked, answer)
        await wire.until(lambda frame: frame["type"] == "live" and frame["id"] == view.id, after=after)
        return answer

    def check(self, number: int, shown: list[Any], time: int, where: str) -> None:
        pipeline = self.pipelines[number]
        wanted = answered(self.service.database, "docs", pipeline, time)
        ordered = self.compiled[number].order is not None
        said = f"seed {self.seed}, {where}: {ejson.encode(pipeline).decode()}: {shown} {ejson.encode(wanted).decode()}"
        assert agree(pipeline, shown, wanted, ordered=ordered), said
        self.compared += 1
        self.rows += len(wanted)

    def check_moments(self, number: int, view: Piped, step: int) -> None:
        for position, why, shown in view.seen:
            self.check(number, shown, time_of(position), f"step {step}, {why}")
            self.figures["in between"] += 1
        view.seen.clear()


class Leaver:
    """A client that leaves and comes back, from where it was."""

    def __init__(self, views: Views, number: int) -> None:
        self.views = views
        self.number = number
        self.view = views.piped(number, f"c{number}")
        self.query = ""
        self.resumes = views.compiled[number].group is None and views.compiled[number].order is None

    async def come(self) -> None:
        """Hold a view until it is compared, then go."""
        views, view = self.views, self.view
        position = {"position": view.position, "query": self.query} if self.query else {}
        async with wired(views.service.url) as wire:
            view.live, view.live_at, view.pending = False, "", []
            answer = await views.subscribe(wire, self.number, view, **position)
            assert answer["recovered"] is (bool(position) and self.resumes), f"seed {views.seed}, {view.id}"
            self.query = answer["query"]
            views.figures["recovered" if answer["recovered"] else "afresh"] += 1
            reached = max(view.position, view.live_at)
            views.check(self.number, view.view(), time_of(reached), "back")
            view.position = reached
            view.seen.clear()


def told_by(wire: Wire) -> Counter[str]:
    """How often each kind of change was told."""
    return Counter(change["op"] for frame in wire.of("changes") for change in frame["changes"])


def few(told: Counter[str]) -> int:
    """How often the rarest was."""
    return min(told["enter"], told["update"], told["leave"])


@pytest.mark.parametrize("size", [1000, 7])
async def test_every_view_of_a_pipeline_is_what_aggregate_gives(replica_set: ReplicaSet, say: Say, size: int) -> None:
    seed, least = fresh_seed(), pairs(360)
    chance = random.Random(seed + size)
    grammar, pipes = Sales(chance), Pipes(chance)
    pipelines = [chosen(pipes, number) for number in range(PIPELINES)]
    async with serving(replica_set, feed_await_ms=100, feed_batch_size=size) as service, wired(service.url) as wire:
        chaos = Chaos(service, grammar)
        chaos.collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
        views = Views(service, chance, pipelines, seed)
        held = [views.piped(number, f"s{number}") for number in range(PIPELINES)]
        for number, view in enumerate(held):
            await views.subscribe(wire, number, view)
        leavers = [Leaver(views, number) for number in range(LEAVING)]
        step = 0
        # Time decides how much comes together: as long as one kind is rarely told, at most four times as much.
        while views.compared < least or (few(told_by(wire)) < least / 60 and views.compared < 4 * least):
            for _ in range(chance.choice([1, 2, 5])):
                await chaos.step()
            while not chaos.time:  # all that was tried so far was refused
                await chaos.step()
            await fence(wire, chaos.time)
            for number, view in enumerate(held):
                views.check(number, view.view(), chaos.time, f"step {step}")
                views.check_moments(number, view, step)
            for leaver in chance.sample(leavers, 2) if step else leavers:
                await leaver.come()
            step += 1
        for leaver in leavers:
            await leaver.come()
        assert wire.of("resync") == wire.of("unsubscribed") == []
        told = told_by(wire)
    say(f"seed {seed}: {views.compared} views, {views.rows} rows, {dict(told)}, {dict(views.figures)}")
    assert views.compared >= least
    assert views.rows / views.compared > 1
    assert few(told) >= least / 60
    assert min(views.figures[name] for name in ("in between", "recovered", "afresh")) >= 1
    texts = ejson.encode(pipelines).decode()
    assert [name for name in OPERATORS if f'"{name}"' not in texts] == []
    assert len(KINDS) <= PIPELINES
