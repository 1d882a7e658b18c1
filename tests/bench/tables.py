"""The figures of `make bench` as a page: tables with medians, spread and ratios of pairs, and bars as SVG."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import textwrap
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pymongo

from realtime.bench.result import BUSY
from tests.bench import targets
from tests.bench.scenarios import OURS

ESSAY = "designs"
"""The scenario that stands in the essay and not in the tables."""
IN_README = "steady"
COLUMNS = (
    ("cpu_us", "µs of CPU a delivery", 2), ("rate", "deliveries/s", 0),
    ("p50_ms", "p50 ms", 1), ("p99_ms", "p99 ms", 1),
    ("kb_each", "KB a connection", 1), ("connect_ms", "CPU ms to connect", 2),
    ("resume_ms", "CPU ms to come back", 2), ("resume_seconds", "s until all are back", 1),
)  # fmt: skip
WIDTH, BAR, NAME = 860, 24, 190
_COLOURS = {
    "light": ("#ffffff", "#24292f", "#0969da", "#8c959f"),
    "dark": ("#0d1117", "#e6edf3", "#58a6ff", "#6e7681"),
}


def brief(told: dict[str, Any]) -> str:
    """One run, in a line."""
    shown = "  ".join(f"{text} {told[name]:.{places}f}" for name, text, places in COLUMNS if name in told)
    lost = f"  the slow lost {told['slow_lost']}" if told.get("slow_lost") else ""
    void = f"  VOID: {told['void']}" if told["void"] else ""
    return f"{shown}{lost}{void}"


def good(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are not void."""
    return [run for run in runs if not run["void"]]


def cell(runs: list[dict[str, Any]], name: str, places: int) -> str:
    """The median, and least and most where there are several."""
    values = [run[name] for run in good(runs) if name in run]
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.{places}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{places}f} to {max(values):,.{places}f})"


def wrapped(text: str) -> str:
    """Within the columns of a page; an item of a list goes on under its text."""
    indent = "  " if text.startswith("* ") else ""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def page(told: dict[str, Any]) -> str:
    """All of it, one after the other."""
    return "\n".join(text for text in sections(told).values() if text) + "\n"


def sections(told: dict[str, Any]) -> dict[str, str]:
    """What is made of the figures, by the name of its place in the pages."""
    return {
        "machine": "\n".join(_machine(told)),
        "targets": "\n".join(targets.lines(told)),
        "tables": "\n".join(_tables(told)),
        "designs": "\n".join(_table(told, ESSAY)) if ESSAY in told["figures"] else "",
        "peers": "\n".join(_peers(told)),
    }


def _machine(told: dict[str, Any]) -> Iterator[str]:
    counts = [len(runs) for peers in told["figures"].values() for runs in peers.values()]
    least, most = min(counts, default=0), max(counts, default=0)
    number = f"{most}" if least == most else f"{least} to {most}"
    yield wrapped(f"{told['machine']} Made at {told['made']}. Medians of {number} runs, with the least and the most.")


def _tables(told: dict[str, Any]) -> Iterator[str]:
    for name in told["figures"]:
        if name != ESSAY:
            yield from (wrapped(f"**{name}**: {told['scenarios'][name]}"), "", *_table(told, name), "")


def _table(told: dict[str, Any], name: str) -> Iterator[str]:
    peers = told["figures"][name]
    every = [run for runs in peers.values() for run in runs]
    columns = [one for one in COLUMNS if any(one[0] in run for run in every)]
    measure = _measure(peers)
    yield f"| | {' | '.join(text for _, text, _ in columns)} | ours to it, CPU | not exact |"
    yield f"|---|{'---|' * (len(columns) + 2)}"
    for peer, runs in peers.items():
        cells = [cell(runs, key, places) for key, _, places in columns]
        mine = targets.ratio(targets.pairs(peers.get(OURS, []), runs, measure)) if peer != OURS else ""
        yield f"| {peer} | {' | '.join(cells)} | {mine} | {_wrong(runs)} |"


def _measure(peers: dict[str, Any]) -> str:
    """What a scenario is about."""
    return "cpu_us" if any("cpu_us" in run for runs in peers.values() for run in runs) else "connect_ms"


def _peers(told: dict[str, Any]) -> Iterator[str]:
    yield from (wrapped(f"* {name}: {how}.") for name, how in told["how"].items() if name not in told["missing"])
    yield from (wrapped(f"* {name} was left out, for want of {why}.") for name, why in told["missing"].items())


def _wrong(runs: list[dict[str, Any]]) -> str:
    void = [run["void"] for run in runs if run["void"]]
    slow = max((run.get("slow_lost", 0) for run in runs), default=0)
    parts = [f"{len(void)} of {len(runs)} void: {void[0]}"] if void else []
    parts += [f"the slow lost up to {slow:,}"] if slow else []
    busy = max((run.get("client_busy") or 0.0 for run in runs), default=0.0)
    return "; ".join(parts + ([f"the clients were the limit, {busy:.0%} busy"] if busy >= BUSY else []))


