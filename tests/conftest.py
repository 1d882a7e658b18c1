"""The replica set that the tests share. Loads nothing that the pure tests do without."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import replica_set as lanes

CHOICE = pytest.StashKey[lanes.Choice]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.hasplugin("asyncio"):  # `make test-core` unloads it, and --strict-config knows no stray keys
        for key in ("asyncio_mode", "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope"):
            parser.addini(key, "pytest-asyncio's own")


def _choice(config: pytest.Config) -> lanes.Choice:
    if CHOICE not in config.stash:
        config.stash[CHOICE] = lanes.choose(os.environ)
    return config.stash[CHOICE]


def pytest_report_header(config: pytest.Config) -> str:
    return _choice(config).header()


@pytest.fixture(scope="session")
def replica_set(pytestconfig: pytest.Config) -> Iterator[lanes.ReplicaSet]:
    """A replica set with a primary, the same for the whole session. Ends the run when there is none."""
    try:
        with lanes.running(_choice(pytestconfig), os.environ) as found:
            yield found
    except lanes.LaneError as reason:
        pytest.exit(f"no replica set for the tests: {reason}", returncode=2)
