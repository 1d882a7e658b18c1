"""What is fetched once a machine is fetched once, by whoever comes first, and is never half there."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from tests.kept import kept


def fetch(path: Path) -> None:
    """Slow enough for the others to come meanwhile."""
    with (path.parents[1] / "calls").open("a") as calls:
        calls.write("x")
    path.mkdir()
    time.sleep(0.2)
    (path / "whole").touch()


def ask(cache: Path) -> bool:
    return (kept("thing", fetch, cache) / "whole").exists()


def test_of_four_processes_that_come_at_once_one_fetches_and_all_have_it_whole(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(ask, [tmp_path] * 4, chunksize=1) == [True] * 4
    assert (tmp_path / "calls").read_text() == "x"


def test_one_that_failed_leaves_nothing_and_the_next_one_fetches(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.mkdir()
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        kept("thing", broken, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thing.lock"]
    assert ask(tmp_path)
