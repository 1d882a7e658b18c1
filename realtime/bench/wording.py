"""A run in words and numbers for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from realtime.bench.plan import KINDS, Plan
from realtime.bench.result import Moment, Result

_ONE = {
    "filters": "live query",
    "windows": "window",
    "groups": "group",
    "pipelines": "pipeline",
    "events": "events subscription",
}
_MANY = {
    "filters": "live queries",
    "windows": "windows",
    "groups": "groups",
    "pipelines": "pipelines",
    "events": "events subscriptions",
}


def planned(plan: Plan) -> str:
    """The first line."""
    kinds = ", ".join(
        f"{count:,} distinct {_MANY[kind] if count > 1 else _ONE[kind]}" if count > 1 else f"one {_ONE[kind]}"
        for kind in KINDS
        if (count := plan.queries.get(kind, 0))
    )
    each = f" with {plan.subscriptions} subscriptions each" if plan.subscriptions > 1 else ""
    batch = f", {plan.batch} at a time" if plan.batch > 1 else ""
    return (
        f"{plan.connections:,} connections{each}, {kinds}; {plan.rate:,g} documents/s of {plan.payload} bytes{batch} "
        f"for {plan.seconds:g} s, into {plan.collection}"
    )


def progress(moment: Moment, plan: Plan) -> str:
    """One line a second."""
    parts = [
        f"{moment.at:4.0f} s  {moment.written:,} of {plan.total:,} written",
        f"{moment.deliveries:,} deliveries/s",
        f"p50 {shown(moment.p50)}  p99 {shown(moment.p99)}",
    ]
    if moment.cpu is not None and moment.memory is not None:
        parts.append(f"server {moment.cpu * 100:.0f} % of a processor, {_megabytes(moment.memory)}")
    return "  ".join([*parts, f"generator {moment.busy * 100:.0f} %"])


def lines(result: Result) -> Iterator[str]:
    """What came of it."""
    plan = result.plan
    how = "straight to MongoDB" if result.direct else "through the service"
    yield f"writes       {result.written:,} documents {how}, {result.write_rate:,.0f}/s of {plan.rate:,g}/s"
    rate = result.deliveries / max(result.seconds, 1e-9)
    yield f"deliveries   {result.deliveries:,} ({rate:,.0f}/s); {_exact(result)}"
    if result.deliveries:
        found = "  ".join(f"{name} {shown(value)}" for name, value in result.percentiles().items())
        yield f"latency      from write to delivery: {found}"
    if result.server is None:
        yield "server       elsewhere, in a container, or not to be looked at: processor and memory are not known"
    else:
        yield from _server(result)
    busiest = f"{max(result.busy, default=0.0) * 100:.0f} %"
    yield f"generator    {_count(result.processes, 'process', 'processes')}, at most {busiest} of a second busy"
    yield f"connecting   {result.connect_seconds:.1f} s" + (f", {result.retries} tries again" if result.retries else "")
    for text, count in result.errors.items():
        yield f"error        {count} times: {text}"
    for text in result.limits():
        yield f"limit        {text}"
    if result.left is not None:
        yield f"left         {result.left}"


def _exact(result: Result) -> str:
    if result.exact:
        return "exactly what was expected" + (f", after {result.resyncs} resyncs" if result.resyncs else "")
    parts = [f"of {result.expected:,} expected {result.lost:,} lost and {result.repeated:,} repeated"]
    if result.wrong_views:
        parts.append(f"{result.wrong_views:,} views wrong at the end")
    return f"NOT what was expected: {', '.join(parts)}"


def _server(result: Result) -> Iterator[str]:
    server = result.server
    assert server is not None
    named = ", ".join(f"{name} {pid}" for pid, name in server.names.items())
    each = f", {server.cpu_seconds / result.deliveries * 1e6:.2f} µs a delivery" if result.deliveries else ""
    share = server.cpu_seconds / max(result.seconds, 1e-9) * 100
    yield f"server       {named}: {share:.0f} % of a processor{each}"
    grown = (server.connected_memory - server.idle_memory) / result.plan.connections / 1024
    yield f"memory       {_megabytes(server.memory)}; {grown:.1f} KB for each connection when all were live"


def shown(microseconds: int | None) -> str:
    """A latency."""
    if microseconds is None:
        return "-"
    return f"{microseconds / 1000:,.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:,.2f} s"


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MB"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
