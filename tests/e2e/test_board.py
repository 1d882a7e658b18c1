"""The board and the rules in `docker/grafana/` ask for instruments that exist, and leave none out that matters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram

from realtime import metrics
from realtime.relay import figures

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "docker" / "grafana" / "realtime.json"
RULES = ROOT / "docker" / "grafana" / "alerts.yaml"


def known() -> dict[str, tuple[str, ...]]:
    """Every name that `/metrics` has of ours, with its labels."""
    names: dict[str, tuple[str, ...]] = {}
    for instrument in (*vars(metrics).values(), *vars(figures).values()):
        if isinstance(instrument, Counter):
            names[f"{instrument._name}_total"] = instrument._labelnames
        elif isinstance(instrument, Gauge):
            names[instrument._name] = instrument._labelnames
        elif isinstance(instrument, Histogram):
            for suffix in ("bucket", "sum", "count"):
                names[f"{instrument._name}_{suffix}"] = (*instrument._labelnames, "le")
    return names


def expressions() -> dict[str, str]:
    """The expressions of the board by panel, and of the rules by alert."""
    board = json.loads(BOARD.read_text())
    found = {f"{panel['title']} {one['refId']}": one["expr"] for panel in board["panels"] for one in panel["targets"]}
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (.+)", RULES.read_text())
    return found | dict(rules)


@pytest.mark.parametrize(("name", "expression"), expressions().items(), ids=expressions().keys())
def test_an_expression_names_instruments_and_labels_that_exist(name: str, expression: str) -> None:
    named = set(re.findall(r"\b(?:realtime|process|python)_\w+", expression))
    assert named, f"{name} asks for nothing"
    assert named - known().keys() == set()
    labels = {label for one in named for label in known()[one]} | {"instance", "job"}
    asked = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    asked |= set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
    assert asked <= labels
    assert expression.count("(") == expression.count(")")


def test_a_counter_is_shown_as_a_rate_and_a_gauge_as_it_is() -> None:
    counters = {name for name in known() if name.endswith(("_total", "_bucket"))}
    for expression in expressions().values():
        for name in re.findall(r"\brealtime_\w+", expression):
            rated = re.search(rf"(rate|increase)\({name}(\{{[^}}]*\}})?\[\d+m\]\)", expression) is not None
            assert rated == (name in counters), expression


def test_the_board_shows_every_instrument() -> None:
    shown = {name for one in expressions().values() for name in re.findall(r"\brealtime_\w+", one)}
    missing = {name for name in known() if not name.endswith(("_sum", "_count"))} - shown
    assert len(shown) >= 20
    assert missing == set()


def test_every_alert_is_on_the_page_with_what_to_do() -> None:
    rules = re.findall(r"- alert: (\w+)", RULES.read_text())
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(Realtime\w+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rules) >= 8
    assert [row[0] for row in rows] == rules
    assert [row for row in rows if len(row[2]) < 10] == []


def test_the_board_is_laid_out_without_overlap() -> None:
    panels: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= mine
    assert len(panels) >= 12
    assert len({panel["id"] for panel in panels}) == len(panels)
