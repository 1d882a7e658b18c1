"""What a run came to, as values; and what limited it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from realtime.bench.latencies import Latencies
from realtime.bench.plan import Plan

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
BUSY, OFTEN = 0.85, 0.25
"""A generator that had so little time left, in so many of the seconds in which anything came, was the limit."""
REACHED = 0.95
"""Of the rate that was asked for; below it the writer was held up."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of a run. `cpu` is processors of the server, `memory` its bytes, None where they are not known."""

    at: float
    written: int
    deliveries: int
    p50: int | None
    p99: int | None
    cpu: float | None
    memory: int | None
    busy: float


@dataclass(frozen=True, slots=True)
class Server:
    """The server's processes, where they are on this machine: seconds of processors, bytes."""

    names: dict[int, str]
    cpu_seconds: float
    connect_seconds: float
    idle_memory: int
    connected_memory: int
    memory: int


@dataclass(slots=True)
class Result:
    """Seconds; `latencies` are microseconds from just before a write to when its change was parsed."""

    plan: Plan
    direct: bool
    processes: int
    connect_seconds: float
    retries: int
    written: int
    write_seconds: float
    seconds: float
    deliveries: int
    lost: int
    repeated: int
    wrong_views: int
    resyncs: int
    errors: dict[str, int]
    latencies: Latencies
    moments: list[Moment]
    server: Server | None
    writer_busy: float
    limited_by: str | None
    left: str | None = None
    busy: list[float] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether everybody was told exactly what is right."""
        return not (self.lost or self.repeated or self.wrong_views or self.errors)

    @property
    def expected(self) -> int:
        """Deliveries of filters and events that are right."""
        return self.plan.deliveries(self.written)

    @property
    def write_rate(self) -> float:
        """Documents a second, as it was reached."""
        return self.written / max(self.write_seconds, self.written / self.plan.rate)

    def percentiles(self) -> dict[str, int | None]:
        """Microseconds."""
        return {name: self.latencies.percentile(share) for name, share in PERCENTILES.items()}

    def limits(self) -> list[str]:
        """What held the run up, beside the service: figures are of that then, and not of the service."""
        found = []
        often = sum(share >= BUSY for share in self.busy)
        if self.busy and often >= OFTEN * len(self.busy):
            found.append(
                f"the load generator was the limit: {often} of {len(self.busy)} seconds of its processes had no time "
                "left. Latencies are its own: give more --processes, on a machine of their own, or less load"
            )
        if self.write_rate < REACHED * self.plan.rate:
            why = "MongoDB took no more" if self.direct else "the service took no more writes"
            if self.writer_busy >= BUSY:
                why = "the load generator's writer had no time left: give a larger --batch"
            elif self.limited_by is not None:
                why = f"the service's limit {self.limited_by} held them: raise it, or write with --direct"
            found.append(f"writes: {self.write_rate:,.0f}/s of {self.plan.rate:,.0f}/s: {why}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Every figure, in microseconds, seconds and bytes."""
        server = None
        if self.server is not None:
            server = {
                "processes": {str(pid): name for pid, name in self.server.names.items()},
                "cpu_seconds": round(self.server.cpu_seconds, 3),
                "cpu_us_per_delivery": round(self.server.cpu_seconds / self.deliveries * 1e6, 3)
                if self.deliveries
                else None,
                "connect_cpu_seconds": round(self.server.connect_seconds, 3),
                "memory": self.server.memory,
                "memory_per_connection": round(
                    (self.server.connected_memory - self.server.idle_memory) / self.plan.connections
                ),
            }
        return {
            "plan": {name: value for name, value in self.plan.as_json().items() if name != "fields"},
            "writes": {
                "documents": self.written,
                "seconds": round(self.write_seconds, 3),
                "rate": round(self.write_rate, 1),
                "direct": self.direct,
            },
            "connect": {"seconds": round(self.connect_seconds, 3), "retries": self.retries},
            "deliveries": {
                "count": self.deliveries,
                "expected": self.expected,
                "rate": round(self.deliveries / self.seconds, 1) if self.seconds else 0.0,
                "lost": self.lost,
                "repeated": self.repeated,
                "wrong_views": self.wrong_views,
                "resyncs": self.resyncs,
                "exact": self.exact,
            },
            "latency_us": self.percentiles(),
            "server": server,
            "generator": {
                "processes": self.processes,
                "busiest": round(max(self.busy, default=0.0), 3),
                "was_the_limit": any("load generator" in text for text in self.limits()),
            },
            "limits": self.limits(),
            "errors": self.errors,
            "left": self.left,
            "seconds": [
                {
                    "at": round(one.at, 1),
                    "written": one.written,
                    "deliveries": one.deliveries,
                    "p50": one.p50,
                    "p99": one.p99,
                    "cpu": one.cpu,
                    "memory": one.memory,
                    "busy": one.busy,
                }
                for one in self.moments
            ],
        }
