"""Rows of `make sabotage` for deploys, health, logs, workers and the doctor."""

from __future__ import annotations

JOIN = "tests/exact/test_join.py::test_200_clients_join_under_transactions_without_gap_or_repeat"
GROUPS = "realtime/hub/groups.py"
LOADING = "realtime/hub/loading.py"
DEPLOY = "tests/adversity/test_deploys.py::test_sigterm_under_load_sends_everybody_away_in_time"
ROLLING = "tests/adversity/test_rolling.py::test_rolling_restart_of_three_replicas_behind_nginx"
HEALTH = "tests/web/test_health.py"
WORKERS = "tests/e2e/test_workers.py::test_two_workers_share_port_positions_and_figures_and_one_that_dies_comes_back"
SERVER = "realtime/web/server.py"

OPERATIONS: list[tuple[str, str, str, str, str]] = [
    (
        "deploy: still ready",
        "realtime/web/entrance/live.py",
        "self.ready, self.draining = False,",
        "self.draining =",
        DEPLOY,
    ),
    ("deploy: 1012 and no word", SERVER, "leave(CLOSE_DRAINING, ", "leave(1012, ", DEPLOY),
    (
        "deploy: who waits for a write is cut off without a word",
        SERVER,
        "if passed >= seconds - HEAR_SECONDS:",
        "if passed < 0:",
        "tests/e2e/test_process.py::test_who_waits_for_a_write_that_outlasts_the_end_is_sent_away_all_the_same",
    ),
    ("deploy: no grace", SERVER, "+ self._settings.grace_seconds\n", "\n", DEPLOY),
    ("deploy: all in one moment", SERVER, "total * LEAST_PACE_SECONDS", "total * 0.0", DEPLOY),
    ("deploy: no end of the drain", SERVER, "if passed >= seconds or not (", "if not (", DEPLOY),
    ("deploy: nobody is aborted", SERVER, "            connection.transport.abort()\n", "            pass\n", DEPLOY),
    (
        "deploy: a second signal is not heard",
        SERVER,
        "                self._at_once(sig)\n",
        "                pass\n",
        "tests/adversity/test_deploys.py::test_a_second_signal_ends_it_at_once",
    ),
    (
        "rolling: failed is failed",
        "docs/operations.md",
        "".join(f"    server 127.0.0.1:800{number} max_fails=0;\n" for number in (1, 2, 3)),
        "".join(f"    server 127.0.0.1:800{number} max_fails=1 fail_timeout=2s;\n" for number in (1, 2, 3)),
        ROLLING,
    ),
    (
        "rolling: nobody is recovered",
        "realtime/hub/resume.py",
        "            if not self._bring_up(group, subscription, after):",
        "            if self._bring_up or group:",
        ROLLING,
    ),
    (
        "rolling: every client reads",
        GROUPS,
        "self._router.find(query) or self._open(",
        "self._open(",
        ROLLING,
    ),
    (
        "health: silence is stillness",
        "realtime/operations/health.py",
        "self._silent = standing.silent or ",
        "self._silent = ",
        f"{HEALTH}::test_a_stream_that_is_silent_while_the_clock_goes_on_is_degraded_and_still_ready",
    ),
    (
        "health: degraded is not ready",
        "realtime/operations/health.py",
        "READY_GRACE_SECONDS = 30.0",
        "READY_GRACE_SECONDS = 0.0",
        f"{HEALTH}::test_30_s_of_degraded_are_ready_and_then_no_more",
    ),
    (
        "health: the oplog's end comes as a surprise",
        "realtime/core/upstream/health.py",
        "lag < window * WARN_AT",
        "lag < window",
        f"{HEALTH}::test_a_quarter_of_the_oplog_is_a_warning_once_and_half_of_it_an_error_once",
    ),
    (
        "health: class B for ever",
        "realtime/core/upstream/stream_errors.py",
        "len(self._refused) >= MOST_REFUSALS",
        "len(self._refused) < 0",
        "tests/mongo/test_feed_patience.py",
    ),
    ("logs: every retry", "realtime/logs.py", "if now - at < REPEAT_SECONDS:", "if now < at:", "tests/test_logs.py"),
    ("logs: no reference", "realtime/logs.py", "record.reference = ", "_ = ", "tests/test_logs.py"),
    ("workers: figures of one", "realtime/commands/service.py", "    metrics.share(orders.figures)\n", "", WORKERS),
    ("workers: dead is dead", "realtime/commands/workers.py", "worker = self._start(number)\n", "return\n", WORKERS),
    (
        "workers: gauges of the dead",
        "realtime/commands/workers.py",
        "            multiprocess.mark_process_dead(worker.process.pid, self._figures)",
        "            pass",
        WORKERS,
    ),
    (
        "embedded: mongod stays dead",
        "realtime/mongo/embedded.py",
        "        self._keeper.confirm()\n",
        "",
        "tests/e2e/test_process.py::test_a_mongod_that_is_killed_comes_back_and_subscribers_miss_nothing",
    ),
    (
        "doctor: refused is ok",
        "realtime/core/upstream/diagnosis.py",
        "        if step in facts.refused:",
        "        if step in ():",
        "tests/mongo/test_examination.py::test_restricted_accounts_are_told_what_to_be_granted",
    ),
    (
        "board: an instrument that is not there",
        "docker/grafana/alerts.yaml",
        "expr: realtime_lag_seconds",
        "expr: realtime_lagging_seconds",
        "tests/e2e/test_board.py",
    ),
    ("cut at T+1", LOADING, "group.loaded(snapshot.time,", "group.loaded(snapshot.time + 1,", f"{JOIN}[7]"),
]
