"""What was promised of the figures, beside what was measured. Ratios are of one round each, and their median counts."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from tests.bench.scenarios import OURS, RULED

Runs = list[dict[str, Any]]
PEERS: tuple[tuple[str, str, str, str, float], ...] = (
    ("steady", "cpu_us", "node ws", "CPU a delivery beside Node's `ws`", 0.6),
    ("steady", "cpu_us", "fastapi", "CPU a delivery beside FastAPI", 0.25),
    ("burst", "cpu_us", "node ws", "CPU a delivery beside Node's `ws`", 0.05),
    ("wide", "cpu_us", "node ws", "CPU a delivery beside Node's `ws`", 0.65),
    ("connect", "kb_each", "centrifugo", "memory of an idle connection beside Centrifugo", 1.0),
)
FEW, MANY, MORE = "few filters", "many filters", 1.5
WITH_RULES = 1.3
BY_RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("cpu_us", "CPU a delivery", ("steady", "burst", "wide", "widest", "isolated", "latency", "filters", "slow")),
    ("p50_ms", "p50", ("isolated", "latency")),
    ("p99_ms", "p99", ("isolated", "latency")),
    ("kb_each", "memory of a connection", ("connect", "wide", "widest")),
    ("connect_ms", "CPU to connect", ("connect", "wide", "widest")),
    ("resume_ms", "CPU to come back", ("resume",)),
)
"""With rules and tokens against without: where a figure is the service's own, and not of a client at its limit."""


def pairs(ours: Runs, theirs: Runs, name: str) -> list[float]:
    """Ours to theirs, of each round in which neither was void."""
    other = {run["round"]: run for run in theirs if not run["void"]}
    both = [(run, other[run["round"]]) for run in ours if not run["void"] and run["round"] in other]
    return [one[name] / two[name] for one, two in both if name in one and two.get(name)]


def ratio(each: list[float]) -> str:
    """The median, and least and most where there are several."""
    if not each:
        return "-"
    middle = f"{statistics.median(each):.2f}"
    return middle if len(each) == 1 else f"{middle} ({min(each):.2f} to {max(each):.2f})"


def lines(told: dict[str, Any]) -> Iterator[str]:
    """A table, of what there are runs for."""
    figures = told["figures"]

    def of(scenario: str, peer: str) -> Runs:
        found: Runs = figures.get(scenario, {}).get(peer, [])
        return found

    yield "| promised | at most | measured | |"
    yield "|---|---|---|---|"
    for scenario, name, peer, text, bound in PEERS:
        yield _row(f"{scenario}: {text}", bound, pairs(of(scenario, OURS), of(scenario, peer), name))
    yield _row(
        "100,000 different filters beside 1,000: CPU an event", MORE, pairs(of(MANY, OURS), of(FEW, OURS), "cpu_us")
    )
    for name, text, scenarios in BY_RULES:
        each = {one: pairs(of(one, RULED), of(one, OURS), name) for one in scenarios}
        worst = max((one for one in each if each[one]), key=lambda one: statistics.median(each[one]), default=None)
        where = f", most in {worst}" if worst and len(scenarios) > 1 else ""
        yield _row(f"rules and tokens beside none: {text}{where}", WITH_RULES, each[worst] if worst else [])


def _row(text: str, bound: float, each: list[float]) -> str:
    held = "not measured" if not each else "held" if statistics.median(each) <= bound else "**missed**"
    return f"| {text} | {bound:g} × | {ratio(each)} | {held} |"
