"""Every test here says what it looked at; the figures are printed after the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Keep a line of figures with the test's report."""
    return lambda line: record_property("figures", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The lines that the tests said."""
    for reports in ("passed", "failed"):
        for report in terminalreporter.getreports(reports):
            for name, line in report.user_properties:
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]} ({report.duration:.1f} s): {line}")
