"""`make sabotage`: one-line changes of the source, each of which must turn a named test red.

Each is applied in a temporary copy of the tree; a test that stays green there proves nothing here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One line of one file, what stands there instead, and the test that must notice."""

    name: str
    file: str
    line: str
    instead: str
    test: str


JOIN = "tests/exact/test_join.py::test_200_clients_join_under_transactions_without_gap_or_repeat"
SLOW = "tests/exact/test_join.py::test_what_is_dispatched_while_a_snapshot_is_read_is_caught_up"
SIZES = "tests/exact/test_join.py::test_transactions_of_any_size_are_one_moment_for_all_who_join_meanwhile"
TOLD = "tests/exact/test_catalogue.py::test_catalogue_changes_under_load_are_told_and_followed"
LATER = "tests/exact/test_catalogue.py::test_images_that_cannot_be_read_at_their_time_are_exact_at_a_later_one"
REST = "tests/exact/test_history.py::test_resumed_at_any_position_it_is_exactly_the_rest"
LOST = "tests/exact/test_lost.py"
POISON = "tests/exact/test_poison.py"
HUB, QUERY, PIPE = "realtime/hub.py", "realtime/core/query.py", "realtime/pipe.py"
MOMENTS, JOURNAL, FEED = "realtime/core/moments.py", "realtime/core/journal.py", "realtime/mongo/feed.py"

DEPLOY = "tests/adversity/test_deploys.py::test_sigterm_under_load_sends_everybody_away_in_time"
ROLLING = "tests/adversity/test_rolling.py::test_rolling_restart_of_three_replicas_behind_nginx"
HEALTH = "tests/web/test_health.py"
WORKERS = "tests/e2e/test_workers.py::test_two_workers_share_port_positions_and_figures_and_one_that_dies_comes_back"
SERVER = "realtime/web/server.py"

