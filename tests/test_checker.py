"""The checker accepts an honest log and refuses each doctored one by its own name."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import checker, rest, truth
from tests.checker import Asked, Frame, Verdict, judge
from tests.truth import Document, Truth, View, Write

Log = list[Frame]
STANDARD = {"__future__", "json", "re", "bisect", "collections", "dataclasses", "typing"}


def at(time: int) -> str:
    return f"ABCDEF01-{time:016X}"


def document(key: int, n: int) -> Document:
    return {"_id": key, "n": n}


WRITES = [
    Write(10, "a", "insert", 1, document(1, 0)),
    Write(11, "a", "insert", 2, document(2, 0)),
    Write(20, "a", "update", 1, document(1, 1)),
    *(Write(30, "a", "update", key, document(key, 2), "t1") for key in (1, 2)),
    *(Write(30, "a", "insert", key, document(key, 2), "t1") for key in (3, 4)),
    Write(40, "a", "delete", 2),
    Write(50, "a", "insert", 5, document(5, 0)),
    Write(55, "a", "replace", 5, document(5, 9)),
    Write(60, "a", "drop"),
    Write(65, "a", "insert", 6, document(6, 0)),
    Write(80, "a", "insert", 7, document(7, 0)),
]


def change(op: str, key: int, n: int | None = None) -> Frame:
    return {"op": op, "key": key, **({} if n is None else {"document": document(key, n)})}


def changes(time: int | None, *entries: Frame) -> Frame:
    last = {"more": True} if time is None else {"position": at(time)}
    return {"type": "changes", "channel": 1, "changes": list(entries), **last}


def event(write: Write) -> Frame:
    shown: Frame = {"op": write.op, "collection": write.collection, "position": at(write.time)}
    if write.op != "drop":
        shown["key"] = write.key
    if write.document is not None:
        shown["document"] = write.document
    return shown


def events(*writes: Write) -> Frame:
    return {
        "type": "events",
        "channel": 2,
        "events": [event(write) for write in writes],
        "position": at(writes[-1].time),
    }


def start(name: str, channel: int, time: int) -> Log:
    return [
        {"type": "subscribed", "id": name, "channel": channel, "recovered": False},
        {"type": "live", "id": name, "position": at(time)},
    ]


def snapshot(name: str, time: int, *documents: Document) -> Frame:
    frame = {"type": "snapshot", "id": name, "documents": list(documents), "first": True, "last": True}
    return {**frame, "position": at(time)}


HONEST: Log = [
    {"type": "welcome", "position": at(1)},
    *start("u", 9, 5),
    {"type": "unsubscribed", "id": "u"},
    start("q", 1, 15)[0],
    snapshot("q", 15, document(1, 0), document(2, 0)),
    start("q", 1, 15)[1],
    *start("e", 2, 15),
    changes(20, change("update", 1, 1)),
    events(WRITES[2]),
    changes(None, change("update", 1, 2), change("update", 2, 2)),
    changes(30, change("enter", 3, 2), change("enter", 4, 2)),
    events(*WRITES[3:7]),
    changes(40, change("leave", 2)),
    events(WRITES[7]),
    {"type": "heartbeat", "position": at(45)},
    changes(50, change("enter", 5, 0)),
    events(WRITES[8]),
    changes(55, change("update", 5, 9)),
    events(WRITES[9]),
    {"type": "resync", "id": "q", "reason": "collection_replaced"},
    events(WRITES[10]),
    snapshot("q", 70, document(6, 0)),
    {"type": "live", "id": "q", "position": at(70)},
    events(WRITES[11]),
    changes(80, change("enter", 7, 0)),
    events(WRITES[12]),
    {"type": "pong", "id": "p", "position": at(90)},
]
ASKED = [Asked("u", ("a",)), Asked("q", ("a",)), Asked("e", ("a",), mode="events")]


def verdict_of(log: Log) -> Verdict:
    return judge(log, ASKED, Truth(WRITES))


def find(log: Log, kind: str, time: int) -> Frame:
    return next(frame for frame in log if frame["type"] == kind and frame.get("position") == at(time))


def test_an_honest_log_is_accepted_and_was_looked_at() -> None:
    figures = verdict_of(HONEST).accept()
    assert figures["moments"] == 6 + 8
    assert figures["views"] == 4 + 1
    assert figures["expected"] == figures["told"] == 11
    assert figures["compared"] == 9


# ---------------------------------------------------------------------------------------------------- doctored logs


def lost_change(log: Log) -> None:
    log.remove(find(log, "changes", 40))


def lost_at_the_end(log: Log) -> None:
    log.remove(find(log, "changes", 80))


def lost_event(log: Log) -> None:
    log.remove(find(log, "events", 50))


def repeated_moment(log: Log) -> None:
    log.insert(log.index(find(log, "changes", 20)), copy.deepcopy(find(log, "changes", 20)))


def repeated_change(log: Log) -> None:
    find(log, "changes", 50)["changes"].append(change("update", 3, 2))


def repeated_event(log: Log) -> None:
    frame = find(log, "events", 50)
    frame["events"].append(frame["events"][0])


def repeated_frame_of_events(log: Log) -> None:
    log.insert(log.index(find(log, "events", 50)), copy.deepcopy(find(log, "events", 50)))


def swapped_events(log: Log) -> None:
    frame = find(log, "events", 30)
    frame["events"][0], frame["events"][1] = frame["events"][1], frame["events"][0]


def swapped_writes(log: Log) -> None:
    for time, write in ((50, WRITES[12]), (80, WRITES[8])):
        find(log, "events", time)["events"] = [{**event(write), "position": at(time)}]


def half_a_moment(log: Log) -> None:
    del find(log, "changes", 30)["changes"][:]


def half_a_moment_too_early(log: Log) -> None:
    find(log, "changes", 20)["changes"].append(change("enter", 3, 2))
    find(log, "changes", 30)["changes"].remove(change("enter", 3, 2))


def half_of_the_events(log: Log) -> None:
    del find(log, "events", 30)["events"][:2]


def events_of_one_moment_in_two(log: Log) -> None:
    early = find(log, "events", 30)["events"].pop(0)
    find(log, "events", 20)["events"].append(early)


def uncommitted_change(log: Log) -> None:
    find(log, "changes", 50)["changes"].append(change("enter", 99, 0))


def uncommitted_leave(log: Log) -> None:
    find(log, "changes", 50)["changes"].insert(0, change("leave", 3))


def uncommitted_event(log: Log) -> None:
    find(log, "events", 50)["events"].append(event(Write(50, "a", "insert", 99, document(99, 0))))


def another_view(log: Log) -> None:
    find(log, "snapshot", 15)["documents"].pop()


def another_document(log: Log) -> None:
    find(log, "changes", 55)["changes"][0]["document"]["n"] = 8


def another_document_in_an_event(log: Log) -> None:
    find(log, "events", 55)["events"][0]["document"] = document(5, 8)


def a_document_withheld(log: Log) -> None:
    frame = find(log, "events", 80)["events"][0]
    del frame["document"]
    frame["partial"] = True


def resync_for_nothing(log: Log) -> None:
    spot = log.index(find(log, "heartbeat", 45))
    held = [document(key, 2) for key in (1, 3, 4)]
    live = {"type": "live", "id": "q", "position": at(46)}
    log[spot + 1 : spot + 1] = [{"type": "resync", "id": "q", "reason": "x"}, snapshot("q", 46, *held), live]


def resync_not_followed(log: Log) -> None:
    log.append({"type": "resync", "id": "q", "reason": "x"})


def resync_without_its_snapshot(log: Log) -> None:
    log.remove(find(log, "snapshot", 70))


def position_back(log: Log) -> None:
    one, other = log.index(find(log, "changes", 50)), log.index(find(log, "changes", 55))
    log[one], log[other] = log[other], log[one]


def position_of_live_back(log: Log) -> None:
    find(log, "live", 70)["position"] = at(14)


def position_of_a_heartbeat_back(log: Log) -> None:
    log.append({"type": "heartbeat", "position": at(79)})


def enter_of_held(log: Log) -> None:
    find(log, "changes", 55)["changes"][0]["op"] = "enter"


def update_of_unheld(log: Log) -> None:
    find(log, "changes", 50)["changes"][0]["op"] = "update"


def leave_of_unheld(log: Log) -> None:
    find(log, "changes", 50)["changes"].insert(0, change("leave", 2))


def changes_without_live(log: Log) -> None:
    log.remove(find(log, "live", 70))


def unfinished_more(log: Log) -> None:
    log.append(changes(None, change("enter", 8, 0)))


def unfinished_before_a_resync(log: Log) -> None:
    spot = next(index for index, frame in enumerate(log) if frame["type"] == "resync")
    log.insert(spot, changes(None, change("enter", 8, 0)))


def dead_channel(log: Log) -> None:
    log.append({**changes(85, change("enter", 8, 0)), "channel": 9})


def dead_subscription(log: Log) -> None:
    log.append(snapshot("u", 85))


DOCTORED: list[tuple[str, Callable[[Log], None]]] = [
    ("lost", lost_change),
    ("lost", lost_at_the_end),
    ("lost", lost_event),
    ("repeated", repeated_moment),
    ("repeated", repeated_change),
    ("repeated", repeated_event),
    ("repeated", repeated_frame_of_events),
    ("swapped", swapped_events),
    ("swapped", swapped_writes),
    ("half_moment", half_a_moment),
    ("half_moment", half_a_moment_too_early),
    ("half_moment", half_of_the_events),
    ("half_moment", events_of_one_moment_in_two),
    ("uncommitted", uncommitted_change),
    ("uncommitted", uncommitted_leave),
    ("uncommitted", uncommitted_event),
    ("view_differs", another_view),
    ("document_differs", another_document),
    ("document_differs", another_document_in_an_event),
    ("partial_without_cause", a_document_withheld),
    ("resync_for_nothing", resync_for_nothing),
    ("resync_not_followed", resync_not_followed),
    ("resync_not_followed", resync_without_its_snapshot),
    ("position_back", position_back),
    ("position_back", position_of_live_back),
    ("position_back", position_of_a_heartbeat_back),
    ("enter_of_held", enter_of_held),
    ("change_of_unheld", update_of_unheld),
    ("change_of_unheld", leave_of_unheld),
    ("changes_without_live", changes_without_live),
    ("unfinished_more", unfinished_more),
    ("unfinished_more", unfinished_before_a_resync),
    ("dead_subscription", dead_channel),
    ("dead_subscription", dead_subscription),
]


@pytest.mark.parametrize(("name", "doctor"), [pytest.param(*one, id=one[1].__name__) for one in DOCTORED])
def test_a_doctored_log_is_refused_by_name(name: str, doctor: Callable[[Log], None]) -> None:
    log = copy.deepcopy(HONEST)
    doctor(log)
    verdict = verdict_of(log)
    assert log != HONEST
    assert name in verdict.names, verdict.violations
    with pytest.raises(AssertionError, match=name):
        verdict.accept()


def test_every_name_of_the_table_is_tried() -> None:
    table = {line.split()[0] for line in (checker.__doc__ or "").splitlines() if line.startswith("    ")}
    assert table == {name for name, _ in DOCTORED}
    assert len(table) >= 12


def test_a_view_that_differs_from_what_mongodb_reads_is_refused_at_a_sampled_position() -> None:
    def read(_: str, time: int) -> View:
        return {"1": document(1, 7)} if time == 20 else {}

    asked = [ASKED[0], Asked("q", ("a",), sample=frozenset({at(20)})), ASKED[2]]
    verdict = judge(HONEST, asked, Truth(WRITES), read=read)
    assert verdict.figures["sampled"] == 1
    assert [(one.name, one.position) for one in verdict.violations] == [("view_differs", at(20))]


def test_the_filter_and_the_projection_are_the_checkers_own() -> None:
    asked = Asked(
        "q", ("a",), matches=lambda one: one["n"] < 2, shows=lambda one: {"_id": one["_id"]}, after=at(15), held={}
    )
    log: Log = [
        {"type": "subscribed", "id": "q", "channel": 1, "recovered": False},
        snapshot("q", 15, {"_id": 1}, {"_id": 2}),
        {"type": "live", "id": "q", "position": at(15)},
        changes(30, change("leave", 1), change("leave", 2)),
    ]
    assert judge(log, [asked], Truth(WRITES)).accept()["leave"] == 2


def test_a_resumed_query_is_exact_from_what_it_held() -> None:
    held: View = {"1": document(1, 0), "2": document(2, 0)}
    asked = [Asked("q", ("a",), after=at(15), held=held)]
    log: Log = [
        {"type": "subscribed", "id": "q", "channel": 1, "recovered": True},
        {"type": "changes", "id": "q", "changes": [change("update", 1, 1)], "position": at(25)},
        {"type": "live", "id": "q", "position": at(25)},
    ]
    assert judge(log, asked, Truth(WRITES)).accept()["recovered"] == 1
    del log[1]
    assert judge(log, asked, Truth(WRITES)).names == {"view_differs"}


def test_the_judge_imports_nothing_of_the_service() -> None:
    for module in (checker, rest, truth):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        names: set[Any] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        assert names
        assert {str(name).split(".")[0] for name in names} <= STANDARD | {"tests"}
        assert {name for name in names if name.startswith("tests")} <= {"tests.truth", "tests.checker"}
