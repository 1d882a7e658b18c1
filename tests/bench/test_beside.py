"""`make bench`: small runs are exact, a run that is not is void, and tables and pictures show what there is."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.bench import tables
from tests.bench.beside import SCENARIOS, figures_of, measured, rounds
from tests.bench.standing import OURS, STANDING, MissingError, Peer
from tests.replica_set import ReplicaSet

SCENARIO = {one.name: one.smaller(0.02) for one in SCENARIOS}
PEER = {one.name: one for one in STANDING}
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize(
    ("scenario", "peer"),
    [
        ("steady", OURS),
        ("steady", "fastapi"),
        ("steady", "fastapi, a stream each"),
        ("burst", "realtime, ruled"),
        ("slow", OURS),
        ("filters", OURS),
        ("resume", OURS),
    ],
)
async def test_a_small_run_delivers_exactly_what_was_written(replica_set: ReplicaSet, scenario: str, peer: str) -> None:
    asked = SCENARIO[scenario]
    told = await asyncio.to_thread(measured, PEER[peer], asked, replica_set.uri)
    assert (told["void"], told["errors"], told["slow_lost"]) == (None, [], 0)
    each = 1 if scenario == "filters" else asked.documents
    assert told["deliveries"] >= (asked.connections - asked.slow) * each > 0
    if told["expected"] is not None:
        assert told["deliveries"] == told["expected"]
    assert told["cpu_us"] > 0
    assert told["p99_ms"] >= told["p50_ms"] > 0


async def test_who_connects_is_measured_without_a_document(replica_set: ReplicaSet) -> None:
    told = await asyncio.to_thread(measured, PEER[OURS], SCENARIO["connect"], replica_set.uri)
    assert told["void"] is None
    assert told["connect_ms"] > 0
    assert "cpu_us" not in told


def told_by(**given: Any) -> dict[str, Any]:
    usual = {
        "deliveries": 200, "lost": 0, "repeated": 0, "slow_lost": 0, "latencies": [[100, 200]], "errors": [],
        "done": 12.0, "busy": 0.1,
    }  # fmt: skip
    return figures_of(SCENARIO["steady"], {**usual, **given}, spent=0.001, began=2.0)


def test_a_run_that_lost_or_repeated_is_void_and_says_what() -> None:
    assert told_by()["void"] is None
    assert told_by(lost=3)["void"] == "3 lost"
    assert told_by(lost=3, repeated=1)["void"] == "3 lost, 1 repeated"
    assert told_by(slow_lost=9)["void"] is None
    assert told_by()["cpu_us"] == pytest.approx(5.0)
    assert told_by()["rate"] == pytest.approx(20.0)


async def test_who_cannot_be_had_is_left_out_once_and_named(replica_set: ReplicaSet) -> None:
    asked: list[str] = []

    def start(*_: Any) -> Any:
        asked.append("x")
        raise MissingError("a wheel")

    absent = Peer("absent", "plain", start, "not at all")
    found = await asyncio.to_thread(rounds, replica_set.uri, [absent], [SCENARIO["steady"], SCENARIO["burst"]], 2)
    assert found == {"figures": {}, "missing": {"absent": "a wheel"}}
    assert asked == ["x"]


def test_a_row_says_where_the_clients_were_the_limit() -> None:
    told = page_told()
    assert "the clients were the limit" not in tables.page(told)
    told["figures"]["steady"]["other"][1]["client_busy"] = 0.97
    assert "the clients were the limit, 97% busy" in tables.page(told)


def page_told() -> dict[str, Any]:
    ours = [{**told_by(), "cpu_us": value} for value in (1.0, 2.0, 3.0)]
    theirs = [{**told_by(), "cpu_us": value} for value in (4.0, 8.0, 6.0)]
    return {
        "machine": "A machine.", "runs": 3,
        "figures": {"steady": {OURS: ours, "other": theirs, "bad": [told_by(lost=2)]}},
        "missing": {"absent": "a wheel"}, "scenarios": {"steady": "many"},
        "how": {OURS: "as it is", "other": "by hand", "absent": "not at all"},
    }  # fmt: skip


def test_a_table_has_medians_their_spread_and_ratios_of_pairs() -> None:
    text = tables.page(page_told())
    assert "2.00 (1.00 to 3.00)" in text
    # 1/4, 2/8 and 3/6: the middle one.
    (row,) = [line for line in text.splitlines() if line.startswith("| other ")]
    assert "| 0.25 |" in row
    assert "1 of 1 void: 2 lost" in text
    assert "* absent was left out, for want of a wheel." in text
    assert "not at all" not in text


def test_the_page_gets_tables_and_pictures_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    for _ in range(2):
        tables.write(page_told(), path)
    text = path.read_text()
    assert text.startswith(f"before\n{tables.BEGIN}\n")
    assert text.endswith(f"{tables.END}\nafter\n")
    assert "old" not in text
    assert text.count("A machine.") == 1
    drawn = sorted((tmp_path / "img").iterdir())
    assert [one.name for one in drawn] == ["bench-steady-dark.svg", "bench-steady-light.svg"]
    for one in drawn:
        ET.fromstring(one.read_text())
        assert one.name in text


def test_the_page_of_the_documents_has_the_marks() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "performance.md").read_text()
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1
