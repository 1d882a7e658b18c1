"""17: frames that no client should send get an error or a close code each, and clients beside them notice nothing.

Sabotage: `make sabotage`, rows "fuzz".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.adversity.fuzz import KINDS, Fuzzed, fuzzed
from tests.adversity.raw_socket import TEXT, ClosedError, RawSocket, framed, raw_socket
from tests.adversity.scale import Scale
from tests.adversity.scene import Scene, Stamped, scene
from tests.exact.conftest import Say
from tests.replica_set import ReplicaSet

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone("bounds in seconds under load of its own")]
LINES = 4
"""Connections that fuzz at once."""
A_PORTION = 500
"""Frames that are made at a time: some have 10 MB."""
ENDING = {"10 MB": {1009}, "broken UTF-8": {1007}, "against the RFC": {1002, 1007}}
ANSWERS = {"error", "result", "subscribed", "unsubscribed", "pong"}
ANSWER_SECONDS = 10.0
DELAY_SECONDS = 1.0
"""Longest time that a healthy client may wait for a change meanwhile."""


class Line:
    """Sends fuzzed frames one after the other, each until it is answered; connects again where it was sent away."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.told: Counter[tuple[str, str]] = Counter()
        self.unanswered: list[Fuzzed] = []
        self.internal: list[Any] = []
        self._barrier = 0

    async def send(self, frames: list[Fuzzed]) -> None:
        at = 0
        while at < len(frames):
            async with raw_socket(self.url) as socket:
                try:
                    while at < len(frames):
                        await self._one(socket, frames[at])
                        at += 1
                except ClosedError as closed:
                    self.told[frames[at].kind, str(closed.code)] += 1
                    at += 1

    async def _one(self, socket: RawSocket, one: Fuzzed) -> None:
        self._barrier += 1
        name = f"barrier {self._barrier}"
        await socket.send(one.data + framed(TEXT, f'{{"type":"ping","id":"{name}"}}'.encode()))
        answers: list[str] = []
        passed = False
        try:
            # A write is answered when it is done, which may be after the barrier.
            async with asyncio.timeout(ANSWER_SECONDS):
                while not (passed and answers):
                    frame = await socket.receive()
                    if frame.get("id") == name:
                        passed = True
                    elif frame["type"] in ANSWERS:
                        answers.append(str(frame.get("code", frame["type"])))
                        if frame.get("code") == "internal":
                            self.internal.append((one.data[:300], frame))
                        passed = await self._leave(socket, frame, name) or passed
        except TimeoutError:
            self.unanswered.append(one)
            return
        self.told[one.kind, answers[0]] += 1

    async def _leave(self, socket: RawSocket, frame: dict[str, Any], barrier: str) -> bool:
        """What was a subscription after all is ended, so that its limit is never the reason of a refusal.

        Whether the barrier was passed meanwhile.
        """
        passed = False
        if frame["type"] == "subscribed":
            ending = {"type": "unsubscribe", "id": frame["id"]}
            await socket.send(framed(TEXT, json.dumps(ending).encode()))
            while (frame := await socket.receive())["type"] != "unsubscribed":
                passed = passed or frame.get("id") == barrier
        return passed


@pytest.mark.long("thousands of frames")
async def test_fuzzed_frames_get_an_answer_each_and_nobody_else_notices(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(replica_set.uri) as client:
        async with scene(client, replica_set.uri, tmp_path, clients=scale["clients"], rate=50) as running:
            lines = [Line(running.service.url) for _ in range(LINES)]
            began = time.monotonic()
            for start in range(0, scale["frames"], A_PORTION):
                frames = await asyncio.to_thread(fuzzed, start, min(A_PORTION, scale["frames"] - start))
                await asyncio.gather(*(line.send(frames[n::LINES]) for n, line in enumerate(lines)))
            took = time.monotonic() - began
            delay = slowest(running)
            await running.judge()
        said = "".join(running.service.output)
    told = sum((line.told for line in lines), Counter[tuple[str, str]]())
    shown = {kind: ({what: n for (one, what), n in told.items() if one == kind}) for kind in KINDS}
    errors = sum(n for (_, what), n in told.items() if what not in ANSWERS)
    say(
        f"{told.total()} frames in {took:.0f} s, {errors} refused: {shown}; a healthy client waited {delay:.2f} s at "
        f"most; {running.summary()}"
    )
    assert [one for line in lines for one in line.unanswered] == []
    assert [one for line in lines for one in line.internal] == []
    assert told.total() == scale["frames"]
    assert errors >= told.total() * 0.6
    for kind, what in told:
        assert what.isdigit() == (kind in ENDING), (kind, what)
        assert kind not in ENDING or int(what) in ENDING[kind], (kind, what)
    assert {kind for kind, _ in told} == KINDS.keys()
    assert "Traceback" not in said, said[-3000:]
    assert "ERROR" not in said, said[-3000:]
    assert delay <= DELAY_SECONDS


def slowest(running: Scene) -> float:
    """The longest way of an insert to the witness."""
    frames = running.witness.frames
    assert isinstance(frames, Stamped)
    offset = time.time() - time.monotonic()
    ways: list[float] = [
        at + offset - event["document"]["at"]
        for frame, at in zip(frames, frames.at, strict=True)
        if frame["type"] == "events"
        for event in frame["events"]
        if event["op"] == "insert"
    ]
    assert len(ways) >= 20
    return max(ways)
