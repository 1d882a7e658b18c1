"""`make bench`: small runs are exact, a run that is not is void, and tables and pictures show what there is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.bench import tables, targets
from tests.bench.beside import figures_of, measured
from tests.bench.rounds import MOST_FAILURES, Rounds, together, unfit
from tests.bench.scenarios import DESIGNS, OURS, PART, RULED, SCENARIOS
from tests.bench.standing import STANDING, MissingError, Peer
from tests.parts import first
from tests.replica_set import ReplicaSet

SCENARIO = {one.name: one.smaller(0.02) for one in SCENARIOS}
PEER = {one.name: one for one in STANDING}
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize(
    ("scenario", "peer"),
    first(
        1,
        "a small bench of one peer",
        [
            ("steady", OURS),
            ("steady", "fastapi"),
            ("designs", "a stream each"),
            ("designs", "a loop that awaits"),
            ("designs", "a task each"),
            ("designs", "a queue each"),
            ("designs", "a plain call"),
            ("designs", "shared bytes"),
            ("burst", "realtime, ruled"),
            ("slow", OURS),
            ("filters", OURS),
            ("many filters", OURS),
            ("resume", OURS),
        ],
    ),
)
async def test_a_small_run_delivers_exactly_what_was_written(replica_set: ReplicaSet, scenario: str, peer: str) -> None:
    asked = SCENARIO[scenario]
    told = await asyncio.to_thread(measured, PEER[peer], asked, replica_set.uri)
    assert (told["void"], told["errors"], told["slow_lost"]) == (None, [], 0)
    # Each document is for those who asked for its filter, and that somebody did.
    least = asked.documents if asked.filters else (asked.connections - asked.slow) * asked.documents
    assert told["deliveries"] >= least > 0
    if told["expected"] is not None:
        assert told["deliveries"] == told["expected"]
    assert told["cpu_us"] > 0
    assert told["p99_ms"] >= told["p50_ms"] > 0


@pytest.mark.long("a small bench of one peer")
async def test_who_connects_is_measured_without_a_document(replica_set: ReplicaSet) -> None:
    told = await asyncio.to_thread(measured, PEER[OURS], SCENARIO["connect"], replica_set.uri)
    assert told["void"] is None
    assert told["connect_ms"] > 0
    assert "cpu_us" not in told


def told_by(**given: Any) -> dict[str, Any]:
    usual = {
        "deliveries": 200, "lost": 0, "late": False, "retried": {}, "repeated": 0, "slow_lost": 0,
        "latencies": [[100, 200]], "errors": [],
        "done": 12.0, "busy": 0.1,
    }  # fmt: skip
    return figures_of(SCENARIO["steady"], {**usual, **given}, spent=0.001, began=2.0)


def test_a_run_that_lost_or_repeated_is_void_and_says_what() -> None:
    assert told_by()["void"] is None
    assert told_by(lost=3)["void"] == "3 lost"
    assert told_by(lost=3, repeated=1)["void"] == "3 lost, 1 repeated"
    assert told_by(lost=3, late=True)["void"] == "3 not there yet when it took too long"
    assert told_by(slow_lost=9)["void"] is None
    assert told_by()["cpu_us"] == pytest.approx(5.0)
    assert told_by()["rate"] == pytest.approx(20.0)


PLAIN = Peer("plain", "plain", lambda *_: pytest.fail("not started"), "by hand")
OTHER = Peer("other", "plain", lambda *_: pytest.fail("not started"), "by hand")
TWO = [SCENARIO["steady"], SCENARIO["burst"]]


class Measured:
    """Stands for `measured`, and says who was asked in which order."""

    def __init__(self, missing: str = "", broken: str = "") -> None:
        self.asked: list[tuple[str, str]] = []
        self._missing, self._broken = missing, broken

    def __call__(self, peer: Peer, scenario: Any) -> dict[str, Any]:
        self.asked.append((scenario.name, peer.name))
        if peer.name == self._missing:
            raise MissingError("a wheel")
        if peer.name == self._broken:
            raise ValueError("it fell over")
        return {**told_by(), "cpu_us": float(len(self.asked))}


def test_everybody_runs_in_turn_round_after_round_and_each_run_is_kept(tmp_path: Path) -> None:
    kept, measure = tmp_path / "folder" / "kept.json", Measured()
    made = Rounds(measure, [PLAIN, OTHER], TWO, kept)
    made.run(2, minutes=10)
    forwards = [("steady", "plain"), ("steady", "other"), ("burst", "plain"), ("burst", "other")]
    backwards = [("steady", "other"), ("steady", "plain"), ("burst", "other"), ("burst", "plain")]
    assert measure.asked == forwards + backwards
    assert json.loads(kept.read_text()) == json.loads(json.dumps(made.told))
    assert [run["round"] for run in made.told["figures"]["steady"]["plain"]] == [0, 1]


def test_what_is_interrupted_keeps_what_it_has(tmp_path: Path) -> None:
    class Interrupted(Measured):
        def __call__(self, peer: Peer, scenario: Any) -> dict[str, Any]:
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return super().__call__(peer, scenario)

    with pytest.raises(KeyboardInterrupt):
        Rounds(Interrupted(), [PLAIN, OTHER], TWO, tmp_path / "kept.json").run(2, minutes=10)
    told = json.loads((tmp_path / "kept.json").read_text())
    assert {name: list(peers) for name, peers in told["figures"].items()} == {
        "steady": ["plain", "other"],
        "burst": ["plain"],
    }


def test_who_cannot_be_had_is_left_out_once_and_named(tmp_path: Path) -> None:
    measure = Measured(missing="other")
    made = Rounds(measure, [PLAIN, OTHER], TWO, tmp_path / "kept.json")
    made.run(2, minutes=10)
    assert made.told["missing"] == {"other": "a wheel"}
    assert [peer for _, peer in measure.asked].count("other") == 1
    assert [peer for _, peer in measure.asked].count("plain") == 4


def test_who_breaks_off_is_void_and_named_and_the_others_go_on(tmp_path: Path) -> None:
    measure = Measured(broken="other")
    made = Rounds(measure, [PLAIN, OTHER], TWO, tmp_path / "kept.json")
    made.run(3, minutes=10)
    broken = made.told["figures"]["steady"]["other"]
    assert [run["void"] for run in broken] == ["failed: it fell over"] * MOST_FAILURES
    assert [run["void"] for run in made.told["figures"]["steady"]["plain"]] == [None] * 3
    assert f"{MOST_FAILURES} of {MOST_FAILURES} void: failed: it fell over" in tables.page(made.told | {"machine": "M"})


def test_no_run_is_begun_that_would_end_too_late(tmp_path: Path) -> None:
    measure = Measured()
    Rounds(measure, [PLAIN, OTHER], TWO, tmp_path / "kept.json").run(3, minutes=0.01)
    assert measure.asked == []


def test_runs_of_several_times_are_put_together_round_by_round(tmp_path: Path) -> None:
    def one() -> dict[str, Any]:
        made = Rounds(Measured(), [PLAIN, OTHER], TWO, tmp_path / "kept.json")
        made.run(1, minutes=10)
        return made.told | {"machine": "M"}

    both = together([one(), one()])
    assert [run["round"] for run in both["figures"]["steady"]["plain"]] == [0, 1]
    with pytest.raises(ValueError, match="another size"):
        together([one(), one() | {"scenarios": {"steady": "other"}}])
    with pytest.raises(ValueError, match="other machines"):
        together([one(), one() | {"machine": "N"}])


def test_who_is_asked_for_what() -> None:
    asked = {one.name: {peer.name for peer in STANDING if not unfit(peer, one)} for one in SCENARIOS}
    assert asked["designs"] >= set(DESIGNS)
    assert not asked["steady"] & set(DESIGNS)
    assert asked["widest"] == asked["resume"] == {OURS, RULED}
    assert asked["few filters"] == asked["many filters"] == {OURS}
    assert asked["filters"] == {OURS, RULED, "parse"}
    assert asked["steady"] - asked["burst"] == {"parse"}
    assert {"fastapi", "node ws", "centrifugo", "floor"} <= asked["steady"] & asked["burst"] & asked["wide"]


async def test_clients_that_are_slowed_are_told_to_be_the_limit(replica_set: ReplicaSet) -> None:
    asked = SCENARIO["steady"]
    # 3 ms of a processor for each of 800 deliveries, which are written in an eighth of that.
    told = await asyncio.to_thread(measured, PEER[OURS], asked, replica_set.uri, 3000)
    assert (told["void"], told["deliveries"]) == (None, asked.connections * asked.documents)
    page = page_told()
    page["figures"]["steady"]["other"] = [{**told, "round": 0}]
    assert "the clients were the limit" in tables.page(page)


def test_a_row_says_where_the_clients_were_the_limit() -> None:
    told = page_told()
    assert "the clients were the limit" not in tables.page(told)
    told["figures"]["steady"]["other"][1]["client_busy"] = 0.97
    assert "the clients were the limit, 97% busy" in tables.page(told)


def page_told() -> dict[str, Any]:
    ours = [{**told_by(), "cpu_us": value, "round": place} for place, value in enumerate((1.0, 2.0, 3.0))]
    theirs = [{**told_by(), "cpu_us": value, "round": place} for place, value in enumerate((4.0, 8.0, 6.0))]
    return {
        "machine": "A machine.", "made": "some day",
        "figures": {
            "steady": {OURS: ours, "node ws": theirs, "other": theirs, "bad": [{**told_by(lost=2), "round": 0}]},
            "designs": {OURS: ours, "shared bytes": theirs},
        },
        "missing": {"absent": "a wheel"}, "scenarios": {"steady": "many", "designs": "some"},
        "how": {OURS: f"as it is{', and more' * 20}", "other": "by hand", "absent": "not at all"},
    }  # fmt: skip


def test_a_table_has_medians_their_spread_and_ratios_of_pairs() -> None:
    text = tables.page(page_told())
    assert "2.00 (1.00 to 3.00)" in text
    # 1/4, 2/8 and 3/6: the middle one.
    (row,) = [line for line in text.splitlines() if line.startswith("| other ")]
    assert "| 0.25 (0.25 to 0.50) |" in row
    assert "1 of 1 void: 2 lost" in text
    assert "* absent was left out, for want of a wheel." in text
    assert "not at all" not in text
    assert "Medians of 1 to 3 runs" in text


def test_a_ratio_is_of_one_round_and_never_of_a_void_run() -> None:
    ours = [{"cpu_us": 1.0, "round": 0, "void": None}, {"cpu_us": 5.0, "round": 2, "void": None}]
    theirs = [
        {"cpu_us": float(place + 1), "round": place, "void": "lost" if place == 0 else None} for place in range(3)
    ]
    assert targets.pairs(ours, theirs, "cpu_us") == [pytest.approx(5 / 3)]


def test_what_was_promised_stands_beside_what_was_measured() -> None:
    told = page_told()
    (row,) = [line for line in targets.lines(told) if "steady" in line and "Node" in line]
    assert row.endswith("| 0.6 × | 0.25 (0.25 to 0.50) | held |")
    for run in told["figures"]["steady"][OURS]:
        run["cpu_us"] *= 4
    (row,) = [line for line in targets.lines(told) if "steady" in line and "Node" in line]
    assert row.endswith("| 1.00 (1.00 to 2.00) | **missed** |")
    (row,) = [line for line in targets.lines(told) if "100,000" in line]
    assert row.endswith("| - | not measured |")


def test_of_rules_and_tokens_the_worst_scenario_is_told() -> None:
    told = page_told()
    runs = {"cpu_us": 2.0, "round": 0, "void": None}
    told["figures"] |= {
        "wide": {OURS: [runs], RULED: [{**runs, "cpu_us": 2.2}]},
        "slow": {OURS: [runs], RULED: [{**runs, "cpu_us": 3.0}]},
    }
    (row,) = [line for line in targets.lines(told) if "rules and tokens" in line and "CPU a delivery" in line]
    assert "most in slow" in row
    assert row.endswith("| 1.3 × | 1.50 | **missed** |")


def test_runs_that_were_kept_make_a_page_but_not_of_a_part(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.json", tmp_path / "part.json"
    told = page_told()
    whole.write_text(json.dumps(told))
    part.write_text(
        json.dumps(told | {"scenarios": {name: f"{text}; {PART} 0.1" for name, text in told["scenarios"].items()}})
    )

    def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.bench.beside", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    shown = asked("--saved", str(whole), "--saved", str(whole))
    # One run of them is void.
    assert (shown.returncode, "2.00 (1.00 to 3.00)" in shown.stdout) == (1, True)
    assert "Medians of 2 to 6 runs" in shown.stdout
    refused = asked("--saved", str(part), "--page")
    assert refused.returncode == 1
    assert "--page is for whole runs" in refused.stderr


PLACES = ("machine", "targets", "tables", "pictures", "peers", "designs")


def test_the_pages_get_tables_and_pictures_between_their_marks(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    pages = docs / "performance.md", tmp_path / "README.md"
    for path, names in zip(pages, (PLACES, ("readme",)), strict=True):
        inside = "\n".join(f"{tables.marks(name)[0]}\nold\n{tables.marks(name)[1]}" for name in names)
        path.write_text(f"before\n{inside}\nafter\n")
    for _ in range(2):
        tables.write(page_told(), tmp_path)
    text, first = (path.read_text() for path in pages)
    for one in (text, first):
        assert one.startswith("before\n")
        assert one.endswith("after\n")
        assert "old" not in one
        prose = [line for line in one.splitlines() if not line.startswith(("|", "<"))]
        assert max(map(len, prose)) <= 120
    assert text.count("A machine.") == 1
    assert "takes 2.0 µs of a processor, 6.0 with Node's `ws` (" in " ".join(first.split())
    drawn = {one.name for one in (docs / "img").iterdir()}
    assert drawn == {f"bench-{name}-{theme}.svg" for name in ("steady", "designs") for theme in ("dark", "light")}
    for name in drawn:
        ET.fromstring((docs / "img" / name).read_text())
        assert f'"img/{name}"' in text
    assert all(f"docs/img/bench-steady-{theme}.svg" in first for theme in ("dark", "light"))


def test_a_page_without_a_mark_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "performance.md").write_text("nothing")
    with pytest.raises(ValueError, match="has no <!-- bench: machine -->"):
        tables.write(page_told(), tmp_path)


def test_the_pages_have_the_marks() -> None:
    root = Path(__file__).parents[2]
    for path, names in (("docs/performance.md", PLACES), ("README.md", ("readme",))):
        text = (root / path).read_text()
        for name in names:
            assert [text.count(mark) for mark in tables.marks(name)] == [1, 1], name
