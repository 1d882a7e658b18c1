"""The page's own folding of frames into a view, tested where it needs no browser: in Node."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

LEAST = 30


def test_the_view_folds_frames_as_the_protocol_says() -> None:
    ended = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(Path(__file__).parent / "view.test.mjs")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    passed = re.search(r"^# pass (\d+)", ended.stdout, re.MULTILINE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert passed is not None
    assert int(passed[1]) >= LEAST
