"""`findings/`: every script has the form that its README promises. What they show is looked at by `make findings`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

FINDINGS = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))


def test_every_finding_is_a_script_with_a_row_in_the_readme() -> None:
    linked = re.findall(r"^\| \[([a-z0-9-]+)\]\(\1\.sh\) \|", (FINDINGS / "README.md").read_text(), re.MULTILINE)
    assert linked == [script.stem for script in SCRIPTS]
    assert len(linked) >= 10
    for script in SCRIPTS:
        assert os.access(script, os.X_OK), script
        subprocess.run(["bash", "-n", script], check=True)


def test_every_finding_pins_its_packages_and_runs_without_our_code() -> None:
    for script in SCRIPTS:
        text = script.read_text()
        (asked,) = re.findall(r"^python_with (.+)$", text, re.MULTILINE)
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", package) for package in asked.split()), script
        assert "finding(" in text, script
        assert not re.search(r"\brealtime\b", text), script
