"""Where a random test's chance comes from: one number, that repeats the run.

A person's run takes a new one each time, and finds what the last one did not. CI takes one that the source makes: new
with every change of `realtime/`, and the same for everybody who runs that change, so that what was green here is not
judged by other inputs there. REALTIME_TEST_SEED goes before both.

How much chance a test takes is another number: a person's run of `tests/core` draws a part of the cases, `make
cover-core` (REALTIME_TEST_WHOLE=1), which CI runs, all of them.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "realtime"


def fresh_seed(environment: Mapping[str, str] = os.environ) -> int:
    """0 to 2**32 - 1; every failure of a random test names it."""
    if given := environment.get("REALTIME_TEST_SEED"):
        return int(given)
    return _of_the_source() if environment.get("CI") else random.SystemRandom().randrange(2**32)


def share(whole: int, environment: Mapping[str, str] = os.environ) -> int:
    """How many cases a random test draws: all of them where the whole is asked for, a fifth in a person's run."""
    return whole if environment.get("REALTIME_TEST_WHOLE") else -(-whole // 5)


@cache
def _of_the_source() -> int:
    seen = hashlib.blake2b(digest_size=4)
    for path in sorted(SOURCE.rglob("*.py")):
        seen.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes())
    return int.from_bytes(seen.digest())
