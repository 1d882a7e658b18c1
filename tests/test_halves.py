"""`make test-core` by plain pytests side by side: every file in one of them, and what one says is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import halves
from tests.parts import ROOT


def test_every_pure_test_file_is_in_one_hand() -> None:
    found = halves.files(ROOT / halves.PURE)
    shares = halves.dealt(found, 3)
    assert len(found) > 80
    assert sorted(file for share in shares for file in share) == sorted(found)
    taken = [sum(halves._seconds(file) for file in share) for share in shares]
    assert max(taken) - min(taken) < 0.1 * max(taken)


def test_every_slow_file_is_there() -> None:
    assert halves.SLOW
    assert set(halves.SLOW) <= set(halves.files(ROOT / halves.PURE))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tests/core/bson/test_keys.py", "tests/core/wire/test_cursor.py", "-k", "sort or keys"], 0, 2),
        (["tests/core/bson/test_keys.py", "tests/core/wire/test_cursor.py", "-k", "no_such_name"], 5, 2),
        (["tests/core/bson/test_keys.py", "tests/core/wire/test_cursor.py", "--no-such-option"], 4, 2),
        (["tests/core/bson/test_keys.py", "--collect-only"], 0, 1),
        (["tests/core/no_such_file.py"], 4, 2),
        (["tests/core/bson/test_keys.py::test_no_such_test"], 4, 1),
    ],
)
def test_what_each_pytest_says_is_said_and_the_worst_code_is_ours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, said: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert halves.main(arguments) == code
    out = "".join(capfd.readouterr())
    assert out.count(" in ") + out.count("usage: ") + out.count("unrecognized") >= said, out


def test_a_failure_of_either_fails_all(tmp_path: Path) -> None:
    well, ill = tmp_path / "test_well.py", tmp_path / "test_ill.py"
    well.write_text("def test_it() -> None: pass\n")
    ill.write_text("def test_it() -> None: assert False\n")
    plain = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        f"--rootdir={tmp_path}",
    ]
    codes = halves._ran([[*plain, str(well)], [*plain, str(ill)]])
    assert (codes, subprocess.run([*plain, str(tmp_path)], check=False, capture_output=True).returncode) == ([0, 1], 1)