TABLE = [
    Sabotage(
        "deploy: still ready", "realtime/web/live.py", "self.ready, self.draining = False,", "self.draining =", DEPLOY
    ),
    Sabotage("deploy: 1012 and no word", SERVER, "close(CLOSE_DRAINING, ", "close(1012, ", DEPLOY),
    Sabotage("deploy: no grace", SERVER, "+ self._settings.grace_seconds\n", "\n", DEPLOY),
    Sabotage("deploy: all in one moment", SERVER, "total * LEAST_PACE_SECONDS", "total * 0.0", DEPLOY),
    Sabotage("deploy: no end of the drain", SERVER, "if passed >= seconds or not (", "if not (", DEPLOY),
    Sabotage(
        "deploy: nobody is aborted", SERVER, "            connection.transport.abort()\n", "            pass\n", DEPLOY
    ),
    Sabotage(
        "deploy: a second signal is not heard",
        SERVER,
        "                self._at_once(sig)\n",
        "                pass\n",
        "tests/adversity/test_deploys.py::test_a_second_signal_ends_it_at_once",
    ),
    Sabotage("rolling: failed is failed", "docs/operations.md", "8001 max_fails=0;", "8001 max_fails=1;", ROLLING),
    Sabotage(
        "rolling: every client reads",
        "realtime/resume.py",
        "elif not self._bring_up(",
        "elif not not self._bring_up(",
        ROLLING,
    ),
    Sabotage(
        "health: silence is stillness",
        "realtime/health.py",
        "self._silent = standing.silent or ",
        "self._silent = ",
        f"{HEALTH}::test_a_stream_that_is_silent_while_the_clock_goes_on_is_degraded_and_still_ready",
    ),
    Sabotage(
        "health: degraded is not ready",
        "realtime/health.py",
        "READY_GRACE_SECONDS = 30.0",
        "READY_GRACE_SECONDS = 0.0",
        f"{HEALTH}::test_30_s_of_degraded_are_ready_and_then_no_more",
    ),
    Sabotage(
        "health: the oplog's end comes as a surprise",
        "realtime/core/health.py",
        "lag < window * WARN_AT",
        "lag < window",
        f"{HEALTH}::test_a_quarter_of_the_oplog_is_a_warning_once_and_half_of_it_an_error_once",
    ),
    Sabotage(
        "health: class B for ever",
        "realtime/core/upstream.py",
        "len(self._refused) >= MOST_REFUSALS",
        "len(self._refused) < 0",
        "tests/mongo/test_feed_patience.py",
    ),
    Sabotage(
        "logs: every retry", "realtime/logs.py", "if now - at < REPEAT_SECONDS:", "if now < at:", "tests/test_logs.py"
    ),
    Sabotage("logs: no reference", "realtime/logs.py", "record.reference = ", "_ = ", "tests/test_logs.py"),
    Sabotage("workers: figures of one", "realtime/cli.py", "    metrics.share(orders.figures)\n", "", WORKERS),
    Sabotage("workers: dead is dead", "realtime/workers.py", "worker = self._start(number)\n", "return\n", WORKERS),
    Sabotage(
        "workers: gauges of the dead",
        "realtime/workers.py",
        "            multiprocess.mark_process_dead(worker.process.pid, self._figures)",
        "            pass",
        WORKERS,
    ),
    Sabotage(
        "embedded: mongod stays dead",
        "realtime/mongo/embedded.py",
        "        self._keeper.confirm()\n",
        "",
        "tests/e2e/test_process.py::test_a_mongod_that_is_killed_comes_back_and_subscribers_miss_nothing",
    ),
    Sabotage(
        "doctor: refused is ok",
        "realtime/core/diagnosis.py",
        "        if step in facts.refused:",
        "        if step in ():",
        "tests/mongo/test_doctor.py::test_restricted_accounts_are_told_what_to_be_granted",
    ),
    Sabotage(
        "board: an instrument that is not there",
        "docker/grafana/alerts.yaml",
        "expr: realtime_lag_seconds",
        "expr: realtime_lagging_seconds",
        "tests/e2e/test_board.py",
    ),
    Sabotage("cut at T+1", HUB, "group.loaded(snapshot.time)", "group.loaded(snapshot.time + 1)", f"{JOIN}[7]"),
    Sabotage(
        "cut at T-1", QUERY, "Phase.LIVE, max(self.time, time)", "Phase.LIVE, max(self.time, time) - 1", f"{JOIN}[7]"
    ),
    Sabotage(
        "what came while loading is forgotten",
        QUERY,
        "if touch.time > time}",
        "if touch.time > time + (1 << 32)}",
        f"{SLOW}[1000]",
    ),
    Sabotage("skip images", PIPE, "        return images if all(", "        return {} if all(", f"{JOIN}[1000]"),
    Sabotage(
        "images one step late",
        "realtime/mongo/snapshot.py",
        '"atClusterTime": to_timestamp(time)}',
        '"afterClusterTime": to_timestamp(time)}',
        f"{JOIN}[7]",
    ),
    Sabotage("forget a leave", QUERY, "return leaves + rest", "return leaves[1:] + rest", f"{JOIN}[1000]"),
    Sabotage(
        "swap two events",
        QUERY,
        "        return entries\n\n    def _in_order",
        "        return entries[::-1]\n\n    def _in_order",
        f"{JOIN}[1000]",
    ),
    Sabotage(
        "drop a batch's end",
        MOMENTS,
        "return Batch(tuple(ready), time, lost)",
        "return Batch(tuple(ready[:-1] or ready), time, lost)",
        f"{JOIN}[7]",
    ),
    Sabotage(
        "reuse a channel",
        "realtime/core/router.py",
        "self._last_channel += 1",
        "self._last_channel = 1",
        f"{JOIN}[1000]",
    ),
    Sabotage(
        "replay one moment twice",
        "realtime/resume.py",
        "        for entry in entries:\n            events",
        "        for entry in [*entries[:1], *entries]:\n            events",
        f"{REST}[journal-1000]",
    ),
    Sabotage("hold-back off", FEED, "complete=complete,", "complete=True,", f"{SIZES}[7]"),
    Sabotage(
        "position +1",
        QUERY,
        '"""What its documents are exact at."""\n        return format_position(self.epoch, self.time)',
        '"""Sabotaged."""\n        return format_position(self.epoch, self.time + 1)',
        f"{JOIN}[1000]",
    ),
    Sabotage(
        "journal off by one", JOURNAL, "if entry.time > time]", "if entry.time > time][1:]", f"{REST}[journal-1000]"
    ),
    Sabotage(
        "journal forgets what it was trimmed to",
        JOURNAL,
        "            self.start = entry.time\n\n    def _clear",
        "            pass\n\n    def _clear",
        f"{REST}[oplog-1000]",
    ),
    Sabotage(
        "catch-up ends too early",
        "realtime/mongo/oplog.py",
        "if batch.time >= until:",
        "if batch.events:",
        f"{REST}[oplog-7]",
    ),
    Sabotage(
        "resync not announced",
        HUB,
        "protocol.Resync(id=subscription.id, reason=reason).encode()",
        'b\'{"type":"nothing"}\'',
        f"{TOLD}[1000]",
    ),
    Sabotage(
        "a rename onto is not seen",
        MOMENTS,
        "(event.collection, event.to) if name",
        "(event.collection,) if name",
        f"{TOLD}[1000]",
    ),
    Sabotage(
        "a void read is taken",
        PIPE,
        "if void and not batch.lost and not self._closing:",
        "if batch.lost:",
        f"{LATER}[refused-updates-7]",
    ),
    Sabotage(
        "T' is taken for T",
        PIPE,
        "later = snapshot.unless_changed_by or snapshot.time",
        "later = time",
        f"{LATER}[refused-updates-7]",
    ),
    Sabotage(
        "lost history is not told",
        FEED,
        "self._token, self._last_token, self._lost = None, None, True",
        "self._token, self._last_token, self._lost = None, None, False",
        f"{LOST}::test_a_frozen_service_that_lost_the_oplog_says_so_once",
    ),
    Sabotage(
        "post-batch tokens are not kept",
        FEED,
        "        if not self._assembler.holding:\n            # Never",
        "        if reply.documents and not self._assembler.holding:\n            # Never",
        f"{LOST}::test_a_quiet_collection_survives_a_neighbour_that_turns_the_oplog_over",
    ),
    Sabotage(
        "one ancient position fails for all",
        "realtime/history.py",
        "            if oldest == time:\n",
        "            if oldest <= time:\n",
        f"{LOST}::test_one_ancient_position_spoils_nobody_elses_history",
    ),
    Sabotage(
        "images never come again",
        FEED,
        "self._care, self._inside = Care.NONE, True",
        "self._inside = True",
        f"{POISON}::test_poison_events_amid_a_thousand_stop_nothing[1000]",
    ),
    Sabotage(
        "a foreign epoch is taken",
        "realtime/core/events.py",
        "if match[1] != epoch:",
        "if not match[1]:",
        f"{POISON}::test_25_bad_positions_get_25_clear_answers_and_none_reaches_mongodb",
    ),
]


