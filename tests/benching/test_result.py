"""What held a run up is said, and what it came to is in words, in JSON and in the picture alike."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from realtime.bench import plot, wording
from realtime.bench.latencies import Latencies
from realtime.bench.plan import Plan
from realtime.bench.result import Moment, Result, Server

PLAN = Plan("bench_x", 10, 1, {"filters": 1}, 100.0, 1, 2.0, 200)


def result(**given: Any) -> Result:
    told = Latencies()
    for microseconds in range(1000, 3000):
        told.add(microseconds)
    usual: dict[str, Any] = {
        "plan": PLAN, "direct": False, "processes": 1, "connect_seconds": 0.5, "retries": 0, "written": 200,
        "write_seconds": 2.0, "seconds": 2.1, "deliveries": 2000, "lost": 0, "repeated": 0, "wrong_views": 0,
        "resyncs": 0, "errors": {}, "latencies": told, "writer_busy": 0.1, "limited_by": None, "busy": [0.3, 0.4],
        "moments": [
            Moment(1.0, 100, 1000, 1500, 2900, 0.4, 1 << 20, 0.3), Moment(2.0, 200, 1000, None, None, None, None, 0.4),
        ],
        "server": Server({7: "python"}, 0.01, 0.02, 1 << 20, 2 << 20, 3 << 20),
    }  # fmt: skip
    return Result(**{**usual, **given})


@pytest.mark.parametrize("wrong", [{"lost": 1}, {"repeated": 1}, {"wrong_views": 1}, {"errors": {"closed": 1}}])
def test_a_run_is_exact_only_where_nothing_is_wrong(wrong: dict[str, Any]) -> None:
    assert result().exact
    assert not result(**wrong).exact


def test_a_generator_without_time_left_in_a_quarter_of_the_seconds_was_the_limit() -> None:
    assert result(busy=[0.5, 0.6, 0.7, 0.8]).limits() == []
    assert "load generator was the limit" in result(busy=[0.5, 0.6, 0.7, 0.95]).limits()[0]
    assert result(busy=[0.9]).as_json()["generator"]["was_the_limit"] is True


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "the service took no more writes"),
        ({"direct": True}, "MongoDB took no more"),
        ({"writer_busy": 0.9}, "--batch"),
        ({"limited_by": "writes_per_second"}, "writes_per_second"),
    ],
)
def test_writes_that_were_held_up_are_told_with_why(given: dict[str, Any], why: str) -> None:
    (text,) = result(write_seconds=3.0, **given).limits()
    assert "67/s of 100/s" in text
    assert why in text
    assert result(write_seconds=2.05).limits() == []


def test_words_name_what_was_lost_and_what_is_not_known() -> None:
    text = "\n".join(wording.lines(result(lost=3, repeated=2, server=None, left="bench_x, empty")))
    assert "NOT what was expected: of 2,000 expected 3 lost and 2 repeated" in text
    assert "elsewhere, in a container" in text
    assert "left         bench_x, empty" in text
    assert "exactly what was expected" in "\n".join(wording.lines(result()))


def test_json_has_the_figures() -> None:
    told = json.loads(json.dumps(result().as_json()))
    assert told["deliveries"] == {
        "count": 2000, "expected": 2000, "rate": 952.4, "lost": 0, "repeated": 0, "wrong_views": 0, "resyncs": 0,
        "exact": True,
    }  # fmt: skip
    assert told["server"]["cpu_us_per_delivery"] == 5.0
    assert told["server"]["memory_per_connection"] == round((1 << 20) / 10)
    assert 1900 <= told["latency_us"]["p50"] <= 2100


@pytest.mark.parametrize("theme", plot.THEMES)
def test_the_picture_is_well_formed_and_has_the_colours_that_were_asked_for(theme: str) -> None:
    text = plot.plotted(result(), theme)
    tree = ET.fromstring(text)
    lines = [one.get("points", "").split() for one in tree.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [2, 1, 1, 101]
    assert ("prefers-color-scheme" in text) == (theme == "auto")
    assert ("#0d1117" in text) == (theme != "light")


def test_a_run_without_a_delivery_has_a_picture_too() -> None:
    tree = ET.fromstring(plot.plotted(result(latencies=Latencies(), moments=[], deliveries=0)))
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}text"))) > 1
