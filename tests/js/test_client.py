"""The browser client in Node, as npm would install it, against a service whose every frame the test decides."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEAST = {
    "ejson.test.mjs": 26,
    "events.test.mjs": 16,
    "link.test.mjs": 34,
    "names.test.mjs": 20,
    "optimistic.test.mjs": 15,
    "query.test.mjs": 25,
    "react.test.mjs": 10,
    "reading.test.mjs": 19,
    "reads.test.mjs": 11,
    "token.test.mjs": 18,
    "view.test.mjs": 32,
    "writes.test.mjs": 19,
}
"""How many tests each file has at least: a file that lost its tests has not passed."""


def test_every_test_file_is_run() -> None:
    assert sorted(file.name for file in HERE.glob("*.test.mjs")) == sorted(LEAST)


@pytest.mark.parametrize("name", LEAST)
def test_the_client_does_as_its_tests_say(workshop: Path, name: str) -> None:
    ended = subprocess.run(
        ["node", "--expose-gc", "--test", "--test-reporter=tap", name],
        cwd=workshop,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    passed = re.search(r"^# pass (\d+)", ended.stdout, re.MULTILINE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert passed is not None
    assert int(passed[1]) >= LEAST[name]
