"""Every test here has a row in `scale.py` and prints its figures after the run."""

from __future__ import annotations

import pytest

from tests.adversity.scale import Scale, scale_of
from tests.exact.conftest import say

__all__ = ["say"]


@pytest.fixture(autouse=True)
def scale(request: pytest.FixtureRequest) -> Scale:
    """The row of this test; without one it fails."""
    try:
        return scale_of(getattr(request.node, "originalname", None) or request.node.name)
    except LookupError as missing:
        pytest.fail(str(missing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The lines that the tests said, unless `tests/exact` is part of the run: it prints those of all."""
    plugins = terminalreporter.config.pluginmanager.list_name_plugin()
    if any(name.endswith("tests/exact/conftest.py") for name, plugin in plugins if plugin is not None):
        return
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, line in report.user_properties:
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]} ({report.duration:.1f} s): {line}")
