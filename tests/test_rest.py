"""The judge of resumed subscriptions accepts exactly the rest and refuses each log that is anything else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.checker import Frame
from tests.rest import NotTheRestError, Resumed, ResumedEvents, ResumedQuery, Run
from tests.test_checker import Log, at, document, event
from tests.truth import Truth, Write

WRITES = [
    Write(10, "a", "insert", 1, document(1, 0)),
    Write(11, "a", "insert", 2, document(2, 0)),
    Write(20, "a", "update", 1, document(1, 1)),
    *(Write(30, "a", "update", key, document(key, 2), "t1") for key in (1, 2)),
    *(Write(30, "a", "insert", key, document(key, 2), "t1") for key in (3, 4)),
    Write(40, "a", "delete", 2),
    Write(50, "a", "update", 3, document(3, 5)),
    Write(55, "other", "insert", 3, document(3, 9)),
]
AFTER = 11
SUBSCRIBED: Frame = {"type": "subscribed", "id": "s", "channel": 1, "recovered": True}
LIVE: Frame = {"type": "live", "id": "s", "position": at(60)}


def told(*entries: Frame, time: int | None) -> Frame:
    kind = "changes" if "document" in entries[0] and "position" not in entries[0] else "events"
    last = {"more": True} if time is None else {"position": at(time)}
    return {"type": kind, "id": "s", kind: list(entries), **last}


def late(write: Write, n: int) -> Frame:
    return {**event(write), "document": document(write.key, n), "as_of": at(60)}


EVENTS: Log = [
    SUBSCRIBED,
    told(late(WRITES[2], 2), time=20),
    told(late(WRITES[3], 2), event(WRITES[4]), time=None),
    told(event(WRITES[5]), event(WRITES[6]), time=30),
    told(event(WRITES[7]), event(WRITES[8]), time=50),
    LIVE,
]
QUERY: Log = [
    SUBSCRIBED,
    {"type": "changes", "id": "s", "changes": [{"op": "leave", "key": 2}], "more": True},
    {
        "type": "changes",
        "id": "s",
        "changes": [{"op": "update", "key": key, "document": document(key, n)} for key, n in ((1, 2), (3, 5), (4, 2))],
        "position": at(60),
    },
    LIVE,
]


def resume(kind: type[Resumed], log: Log) -> Run:
    run = Run(Truth(WRITES), "a")
    resumed = kind(run, at(AFTER))
    for frame in log:
        resumed.take(frame)
    assert resumed.recovered
    assert resumed.whole
    return run


def test_exactly_the_rest_is_accepted_and_was_looked_at() -> None:
    assert resume(ResumedEvents, EVENTS).figures == {"told": 7, "resumed": 1}
    assert resume(ResumedQuery, QUERY).figures == {"changes": 4, "resumed": 1}


def swap(log: Log) -> None:
    log[4]["events"].reverse()


def tell_twice(log: Log) -> None:
    log.insert(2, copy.deepcopy(log[1]))


def forget_the_last(log: Log) -> None:
    log[4]["events"].pop()
    log[4]["position"] = at(40)


def end_half_a_moment(log: Log) -> None:
    del log[2]["more"]
    log[2]["position"] = at(30)


def go_back(log: Log) -> None:
    log[4]["position"] = at(29)


SPOILED_EVENTS: dict[str, tuple[Callable[[Log], object], str]] = {
    "a moment is missing": (lambda log: log.pop(1), "not at"),
    "an event is missing": (lambda log: log[2]["events"].pop(0), "not Write"),
    "the last is missing": (forget_the_last, "never told"),
    "all is missing": (lambda log: log.__delitem__(slice(1, 5)), "never told"),
    "two are swapped": (swap, "not Write"),
    "a moment comes twice": (tell_twice, "not at"),
    "half of a moment": (end_half_a_moment, "half of a moment"),
    "one that was before": (lambda log: log[1]["events"].insert(0, event(WRITES[1])), "not Write"),
    "one too many": (lambda log: log[4]["events"].append(event(WRITES[8])), "too many"),
    "another time": (lambda log: log[1]["events"][0].update(position=at(21)), "not at"),
    "another operation": (lambda log: log[4]["events"][0].update(op="update"), "not Write"),
    "another document": (lambda log: log[3]["events"][0]["document"].update(n=7), "not {"),
    "the document of another time": (lambda log: log[1]["events"][0].update(as_of=at(20)), "not {"),
    "a document from before": (lambda log: log[1]["events"][0].update(as_of=at(11)), "another time"),
    "partial without cause": (lambda log: log[1]["events"][0].pop("document"), "partial"),
    "not recovered": (lambda log: log.__setitem__(0, {**SUBSCRIBED, "recovered": False}), "wrong time"),
    "live too early": (lambda log: log[5].update(position=at(49)), "a position before"),
    "a position goes back": (go_back, "a position before"),
    "a resync": (lambda log: log.insert(4, {"type": "resync", "id": "s"}), "a resync"),
    "something after live": (lambda log: log.append(copy.deepcopy(log[4])), "wrong time"),
}
SPOILED_QUERIES: dict[str, tuple[Callable[[Log], object], str]] = {
    "one is missing": (lambda log: log[2]["changes"].pop(0), "never told"),
    "a leave is missing": (lambda log: log.pop(1), "never told"),
    "one comes twice": (lambda log: log[2]["changes"].append(log[2]["changes"][0]), "twice"),
    "an old document": (lambda log: log[2]["changes"][0]["document"].update(n=1), "not {"),
    "one that is gone": (lambda log: log[1]["changes"][0].update(op="update", document=document(2, 2)), "not None"),
    "a leave of what is there": (lambda log: log[2]["changes"].append({"op": "leave", "key": 1}), "not {"),
    "one that nobody changed": (
        lambda log: log[2]["changes"].append({"op": "update", "key": 9, "document": document(9, 9)}),
        "not changed",
    ),
    "a snapshot": (lambda log: log.insert(1, {"type": "snapshot", "id": "s"}), "a snapshot"),
    "live before the end": (lambda log: (log[2].update(position=at(49)), log[3].update(position=at(49))), "before"),
}


@pytest.mark.parametrize(("spoil", "reason"), SPOILED_EVENTS.values(), ids=SPOILED_EVENTS.keys())
def test_any_other_events_are_refused(spoil: Callable[[Log], object], reason: str) -> None:
    log = copy.deepcopy(EVENTS)
    spoil(log)
    with pytest.raises(NotTheRestError, match=reason):
        resume(ResumedEvents, log)


@pytest.mark.parametrize(("spoil", "reason"), SPOILED_QUERIES.values(), ids=SPOILED_QUERIES.keys())
def test_any_other_changes_are_refused(spoil: Callable[[Log], object], reason: str) -> None:
    log = copy.deepcopy(QUERY)
    spoil(log)
    with pytest.raises(NotTheRestError, match=reason):
        resume(ResumedQuery, log)
