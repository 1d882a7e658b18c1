"""REALTIME_TEST_MONGOD: which mongod the tests take, wherever they look for one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from realtime import settings
from realtime.mongo import embedded
from tests import replica_set, second_mongod
from tests.mongo.test_embedded import script

SAYS = "#!/bin/sh\necho 'db version v9.8.7'"


def test_who_names_a_mongod_and_who_names_none_get_the_selected_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = script(tmp_path / "bin" / "mongod", SAYS)
    for name in (second_mongod.VARIABLE, "REALTIME_MONGOD", "PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that they are put back
    monkeypatch.setenv(second_mongod.VARIABLE, str(chosen))
    second_mongod.select(os.environ)
    assert settings.load().mongod == chosen
    assert embedded.find_mongod(settings.load().mongod, tmp_path) == chosen
    assert embedded.find_mongod(None, tmp_path) == chosen


def test_pytest_says_which_mongod_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_MONGOD", str(script(tmp_path / "mongod", SAYS)))
    forced = {replica_set.FORCE: "embedded"}
    assert replica_set.choose(forced).header() == (
        "replica set: embedded (forced by REALTIME_TEST_REPLICA_SET); mongod 9.8.7"
    )
    selected = replica_set.choose({**forced, second_mongod.VARIABLE: "6.0.27"}).header()
    assert selected.endswith("; mongod 9.8.7 (REALTIME_TEST_MONGOD=6.0.27)")


def test_without_the_variable_nothing_is_changed() -> None:
    environment = {"PATH": "/bin"}
    second_mongod.select(environment)
    assert environment == {"PATH": "/bin"}


def test_a_mongod_that_does_not_run_here_is_refused_by_name(tmp_path: Path) -> None:
    deaf = script(tmp_path / "mongod", "#!/bin/sh\necho 'no such library' >&2; exit 127")
    for wanted, reason in (
        (str(tmp_path / "absent" / "mongod"), "is neither 6.0.27 nor a file"),
        (str(deaf), "does not run: no such library"),
        ("6.0", "=6.0 is neither"),
        (str(script(tmp_path / "mongod-5", SAYS)), "must be called mongod"),
    ):
        with pytest.raises(second_mongod.NoMongodError, match=reason):
            second_mongod.select({second_mongod.VARIABLE: wanted})


def test_two_runs_that_fetch_at_once_share_one_whole_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)

    def make(folder: Path) -> None:
        both.wait(timeout=10)
        script(folder / "mongod", SAYS)
        both.wait(timeout=10)

    monkeypatch.setattr(second_mongod, "CACHE", tmp_path)
    monkeypatch.setattr(second_mongod, "_make", make)
    found: list[Path] = []
    runs = [threading.Thread(target=lambda: found.append(second_mongod.fetched())) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=30)
    assert found == [tmp_path / "mongod-6.0.27" / "mongod"] * 2
    assert second_mongod.version_of(found[0]) == "9.8.7"
    assert [one.name for one in tmp_path.iterdir()] == ["mongod-6.0.27"]
    monkeypatch.setattr(second_mongod, "_make", None)  # what is there is not fetched again
    assert second_mongod.fetched() == found[0]
