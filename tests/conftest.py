"""The replica set that the tests share. Loads nothing that the pure tests do without."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import parts, second_mongod
from tests import replica_set as lanes

if TYPE_CHECKING:
    from playwright.async_api import Browser

CHOICE = pytest.StashKey[lanes.Choice]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.hasplugin("asyncio"):  # `make test-core` unloads it, and --strict-config knows no stray keys
        for key in ("asyncio_mode", "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope"):
            parser.addini(key, "pytest-asyncio's own")
    parser.addoption("--part", choices=parts.PARTS, help="what is marked so, or the rest (tests/parts.py)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only the tests of the part that was asked for, the longest first; without `--part` all, as they stand."""
    if part := config.getoption("--part"):
        kept, left = list[pytest.Item](), list[pytest.Item]()
        for item in items:
            (kept if parts.part_of(item) == part else left).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept
        parts.in_order(items)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: to look through all of it takes the garbage collector a third of a second,
    and tests that ask for a look ask often.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return parts.scheduler(config, log)


def pytest_configure() -> None:
    """Before anything looks for a mongod, here or in a child."""
    try:
        second_mongod.select(os.environ)
    except second_mongod.NoMongodError as reason:
        raise pytest.UsageError(str(reason)) from None


def _choice(config: pytest.Config) -> lanes.Choice:
    if CHOICE not in config.stash:
        config.stash[CHOICE] = lanes.choose(os.environ)
    return config.stash[CHOICE]


def pytest_report_header(config: pytest.Config) -> str:
    return _choice(config).header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The lines of figures that tests said (`say` of tests/exact); here, since xdist's controller loads no more."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, line in report.user_properties:
                if name == "figures" and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]} ({report.duration:.1f} s): {line}")
    if path := os.environ.get(parts.FAILED_VARIABLE):
        failed = {
            report.nodeid: None for outcome in ("failed", "error") for report in terminalreporter.getreports(outcome)
        }
        Path(path).write_text("".join(f"{terminalreporter.config.rootpath / nodeid}\n" for nodeid in failed))


@pytest.fixture(scope="session")
def replica_set(pytestconfig: pytest.Config) -> Iterator[lanes.ReplicaSet]:
    """A replica set with a primary, the same for the whole session. Ends the run when there is none."""
    try:
        with lanes.running(_choice(pytestconfig), os.environ) as found:
            yield found
    except lanes.LaneError as reason:
        pytest.exit(f"no replica set for the tests: {reason}", returncode=2)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One for all tests of this process, which take it as `browser`: it takes two seconds of a processor to start."""
    from tests.e2e.browser import launched

    async with launched() as found:
        yield found
