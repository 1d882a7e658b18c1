"""The audit log: a line for each entry, never in anybody's way, and nothing in it that is secret."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from prometheus_client import REGISTRY

from realtime.access import audit
from realtime.access.audit import AuditLog, Entry, line_of
from realtime.core.access import thinning
from realtime.core.access.principal import Principal
from realtime.core.access.thinning import MOST_ALIKE

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, dt.UTC)
WHO = Principal("ann", frozenset({"staff"}), {"email": "ann@shop.example"}, jti="t1", key="k1")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def dropped() -> float:
    return REGISTRY.get_sample_value("realtime_audit_dropped_total") or 0.0


def test_a_line_says_who_did_what_to_which_and_nothing_of_claims() -> None:
    entry = Entry("write", WHO, "192.0.2.1", "orders", "update", ObjectId("5" * 24), "0123ABCD-0000000000000001")
    line = line_of(entry, AT)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678Z",
        "what": "write",
        "sub": "ann",
        "jti": "t1",
        "access_key": "k1",
        "address": "192.0.2.1",
        "collection": "orders",
        "operation": "update",
        "key": '{"$oid":"555555555555555555555555"}',
        "position": "0123ABCD-0000000000000001",
    }
    assert b"email" not in line
    assert json.loads(line_of(Entry("refused", reason="expired"), AT)) == {
        "time": "2026-01-02T03:04:05.678Z",
        "what": "refused",
        "reason": "expired",
    }


def test_a_long_key_is_cut_and_a_line_stays_one_whatever_it_holds() -> None:
    line = line_of(Entry("write", key={"a": "x\n" * 5000}), AT)
    assert line.count(b"\n") == 1
    assert len(line) < 2000


def test_entries_come_in_order_and_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.begin()
    for number in range(2000):
        log.record(Entry("write", WHO, key=number))
    log.close()
    assert [one["key"] for one in lines(path)] == [str(number) for number in range(2000)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_processes_write_one_file_and_no_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    logs = [AuditLog(path), AuditLog(path)]
    for log in logs:
        log.begin()

    def write(log: AuditLog) -> None:
        for number in range(500):
            log.record(Entry("write", WHO, key=f"{number} {'x' * 300}"))

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert len(lines(path)) == 1000


def test_a_file_that_is_rotated_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.begin()
    log.record(Entry("connect", WHO))
    wait_for(lambda: path.read_text().count("\n") == 1)
    path.rename(tmp_path / "audit.log.1")
    log.record(Entry("ended", WHO))
    log.close()
    assert [one["what"] for one in lines(tmp_path / "audit.log.1")] == ["connect"]
    assert [one["what"] for one in lines(path)] == ["ended"]


def test_over_the_bound_entries_are_dropped_and_counted_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, free, before = tmp_path / "audit.log", threading.Event(), dropped()
    began = threading.Event()

    def slow(entry: Entry, at: dt.datetime) -> bytes:
        began.set()
        free.wait(10)
        return line_of(entry, at)

    monkeypatch.setattr(audit, "line_of", slow)
    log = AuditLog(path, most=10)
    log.begin()
    log.record(Entry("write"))
    assert began.wait(10)
    asked = time.monotonic()
    for _ in range(100):
        log.record(Entry("write"))
    assert time.monotonic() - asked < 3, "a wait of 50 ms each would be 4.5 s"
    free.set()
    log.close()
    assert dropped() - before == 90
    assert len(lines(path)) == 11


def test_a_disk_that_fails_is_said_once_counted_and_written_to_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log, before = AuditLog(folder / "audit.log"), dropped()
    log.begin()
    (folder / "audit.log").unlink()
    folder.rmdir()
    for number in range(3):
        log.record(Entry("write", key=number))
        wait_for(lambda number=number: dropped() - before == number + 1)
    folder.mkdir()
    log.record(Entry("write", key="there again"))
    log.close()
    assert [one["key"] for one in lines(folder / "audit.log")] == ['"there again"']
    assert caplog.text.count("cannot be written") == 1


def test_without_a_file_nothing_is_kept() -> None:
    log = AuditLog(None)
    log.begin()
    log.record(Entry("write"))
    log.close()
    assert threading.active_count() == len([one for one in threading.enumerate() if one.name != "audit"])


def wait_for(condition: Any) -> None:
    waiter = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waiter.wait(0.01)
    raise AssertionError("this never came about")


def test_a_flood_of_refusals_is_some_lines_and_a_number_and_the_first_of_a_kind_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.begin()
    for _ in range(5000):
        log.record(Entry("refused", address="192.0.2.1", reason="malformed"))
    log.record(Entry("refused", address="192.0.2.1", reason="expired"))
    log.record(Entry("refused", address="192.0.2.2", reason="malformed"))
    for _ in range(300):
        log.record(Entry("write", WHO))
    log.close()
    found = lines(path)
    alike = [one for one in found if one.get("reason") == "malformed" and one["address"] == "192.0.2.1"]
    assert [one.get("count") for one in alike] == [None] * MOST_ALIKE + [5000 - MOST_ALIKE]
    assert [one["reason"] for one in found if one.get("address") == "192.0.2.2"] == ["malformed"]
    assert len([one for one in found if one.get("reason") == "expired"]) == 1
    assert len([one for one in found if one["what"] == "write"]) == 300, "what is no refusal has a line each"


def test_the_number_comes_when_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "WINDOW_SECONDS", 0.2)
    monkeypatch.setattr(audit, "LOOK_SECONDS", 0.05)
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.begin()
    for _ in range(MOST_ALIKE + 1):
        log.record(Entry("refused", address="192.0.2.1", reason="malformed"))
    deadline = time.monotonic() + 20
    while not any(one.get("count") == 1 for one in lines(path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    log.close()