def main(arguments: Sequence[str]) -> int:
    """Apply each (or those whose name contains an argument); 1 when one survives or cannot be applied."""
    chosen = [one for one in TABLE if not arguments or any(part in one.name for part in arguments)]
    survived = 0
    write(f"{'sabotage':48} {'seconds':>7}  result")
    for one in chosen:
        began = time.monotonic()
        result = outcome(one)
        survived += not result.startswith("red")
        write(f"{one.name:48} {time.monotonic() - began:7.1f}  {result}  {one.file}  {one.test.rpartition('/')[2]}")
    write(f"{len(chosen) - survived} of {len(chosen)} turned their test red")
    return 1 if survived or not chosen else 0


def outcome(sabotage: Sabotage) -> str:
    """`red`, or what happened instead."""
    with tempfile.TemporaryDirectory(prefix="realtime-sabotage-") as directory:
        copy = Path(directory)
        for part in ("realtime", "tests", "docs", "docker"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        source = copy / sabotage.file
        text = source.read_text()
        if text.count(sabotage.line) != 1:
            return f"NOT APPLIED: the line is there {text.count(sabotage.line)} times"
        source.write_text(text.replace(sabotage.line, sabotage.instead))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short"]
        command += ["--timeout=60", f"--basetemp={copy / 'tmp'}", sabotage.test]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ended = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "red (it hung)"
        if ended.returncode == 1:
            return f"red ({_reason(ended.stdout)})"
        return "SURVIVED" if ended.returncode == 0 else f"NO TEST: {ended.stdout[-300:]}"


def _reason(output: str) -> str:
    """What the checker named, or the assertion that failed."""
    names = sorted(set(re.findall(r"Violation\(name='(\w+)'", output)))
    line = re.search(r"^E\s+(.{1,90})", output, re.MULTILINE)
    return ", ".join(names) or (line[1] if line else "?")


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
