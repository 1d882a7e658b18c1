"""What tests fetch once a machine: kept in the user's cache, fetched by one process while the others wait."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "realtime-tests"


def kept(name: str, make: Callable[[Path], None], cache: Path = CACHE) -> Path:
    """The file or folder of that name; where it is not there yet, `make` writes it to the path that it is given."""
    path = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            # Beside it and then renamed: a run that is interrupted leaves no half of it.
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                making = Path(folder) / "making"
                make(making)
                making.rename(path)
    return path
