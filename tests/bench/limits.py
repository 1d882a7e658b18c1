"""What a limit costs each time it is asked: `python -m tests.bench.limits`. Processor time, median of rounds."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from realtime.core.access.limits import Limiter
from tests.core.access.test_limits import ALLOWED

CALLS, ROUNDS = 20_000, 7


def kinds() -> dict[str, Callable[[float], object]]:
    """What is asked at each frame, request, write and connection; most of it is let through here."""
    limiter = Limiter(ALLOWED)
    frames, empty = limiter.frames(), limiter.frames()
    while not empty.take(0.0):
        pass

    def in_flight(_now: float) -> object:
        over = limiter.hold("a", 10)
        limiter.release("a", 10)
        return over

    def connection(now: float) -> object:
        over = limiter.connect("192.0.2.1", now)
        if over is None:
            limiter.disconnected("192.0.2.1")
        return over

    return {
        "a frame": frames.take,
        "a frame that is refused": lambda _now: empty.take(0.0),
        "a request": lambda now: limiter.request(("ann",), now),
        "a write": lambda now: limiter.write(("ann",), now),
        "bytes in flight": in_flight,
        "a connection": connection,
    }


def cost(ask: Callable[[float], object], step: float) -> float:
    """Microseconds of processor time for one; the clock goes on by `step` seconds each time."""
    rounds = []
    now = 0.0
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            now += step
            ask(now)
        rounds.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(rounds)


if __name__ == "__main__":
    for name, ask in kinds().items():
        sys.stdout.write(f"{name:28} {cost(ask, 2.0):6.2f} µs\n")