def machine(uri: str) -> str:
    """What it was made on, in a sentence."""
    cpu = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        mongod = client.server_info()["version"]
    packages = " ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "motor", "pymongo", "orjson"))
    node = f", Node {_said('node', '--version')}" if shutil.which("node") else ""
    return (
        f"{os.cpu_count()} processors ({cpu[0] if cpu else platform.machine()}), Linux {platform.release()}, Python "
        f"{platform.python_version()}, {packages}{node}, mongod {mongod}."
    )


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


def bars(title: str, figures: list[tuple[str, float]], theme: str, first: str = OURS) -> str:
    """A bar for each, ours in colour; on an axis of powers of ten where they differ by more than a hundred."""
    paper, ink, one, others = _COLOURS[theme]
    most, least = max(value for _, value in figures), max(min(value for _, value in figures), 1e-9)
    far = most / least > 100

    def length(value: float) -> float:
        share = (math.log10(value / least) + 0.3) / (math.log10(most / least) + 0.3) if far else value / most
        return max(share, 0.002) * (WIDTH - NAME - 110)

    height = 46 + BAR * len(figures)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui,sans-serif"'
    parts = [
        f'{head} font-size="13" role="img">',
        f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{height}" fill="{paper}"/>',
        f'<text x="12" y="24" font-size="15" fill="{ink}">{escape(title)}{" (by powers of ten)" if far else ""}</text>',
    ]
    for place, (name, value) in enumerate(figures):
        top, long = 40 + BAR * place, length(value)
        colour = one if name.startswith(first) else others
        parts.append(f'<text x="{NAME - 8}" y="{top + 15}" text-anchor="end" fill="{ink}">{escape(name)}</text>')
        parts.append(f'<rect x="{NAME}" y="{top + 3}" width="{long:.1f}" height="{BAR - 7}" fill="{colour}"/>')
        parts.append(f'<text x="{NAME + long + 6:.1f}" y="{top + 15}" fill="{ink}">{value:,.2f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def pictures(told: dict[str, Any]) -> dict[str, str]:
    """By file name: of each scenario its CPU, light and dark."""
    found: dict[str, str] = {}
    for name, peers in told["figures"].items():
        measure = _measure(peers)
        text = {key: text for key, text, _ in COLUMNS}[measure]
        medians = [
            (peer, statistics.median(run[measure] for run in good(runs))) for peer, runs in peers.items() if good(runs)
        ]
        if len(medians) > 1:
            title = f"{name}: {text}. {told['scenarios'][name].replace('`', '')}"
            file = f"bench-{name.replace(' ', '-')}"
            found |= {f"{file}-{theme}.svg": bars(title, medians, theme) for theme in _COLOURS}
    return found


def picture(name: str, folder: str) -> str:
    """In the reader's colours."""
    file = f"{folder}/bench-{name.replace(' ', '-')}"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{file}-dark.svg">'
        f'<img alt="Bars: {name}" src="{file}-light.svg"></picture>'
    )


def readme(told: dict[str, Any]) -> str:
    """One line and one picture; empty where there was nobody to be compared with."""
    peers = told["figures"].get(IN_README, {})
    shown = {name: statistics.median(run["cpu_us"] for run in good(runs)) for name, runs in peers.items() if good(runs)}
    others = [f"{shown[name]:.1f} {text}" for name, text in _NAMED if name in shown]
    if OURS not in shown or not others:
        return ""
    line = (
        f"On one machine, with one client, a delivery to one of 500 connections takes {shown[OURS]:.1f} µs of a "
        f"processor, {', '.join(others)} ([docs/performance.md](docs/performance.md#beside-others))."
    )
    return f"{wrapped(line)}\n\n{picture(IN_README, 'docs/img')}"


_NAMED = (("node ws", "with Node's `ws`"), ("centrifugo", "with Centrifugo"), ("fastapi", "with FastAPI"))


def marks(name: str) -> tuple[str, str]:
    """Between which a page has what is made."""
    return f"<!-- bench: {name} -->", f"<!-- end of bench: {name} -->"


def write(told: dict[str, Any], root: Path) -> None:
    """Everything into its place in docs/performance.md and README.md, pictures into docs/img."""
    drawn = pictures(told)
    folder = root / "docs" / "img"
    folder.mkdir(exist_ok=True)
    for file, text in drawn.items():
        (folder / file).write_text(text)
    made = sections(told)
    shown = {
        name: picture(name, "img") for name in told["figures"] if f"bench-{name.replace(' ', '-')}-light.svg" in drawn
    }
    made["pictures"] = "\n".join(shown[name] for name in shown if name != ESSAY)
    if ESSAY in shown:
        made["designs"] += f"\n\n{shown[ESSAY]}"
    page = root / "docs" / "performance.md"
    page.write_text(filled(page.read_text(), made))
    first = root / "README.md"
    first.write_text(filled(first.read_text(), {"readme": readme(told)}))


def filled(text: str, made: dict[str, str]) -> str:
    """A page with what was made between its marks. `ValueError` where a mark is missing."""
    for name, content in made.items():
        begin, end = marks(name)
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the page has no {begin}")
        if content:
            text = f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"
    return text
