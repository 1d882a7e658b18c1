"""A run as SVG: deliveries and latency second by second, and the share of deliveries within a latency. Pure.

The colours are those of the reader's light or dark mode, unless one of the two is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from realtime.bench import wording
from realtime.bench.result import Result

WIDTH, HEIGHT, GAP = 860, 210, 54
LEFT, RIGHT = 76, 16
THEMES = ("auto", "light", "dark")
_COLOURS = {
    "light": {"ink": "#24292f", "faint": "#d0d7de", "one": "#0969da", "two": "#bc4c00", "paper": "#ffffff"},
    "dark": {"ink": "#e6edf3", "faint": "#30363d", "one": "#58a6ff", "two": "#f0883e", "paper": "#0d1117"},
}
MARKS = (0.5, 0.9, 0.99, 0.999, 0.9999)


@dataclass(frozen=True, slots=True)
class Line:
    """Points of a chart, under a name; `colour` is `one` or `two`."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


def plotted(result: Result, theme: str = "auto") -> str:
    """The whole picture."""
    moments = result.moments
    told = Line("deliveries a second", "one", [(one.at, one.deliveries) for one in moments])
    half = Line("p50", "one", [(one.at, one.p50 / 1000) for one in moments if one.p50 is not None])
    most = Line("p99", "two", [(one.at, one.p99 / 1000) for one in moments if one.p99 is not None])
    shares = [(_place(share), result.latencies.percentile(share)) for share in _shares()]
    within = Line("latency", "one", [(place, value / 1000) for place, value in shares if value is not None])
    times = [(at, f"{at:g} s") for at in _steps(_last(told), 6)]
    nines = [(_place(mark), f"{mark * 100:g} %") for mark in MARKS]
    charts = [
        chart("Deliveries a second", [told], 0, times),
        chart("Latency of each second, ms", [half, most], 1, times),
        chart("Latency by share of deliveries, ms", [within], 2, nines),
    ]
    height = GAP + 3 * (HEIGHT + GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(wording.planned(result.plan))}</title>",
            f"<style>{_style(theme)}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            f'<text x="{LEFT}" y="24" class="head">{escape(wording.planned(result.plan))}</text>',
            *charts,
            "</svg>\n",
        ]
    )


def chart(title: str, lines: Sequence[Line], row: int, marks: Sequence[tuple[float, str]]) -> str:
    """One of the three, below one another. The left axis begins at nothing."""
    top, inner = GAP + row * (HEIGHT + GAP), WIDTH - LEFT - RIGHT
    across = max((x for line in lines for x, _ in line.points), default=1.0)
    across = max(across, *(x for x, _ in marks), 1e-9) if marks else across
    high = _round_up(max((y for line in lines for _, y in line.points), default=1.0))

    def x_of(value: float) -> float:
        return LEFT + value / across * inner

    def y_of(value: float) -> float:
        return top + HEIGHT - value / high * HEIGHT

    parts = [f'<text x="{LEFT}" y="{top - 8}" class="title">{escape(title)}</text>']
    for value in _steps(high, 4):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y_of(value) + 4:.1f}" class="left">{value:,g}</text>')
    for value, text in marks:
        parts.append(f'<text x="{x_of(value):.1f}" y="{top + HEIGHT + 18}" class="below">{escape(text)}</text>')
    for place, line in enumerate(lines):
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline class="{line.colour}" points="{points}"/>')
        if len(lines) > 1:
            at = WIDTH - RIGHT - 60 * (len(lines) - place)
            parts.append(f'<text x="{at}" y="{top - 8}" class="{line.colour}">{escape(line.name)}</text>')
    return "\n".join(parts)


def _place(share: float) -> float:
    return -math.log10(1 - share)


def _shares() -> Iterator[float]:
    """Up to four nines, as dense everywhere on an axis of nines."""
    return (1 - 10 ** (-step / 25) for step in range(101))


def _last(line: Line) -> float:
    return max((x for x, _ in line.points), default=1.0)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 and so on."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def _steps(most: float, count: int) -> list[float]:
    step = _round_up(most / count)
    return [step * number for number in range(int(most / step + 1e-9) + 1)]


def _style(theme: str) -> str:
    shapes = "text{font:12px system-ui,sans-serif}.head{font-size:14px}.left{text-anchor:end}.below{text-anchor:middle}"
    lines = "polyline{fill:none;stroke-width:1.5}"
    first = "light" if theme == "auto" else theme
    sheet = shapes + lines + _coloured(first)
    return sheet + f"@media (prefers-color-scheme:dark){{{_coloured('dark')}}}" if theme == "auto" else sheet


def _coloured(theme: str) -> str:
    colours = _COLOURS[theme]
    both = ((name, colours[name]) for name in ("one", "two"))
    return f".paper{{fill:{colours['paper']}}}text{{fill:{colours['ink']}}}line{{stroke:{colours['faint']}}}" + "".join(
        f"polyline.{name}{{stroke:{colour}}}text.{name}{{fill:{colour}}}" for name, colour in both
    )
