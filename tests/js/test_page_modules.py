"""The page's own rules in Node: values for people, edits as updates, numbers by group."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.js.conftest import CLIENT, HERE, run

LEAST = 15


def test_the_page_keeps_its_rules(tmp_path: Path) -> None:
    shutil.copytree(CLIENT.parent, tmp_path / "page")
    (tmp_path / "page" / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "page_rules.mjs", tmp_path)
    told = run(["node", "--test", "--test-reporter=tap", "page_rules.mjs"], tmp_path)
    passed = re.search(r"^# pass (\d+)", told, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= LEAST
