"""What `docker/Dockerfile` asks pip for, without an engine: `test_docker.py` builds the image where there is one."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long("asks the package index for every dependency")
def test_what_the_image_installs_can_be_had_as_it_asks_for_it(tmp_path: Path) -> None:
    """There is no compiler in there, so pip is told what may come as source; nothing is installed here."""
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    [given] = re.findall(r"pip [^\n]+ install --no-cache-dir \\\n\s+(.+) -r /tmp/requirements.txt", dockerfile)
    assert "--only-binary :all:" in given
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(wanted) >= 10
    asked = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", *given.split()]
    done = subprocess.run([*asked, *wanted], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
