"""What every finding prints, and how it fails: `finding(about, expected=…, noted=…, seen=…)`."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Any


def finding(about: str, *, expected: str, noted: Any, seen: Any, packages: tuple[str, ...] = ("pymongo",)) -> None:
    """Four lines. Ends the process with 1 where what is seen is no longer what was noted."""
    versions = [os.environ[name] for name in ("MONGOD",) if name in os.environ]
    versions += [f"{package} {version(package)}" for package in packages]
    same = seen == noted
    lines = [about, f"  with      {', '.join(versions)}", f"  expected  {expected}", f"  seen      {seen!r}"]
    if not same:
        lines.append(f"  CHANGED   noted was {noted!r}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    if not same:
        sys.exit(1)
