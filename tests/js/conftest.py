"""A folder in which Node finds the client as npm would install it, and what its tests need beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kept import kept
from tests.serving import service

__all__ = ["service"]

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "realtime" / "web" / "static" / "realtime"


def installed() -> Path:
    """`node_modules` of package.json, installed once a machine."""
    wanted = HERE / "package.json"

    def install(folder: Path) -> None:
        folder.mkdir()
        shutil.copy(wanted, folder)
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    return kept(f"node-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}", install) / "node_modules"


def run(command: list[str], folder: Path, *, seconds: float = 120) -> str:
    """What a command printed. `AssertionError` with all of it where the command failed."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def packed(folder: Path) -> Path:
    """The tarball that `npm publish` would send."""
    (report,) = json.loads(run(["npm", "pack", "--json", "--pack-destination", str(folder)], CLIENT))
    return folder / str(report["filename"])


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test files, with `mongo-realtime` unpacked from its tarball into their `node_modules`."""
    folder = tmp_path_factory.mktemp("js")
    modules = folder / "node_modules"
    modules.mkdir()
    for package in installed().iterdir():
        (modules / package.name).symlink_to(package)
    run(["tar", "-xzf", str(packed(folder))], folder)
    (folder / "package").rename(modules / "mongo-realtime")
    # The page's own modules too, with the client as it was packed.
    shutil.copytree(CLIENT.parent, folder / "page", ignore=shutil.ignore_patterns("realtime"))
    (folder / "page" / "package.json").write_text('{"type": "module"}')
    (folder / "page" / "realtime").symlink_to(modules / "mongo-realtime")
    for file in [*HERE.glob("*.mjs"), *HERE.glob("*.mts")]:
        shutil.copy(file, folder)
    return folder
