"""Runs in their order, kept as they come: what is interrupted keeps what it has, and several can be put together.

    {"made", "machine", "scenarios": {name: text}, "how": {peer: text}, "missing": {peer: why},
     "figures": {scenario: {peer: [run, …]}}}

A run has its `round` (ratios are of one round), `seconds`, `void` (why it does not count, or None) and its figures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench import tables
from tests.bench.scenarios import DESIGNS, Scenario
from tests.bench.standing import MissingError, Peer

Measure = Callable[[Peer, Scenario], dict[str, Any]]
MOST_FAILURES = 2
"""Of a peer in a scenario that broke off, after which it is not asked again there: it would take as long each time."""
FAILED = "failed: "


def unfit(peer: Peer, scenario: Scenario) -> bool:
    """Whether a scenario is none for it: it has no filters, cannot be that wide, or it is for others."""
    if scenario.only:
        return peer.name not in scenario.only
    if peer.name in (*DESIGNS, *scenario.without) or (scenario.filters and not peer.filters):
        return True
    return scenario.connections > peer.most


class Rounds:
    """All runs of some peers and scenarios, round by round; `told` is what there is so far."""

    def __init__(self, measure: Measure, peers: Sequence[Peer], scenarios: Sequence[Scenario], kept: Path) -> None:
        self._measure, self._peers, self._scenarios, self._kept = measure, peers, scenarios, kept
        self.told: dict[str, Any] = {
            "made": time.strftime("%Y-%m-%d %H:%M"),
            "scenarios": {one.name: one.text for one in scenarios},
            "how": {one.name: one.how for one in peers},
            "missing": {},
            "figures": {},
        }

    def run(self, rounds: int, minutes: float) -> None:
        """Everything, as long as the time allows: a run that would go beyond it is not begun."""
        began = time.monotonic()
        plan = [(number, *one) for number in range(rounds) for one in self._round(number)]
        for place, (number, peer, scenario) in enumerate(plan):
            if not self._wanted(peer, scenario):
                continue
            left = sum(self._guess(who, what) for _, who, what in plan[place:] if self._wanted(who, what))
            allowed = minutes * 60 - (time.monotonic() - began)
            if self._guess(peer, scenario) > allowed:
                say(f"{place + 1}/{len(plan)}: {scenario.name}, {peer.name} is not run, it would end too late")
                continue
            say(
                f"{place + 1}/{len(plan)}, {min(left, max(allowed, 0)) / 60:.0f} min left: {scenario.name}, {peer.name}"
            )
            self._one(number, peer, scenario)

    def _round(self, number: int) -> Iterator[tuple[Peer, Scenario]]:
        """Forwards and backwards in turn: what the machine does meanwhile meets all alike."""
        for scenario in self._scenarios:
            for peer in self._peers if number % 2 == 0 else reversed(self._peers):
                if not unfit(peer, scenario):
                    yield peer, scenario

    def _runs(self, peer: Peer, scenario: Scenario) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.told["figures"].get(scenario.name, {}).get(peer.name, [])
        return found

    def _wanted(self, peer: Peer, scenario: Scenario) -> bool:
        broken = sum((run["void"] or "").startswith(FAILED) for run in self._runs(peer, scenario))
        return peer.name not in self.told["missing"] and broken < MOST_FAILURES

    def _guess(self, peer: Peer, scenario: Scenario) -> float:
        """Seconds of a run: as it was before, else as others were, else as one would think."""
        if runs := self._runs(peer, scenario):
            return float(max(run["seconds"] for run in runs))
        others = [run["seconds"] for runs in self.told["figures"].get(scenario.name, {}).values() for run in runs]
        return sum(others) / len(others) if others else scenario.seconds()

    def _one(self, number: int, peer: Peer, scenario: Scenario) -> None:
        began = time.monotonic()
        try:
            found = self._measure(peer, scenario)
        except MissingError as error:
            self.told["missing"][peer.name] = str(error)
            say(f"{peer.name}: left out, for want of {error}")
            return
        except Exception as error:  # noqa: BLE001 - whatever a peer breaks off with, the others go on and it is named
            found = {"void": f"{FAILED}{' '.join(str(error).split())[:200] or type(error).__name__}"}
        found |= {"round": number, "seconds": round(time.monotonic() - began, 1)}
        self.told["figures"].setdefault(scenario.name, {}).setdefault(peer.name, []).append(found)
        say(f"    {found['seconds']:.0f} s  {tables.brief(found)}")
        save(self.told, self._kept)


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")


def save(told: dict[str, Any], path: Path) -> None:
    """Whole or not at all: it may be ended amid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(told, indent=1))
    fresh.replace(path)


def together(some: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Several sets of runs as one; rounds stay apart, and so do their ratios. `ValueError`: they are not alike."""
    all_of = list(some)
    first, following = all_of[0], 0
    made: dict[str, Any] = {**first, "missing": dict(first["missing"]), "figures": {}, "scenarios": {}, "how": {}}
    for told in all_of:
        for name, text in told["scenarios"].items():
            if made["scenarios"].setdefault(name, text) != text:
                raise ValueError(f"{name} was of another size: {text!r} and {made['scenarios'][name]!r}")
        if told.get("machine") != first.get("machine"):
            raise ValueError(f"other machines: {told.get('machine')!r} and {first.get('machine')!r}")
        made["how"] |= told["how"]
        made["missing"] |= told["missing"]
        rounds = [run["round"] for peers in told["figures"].values() for runs in peers.values() for run in runs]
        for scenario, peers in told["figures"].items():
            for peer, runs in peers.items():
                into = made["figures"].setdefault(scenario, {}).setdefault(peer, [])
                into += [{**run, "round": run["round"] + following} for run in runs]
        following += max(rounds, default=-1) + 1
    measured = {peer for peers in made["figures"].values() for peer in peers}
    made["missing"] = {peer: why for peer, why in made["missing"].items() if peer not in measured}
    return made
