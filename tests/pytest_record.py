"""A plugin of pytest's (`-p tests.pytest_record --record FILE`): what a run says of each test, while it runs.

One line of JSON each, so that a run that has to be ended says how far it got:

    {"collected": test, "alone": bool}      alone: it is marked so, nothing may run beside it
    {"started": test, "at": seconds since 1970, "limit": seconds that pytest-timeout gives it; 0: any time}
    {"test", "when": setup|call|teardown, "outcome": passed|failed|skipped, "reason": the error's one line, "limit"}
    {"finished": test}

`--timeout-at-most SECONDS` shortens the time that a test's own mark gives it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, required=True, metavar="FILE")
    parser.addoption("--timeout-at-most", type=float, default=float("inf"), metavar="SECONDS")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Record(config.getoption("--record"), config.getoption("--timeout-at-most")))


class Record:
    """Appends to the file, which is opened anew for every line: nothing is lost with the process."""

    def __init__(self, file: Path, at_most: float) -> None:
        self._file = file
        self._at_most = at_most
        self._limit = 0.0

    def _write(self, **line: Any) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._write(collected=item.nodeid, alone=item.get_closest_marker("alone") is not None)
        if _own_limit(item) > self._at_most:
            item.add_marker(pytest.mark.timeout(self._at_most), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._limit = _own_limit(item) or float(item.config.getoption("--timeout") or 0)
        self._write(started=item.nodeid, at=time.time(), limit=self._limit)
        result = yield
        self._write(finished=item.nodeid)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = "" if report.passed else str(getattr(crash, "message", "") or report.longrepr or "")
        reason = reason.partition("\n")[0][:300]
        self._write(test=report.nodeid, when=report.when, outcome=report.outcome, reason=reason, limit=self._limit)


def _own_limit(item: pytest.Item) -> float:
    """Seconds of its mark; 0 without one."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark and mark.args else 0.0
