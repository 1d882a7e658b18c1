"""The figures of `make bench` as a page: tables with medians, spread and ratios of pairs, and bars as SVG."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pymongo

from realtime.bench.result import BUSY
from tests.bench.standing import OURS

BEGIN, END = "<!-- figures of make bench -->", "<!-- end of figures -->"
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


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], name: str) -> str:
    """Of ours to theirs, round by round; the median."""
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if not (one["void"] or other["void"])]
    each = [one[name] / other[name] for one, other in pairs if name in one and other.get(name)]
    return f"{statistics.median(each):.2f}" if each else "-"


def page(told: dict[str, Any]) -> str:
    """All tables."""
    return "\n".join(_lines(told)) + "\n"


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['machine']} Medians of {told['runs']}, with the least and the most."
    for name, peers in told["figures"].items():
        yield from ("", f"**{name}**: {told['scenarios'][name]}", "")
        heads = [text for key, text, _ in COLUMNS if any(key in run for runs in peers.values() for run in runs)]
        keys = [(key, places) for key, text, places in COLUMNS if text in heads]
        measure = "cpu_us" if any("cpu_us" in run for runs in peers.values() for run in runs) else "connect_ms"
        yield f"| | {' | '.join(heads)} | ours to it, CPU | not exact |"
        yield f"|---|{'---|' * (len(heads) + 2)}"
        for peer, runs in peers.items():
            cells = [cell(runs, key, places) for key, places in keys]
            mine = ratio(peers.get(OURS, []), runs, measure) if peer != OURS else ""
            yield f"| {peer} | {' | '.join(cells)} | {mine} | {_wrong(runs)} |"
    yield ""
    yield from (f"* {name}: {how}." for name, how in told["how"].items() if name not in told["missing"])
    yield from (f"* {name} was left out, for want of {why}." for name, why in told["missing"].items())


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
        measure = "cpu_us" if any("cpu_us" in run for runs in peers.values() for run in runs) else "connect_ms"
        text = {key: text for key, text, _ in COLUMNS}[measure]
        medians = [
            (peer, statistics.median(run[measure] for run in good(runs))) for peer, runs in peers.items() if good(runs)
        ]
        if medians:
            title = f"{name}: {text}. {told['scenarios'][name].replace('`', '')}"
            found |= {f"bench-{name}-{theme}.svg": bars(title, medians, theme) for theme in _COLOURS}
    return found


def write(told: dict[str, Any], path: Path) -> None:
    """Tables between the marks of the page, pictures beside it."""
    drawn = pictures(told)
    folder = path.parent / "img"
    folder.mkdir(exist_ok=True)
    shown = []
    for name, text in drawn.items():
        (folder / name).write_text(text)
        if name.endswith("-light.svg"):
            dark = name.replace("-light", "-dark")
            shown.append(
                f'<picture><source media="(prefers-color-scheme: dark)" srcset="img/{dark}">'
                f'<img alt="{name.split("-")[1]}" src="img/{name}"></picture>'
            )
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{page(told)}\n" + "\n".join(shown) + f"\n\n{END}{after}")
