"""Every test here says what it looked at; the figures are printed after the run."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.replica_set import TEST_COMMANDS, ReplicaSet

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Keep a line of figures with the test's report."""
    return lambda line: record_property("figures", line)


@pytest.fixture
async def own_replica_set() -> AsyncIterator[ReplicaSet]:
    """One that nobody else uses, whose oplog rolls within seconds and whose commands can be made to fail."""
    from realtime.mongo import embedded

    arguments = ("--oplogSize", "1", "--syncdelay", "1", *TEST_COMMANDS)
    with tempfile.TemporaryDirectory(prefix="realtime-exact-") as directory:
        async with embedded.running(Path(directory), extra_args=arguments) as mongo:
            yield ReplicaSet(mongo.uri, "embedded", can_fail_commands=True, pid=mongo.pid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The lines that the tests said."""
    for reports in ("passed", "failed"):
        for report in terminalreporter.getreports(reports):
            for name, line in report.user_properties:
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]} ({report.duration:.1f} s): {line}")
