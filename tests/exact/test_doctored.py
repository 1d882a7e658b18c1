"""The checker on a log that the service really wrote: accepted as it is, refused by name once it is doctored.

Sabotage: none; `tests/test_checker.py` has what can only be constructed.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.checker import Asked, Frame, Verdict, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening, passed
from tests.exact.ledger import Ledger, Op, delete, insert, update
from tests.replica_set import ReplicaSet
from tests.serving import serving
from tests.truth import Truth

Log = list[Frame]
ASKED = [Asked("u", ("a",)), Asked("q", ("a",)), Asked("e", ("a",), "events")]


@dataclass(slots=True)
class Recorded:
    """What one connection was sent, and what was acknowledged."""

    log: Log
    truth: Truth

    def verdict(self, log: Log) -> Verdict:
        return judge(log, ASKED, self.truth)


async def step(ear: Ear, ledger: Ledger, *ops: Op) -> None:
    """One write, or one transaction, seen by all before the next: a moment of its own."""
    await asyncio.to_thread(ledger.one if len(ops) == 1 else lambda op: ledger.together(ops), ops[0])
    await ear.settle(ledger.last)


async def record(replica_set: ReplicaSet) -> Recorded:
    async with (
        serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.2) as service,
        listening(service.url) as ear,
    ):
        ledger = Ledger(service.database)
        for key in (1, 2):
            ledger.one(insert("a", key, n=0))
        await passed(service.url, ledger.last)  # or the events subscription begins before them, and rightly hears them
        await ear.subscribe("u", "a")
        await ear.ask(type="unsubscribe", id="u")
        await ear.subscribe("q", "a")
        await ear.subscribe("e", "a", mode="events")
        await step(ear, ledger, update("a", 1, n=1))
        await step(ear, ledger, update("a", 1, n=2), update("a", 2, n=2), insert("a", 3, n=2), insert("a", 4, n=2))
        await step(ear, ledger, delete("a", 2))
        await step(ear, ledger, insert("a", 5, n=0))
        await step(ear, ledger, Op("replace", "a", 5, {"n": 9}))
        beat = ear.coming(lambda frame: frame["type"] == "heartbeat")
        async with asyncio.timeout(5):
            await beat
        told = ear.coming(lambda frame: frame["type"] == "resync")
        ledger.catalogue("drop", "a")
        async with asyncio.timeout(5):
            await told
        await ear.settle(ledger.last)
        for key in (6, 7):
            await step(ear, ledger, insert("a", key, n=0))
        return Recorded(ear.frames, ledger.truth())


def frame_of(log: Log, kind: str, op: str, key: int) -> Frame:
    """The frame that carries this change or event."""
    return next(
        frame
        for frame in log
        if frame["type"] == kind and any((one["op"], one.get("key")) == (op, key) for one in frame[kind])
    )


def of_type(log: Log, kind: str, name: str = "q") -> Frame:
    """The last frame of a type for a subscription."""
    return next(frame for frame in reversed(log) if frame["type"] == kind and frame.get("id") == name)


def lost_change(log: Log) -> None:
    log.remove(frame_of(log, "changes", "leave", 2))


def lost_event(log: Log) -> None:
    log.remove(frame_of(log, "events", "insert", 5))


def repeated_moment(log: Log) -> None:
    frame = frame_of(log, "changes", "enter", 5)
    log.insert(log.index(frame), copy.deepcopy(frame))


def repeated_event(log: Log) -> None:
    entries = frame_of(log, "events", "insert", 5)["events"]
    entries.append(copy.deepcopy(entries[0]))


def swapped(log: Log) -> None:
    entries = frame_of(log, "events", "insert", 3)["events"]
    entries[2], entries[3] = entries[3], entries[2]


def half_a_moment(log: Log) -> None:
    del frame_of(log, "changes", "enter", 3)["changes"][:2]


def half_of_the_events(log: Log) -> None:
    del frame_of(log, "events", "insert", 3)["events"][:2]


def unacknowledged(log: Log) -> None:
    entries = frame_of(log, "changes", "enter", 5)["changes"]
    entries.append({"op": "enter", "key": 99, "document": {"_id": 99, "n": 0}})


def unacknowledged_event(log: Log) -> None:
    entries = frame_of(log, "events", "insert", 5)["events"]
    entries.append({**entries[0], "key": 99, "document": {"_id": 99, "n": 0}})


def another_view(log: Log) -> None:
    of_type(log[: log.index(of_type(log, "resync"))], "snapshot")["documents"].pop()


def another_document(log: Log) -> None:
    frame_of(log, "changes", "update", 5)["changes"][0]["document"]["n"] = 8


def another_document_of_an_event(log: Log) -> None:
    frame_of(log, "events", "replace", 5)["events"][0]["document"]["n"] = 8


def a_document_withheld(log: Log) -> None:
    event = frame_of(log, "events", "insert", 7)["events"][0]
    del event["document"]
    event["partial"] = True


def resync_for_nothing(log: Log) -> None:
    live = of_type(log, "live")
    again = [copy.deepcopy(of_type(log, kind)) for kind in ("resync", "snapshot", "live")]
    log[log.index(live) + 1 : log.index(live) + 1] = again


def resync_alone(log: Log) -> None:
    log.append(copy.deepcopy(of_type(log, "resync")))


def resync_without_its_snapshot(log: Log) -> None:
    log.remove(of_type(log, "snapshot"))


def back_on_a_channel(log: Log) -> None:
    one, other = (log.index(frame_of(log, "changes", op, 5)) for op in ("enter", "update"))
    log[one], log[other] = log[other], log[one]


def back_among_events(log: Log) -> None:
    one, other = (log.index(frame_of(log, "events", op, 5)) for op in ("insert", "replace"))
    log[one], log[other] = log[other], log[one]


def back_in_a_frame_without_change(log: Log) -> None:
    frame = frame_of(log, "changes", "update", 5)
    frame["position"] = frame_of(log, "changes", "enter", 5)["position"]


def back_at_live(log: Log) -> None:
    of_type(log, "live")["position"] = of_type(log, "subscribed", "e").get("position", log[0]["position"])


def back_in_a_heartbeat(log: Log) -> None:
    log.append({"type": "heartbeat", "position": of_type(log, "live")["position"]})


def enter_of_held(log: Log) -> None:
    frame_of(log, "changes", "update", 5)["changes"][0]["op"] = "enter"


def update_of_unheld(log: Log) -> None:
    frame_of(log, "changes", "enter", 5)["changes"][0]["op"] = "update"


def changes_before_live(log: Log) -> None:
    log.remove(of_type(log, "live"))


def unfinished(log: Log) -> None:
    frame = copy.deepcopy(frame_of(log, "changes", "enter", 7))
    del frame["position"]
    log.append({**frame, "more": True})


def after_its_end(log: Log) -> None:
    log.append({**copy.deepcopy(of_type(log, "snapshot")), "id": "u"})


DOCTORED: list[tuple[str, Callable[[Log], None]]] = [
    ("lost", lost_change),
    ("lost", lost_event),
    ("repeated", repeated_moment),
    ("repeated", repeated_event),
    ("swapped", swapped),
    ("half_moment", half_a_moment),
    ("half_moment", half_of_the_events),
    ("uncommitted", unacknowledged),
    ("uncommitted", unacknowledged_event),
    ("view_differs", another_view),
    ("document_differs", another_document),
    ("document_differs", another_document_of_an_event),
    ("partial_without_cause", a_document_withheld),
    ("resync_for_nothing", resync_for_nothing),
    ("resync_not_followed", resync_alone),
    ("resync_not_followed", resync_without_its_snapshot),
    ("position_back", back_on_a_channel),
    ("position_back", back_among_events),
    ("repeated", back_in_a_frame_without_change),
    ("position_back", back_at_live),
    ("position_back", back_in_a_heartbeat),
    ("enter_of_held", enter_of_held),
    ("change_of_unheld", update_of_unheld),
    ("changes_without_live", changes_before_live),
    ("unfinished_more", unfinished),
    ("dead_subscription", after_its_end),
]


@pytest.mark.timeout(60)
async def test_a_recorded_log_is_accepted_and_each_doctored_copy_is_refused_by_name(
    replica_set: ReplicaSet, say: Say
) -> None:
    recorded = await record(replica_set)
    figures = recorded.verdict(recorded.log).accept()
    refused: dict[str, Any] = {}
    for name, doctor in DOCTORED:
        log = copy.deepcopy(recorded.log)
        doctor(log)
        assert log != recorded.log
        refused[doctor.__name__] = recorded.verdict(log).names
        assert name in refused[doctor.__name__], (doctor.__name__, refused[doctor.__name__])
    say(f"{len(recorded.log)} frames, {dict(figures)}; {len(refused)} doctored copies refused")
    assert figures["told"] == figures["expected"] == 11
    assert figures["moments"] >= 6 + 8
    assert figures["resync"] == 1
    assert len(refused) == len(DOCTORED) >= 12
    # No name was given to everything: a checker that says all of them would pass the above.
    assert max(len(names) for names in refused.values()) <= 4
