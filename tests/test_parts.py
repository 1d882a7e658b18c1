"""`make test` in its two parts: each test in one of them, both run, and one exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts

TOGETHER, ALONE = "def test_beside() -> None:\n    assert {}\n", "def test_by_itself() -> None:\n    assert {}\n"
AGAIN = pytest.mark.long("starts pytest twice more")
MARK = 'import pytest\n\n\n@pytest.mark.alone("counts")\n'


def ran(
    file: Path, *arguments: str, together: object = True, alone: object = True, again: int = 0
) -> subprocess.CompletedProcess[str]:
    """Both parts over a file of two tests that pass or fail as it says."""
    file.write_text(f"{MARK}{ALONE.format(alone)}\n\n{TOGETHER.format(together)}")
    # A file of another directory does not load our conftest by itself.
    given = ["-p", "tests.conftest", "-p", "no:cacheprovider", f"--rootdir={file.parent}", "-v", str(file)]
    return subprocess.run(
        [sys.executable, "-m", "tests.parts", *given, *arguments],
        cwd=parts.ROOT,
        env={**os.environ, parts.WORKERS_VARIABLE: "1", parts.AGAIN_VARIABLE: str(again)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("together", "alone", "code", "last"),
    [
        (True, True, 0, "together: passed; alone: passed"),
        pytest.param(False, True, 1, "together: FAILED (pytest 1); alone: passed", marks=AGAIN),
        pytest.param(True, False, 1, "together: passed; alone: FAILED (pytest 1)", marks=AGAIN),
        pytest.param(False, False, 1, "together: FAILED (pytest 1); alone: FAILED (pytest 1)", marks=AGAIN),
    ],
)
def test_both_parts_run_whatever_came_of_the_first(
    tmp_path: Path, *, together: bool, alone: bool, code: int, last: str
) -> None:
    ended = ran(tmp_path / "test_two.py", together=together, alone=alone)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (code, last), ended.stdout + ended.stderr
    said = {name: "PASSED" if passed else "FAILED" for name, passed in (("beside", together), ("by_itself", alone))}
    for name, outcome in said.items():
        assert re.search(rf"{outcome}.*::test_{name}\b|::test_{name} {outcome}", ended.stdout), ended.stdout


@pytest.mark.parametrize(
    ("selection", "code", "last"),
    [
        pytest.param("beside", 0, "together: passed; alone: nothing selected", marks=AGAIN),
        pytest.param("by_itself", 0, "together: nothing selected; alone: passed", marks=AGAIN),
        ("nobody", 5, "together: nothing selected; alone: nothing selected"),
    ],
)
def test_a_selection_may_leave_a_part_empty_but_not_both(tmp_path: Path, selection: str, code: int, last: str) -> None:
    ended = ran(tmp_path / "test_two.py", "-k", selection)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (code, last), ended.stdout + ended.stderr


def test_a_wrong_call_is_told_once(tmp_path: Path) -> None:
    ended = ran(tmp_path / "test_two.py", "--no-such-option")
    assert ended.returncode == 4
    assert ended.stdout.splitlines()[-1] == "together: FAILED (pytest 4); alone: not run"


SEEN = "__import__('pathlib').Path(__file__).with_suffix('.seen')"
SECOND_TRY = f"{SEEN}.exists() or {SEEN}.touch()"
"""What is not so the first time that it is asked, and is from then on."""


@AGAIN
@pytest.mark.parametrize(
    ("together", "again", "code", "last"),
    [
        (SECOND_TRY, 0, 1, "together: FAILED (pytest 1); alone: passed"),
        (SECOND_TRY, 1, 0, "together: passed; alone: passed"),
        (False, 1, 1, "together: FAILED (pytest 1); alone: passed"),
    ],
)
def test_who_was_late_runs_again_where_that_is_allowed_and_is_named(
    tmp_path: Path, together: object, again: int, code: int, last: str
) -> None:
    ended = ran(tmp_path / "test_two.py", together=together, again=again)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (code, last), ended.stdout + ended.stderr
    named = [line for line in ended.stdout.splitlines() if line.startswith("passed only when run again")]
    assert [line.rpartition("::")[2] for line in named] == ["test_beside"][: int(code == 0)], ended.stdout


@AGAIN
def test_more_than_are_allowed_are_no_accident(tmp_path: Path) -> None:
    ended = ran(
        tmp_path / "test_two.py", together=f"{SECOND_TRY}\n\n\ndef test_too() -> None:\n    assert False", again=1
    )
    assert (ended.returncode, "run again" in ended.stdout) == (1, False), ended.stdout + ended.stderr


def test_the_second_report_is_a_file_of_its_own() -> None:
    given = ["--junitxml=/tmp/here.xml", "-k", "x"]
    assert "--junitxml=/tmp/here.xml" in parts.command("together", given, "/tmp/b")
    assert "--junitxml=/tmp/here.alone.xml" in parts.command("alone", given, "/tmp/b")


def test_what_is_compiled_is_kept_beside_the_environment_whatever_the_caller_wants() -> None:
    mine = parts.environment({"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/home"})
    assert mine == {"HOME": "/home", "PYTHONPYCACHEPREFIX": f"{sys.prefix}/pycache"}
    assert parts.environment({"PYTHONPYCACHEPREFIX": "/there"}) == {"PYTHONPYCACHEPREFIX": "/there"}


def test_every_file_that_is_named_is_there() -> None:
    named = [*parts.FIRST, *parts.EACH]
    assert len(named) > 5
    assert [name for name in named if not (parts.ROOT / name).is_file()] == []


def test_tests_that_go_to_whoever_is_free_share_no_fixture_of_their_module() -> None:
    """It would be made once for each of the workers."""
    assert parts.EACH
    for name in parts.EACH:
        assert 'scope="module"' not in (parts.ROOT / name).read_text(), name


@AGAIN
def test_what_is_long_and_measures_runs_after_what_is_long(tmp_path: Path) -> None:
    file = tmp_path / "test_two.py"
    given = ["-p", "tests.conftest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-v", str(file)]
    long = '@pytest.mark.long("much")\n'
    file.write_text(
        f"{MARK}{long}{ALONE.format(True)}\n\n{long}{TOGETHER.format(True)}\n\ndef test_short() -> None:\n    assert 0"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "tests.parts", "--only", "long", *given],
        cwd=parts.ROOT,
        env={**os.environ, parts.WORKERS_VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "long: passed; long alone: passed"
    ran_in_order = re.findall(r"(?:PASSED.*::test_(\w+)|::test_(\w+) PASSED)", ended.stdout)
    assert ["".join(one) for one in ran_in_order] == ["beside", "by_itself"]
