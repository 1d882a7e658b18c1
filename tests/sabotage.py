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

from tests.adversity.sabotages import FAULTS
from tests.exact.sabotages import SHOWN
from tests.hub.sabotages import GROUPS, WINDOWS
from tests.mongo.sabotages import FILTERS

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
KILLED = "tests/exact/test_history.py::test_after_kill_9_any_position_is_still_exactly_the_rest"
CROWD = "tests/exact/test_crowd.py::test_2000_clients_of_20_queries_return_within_2_s"
RETURN = "tests/exact/test_crowd.py::test_100_subscribers_of_a_service_killed_under_load_resume"
LOST = "tests/exact/test_lost.py"
POISON = "tests/exact/test_poison.py"
CUT = "tests/exact/test_client.py::test_over_500_cuts_the_client_says_what_happened_all_of_it_and_once"
FOLD_TEST, LINK_TEST, TAIL_TEST = "tests/client/test_folds.py", "tests/client/test_link.py", "tests/e2e/test_tail.py"
FOLDS, LINK, CLIENT = "realtime/client/folds.py", "realtime/client/link.py", "realtime/client/client.py"
HUB, QUERY, PIPE = "realtime/hub.py", "realtime/core/query.py", "realtime/pipe.py"
LOADING = "realtime/loading.py"
MOMENTS, JOURNAL, FEED = "realtime/core/moments.py", "realtime/core/journal.py", "realtime/mongo/feed.py"

WRITES, CURSOR, SSE = "realtime/mongo/writes.py", "realtime/core/cursor.py", "realtime/web/sse.py"
AFTER, STREAMS = "tests/web/test_after.py", "tests/web/test_sse.py"

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
    Sabotage(
        "rolling: failed is failed",
        "docs/operations.md",
        "".join(f"    server 127.0.0.1:800{number} max_fails=0;\n" for number in (1, 2, 3)),
        "".join(f"    server 127.0.0.1:800{number} max_fails=1 fail_timeout=2s;\n" for number in (1, 2, 3)),
        ROLLING,
    ),
    Sabotage(
        "rolling: nobody is recovered",
        "realtime/resume.py",
        "elif not self._bring_up(group, subscription, after):",
        "else:",
        ROLLING,
    ),
    Sabotage(
        "rolling: every client reads",
        HUB,
        "self.router.find(subscription.query) or self._open(",
        "self._open(",
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
    Sabotage("cut at T+1", LOADING, "group.loaded(snapshot.time,", "group.loaded(snapshot.time + 1,", f"{JOIN}[7]"),
    Sabotage(
        "cut at T-1",
        QUERY,
        "self.time = max(self.time, time)\n        if self.short",
        "self.time = max(self.time, time) - 1\n        if self.short",
        f"{JOIN}[7]",
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
    Sabotage(
        "forget a leave",
        "realtime/core/result.py",
        "return leaves + rest",
        "return leaves[1:] + rest",
        f"{JOIN}[1000]",
    ),
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
        '"""What its subscribers have been told."""\n        return format_position(self.epoch, self.told)',
        '"""Sabotaged."""\n        return format_position(self.epoch, self.told + 1)',
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
        "what is read back ends one moment short",
        JOURNAL,
        "for entry in entries if entry.time <= self.start]",
        "for entry in entries if entry.time <= self.start][:-1]",
        f"{KILLED}[7]",
    ),
    Sabotage(
        "what is read back begins one moment late",
        "realtime/mongo/oplog.py",
        "start=after,",
        "start=after + 1,",
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
        "what is shared is another position's",
        "realtime/resume.py",
        "(group.channel, after, group.time), lambda",
        "(group.channel, group.time), lambda",
        f"{CROWD}[1000]",
    ),
    Sabotage(
        "what is shared begins too early",
        "realtime/resume.py",
        "if not events or events[0].time <= after:",
        "if not events:",
        f"{REST}[journal-1000]",
    ),
    Sabotage(
        "everybody has a group of their own",
        HUB,
        "group = self.router.find(subscription.query) or self._open(subscription.query)",
        "group = self._open(subscription.query)",
        f"{CROWD}[7]",
    ),
    Sabotage(
        "who returns is not told the last second",
        "realtime/resume.py",
        "if touch.time > after)",
        "if touch.time > after + (1 << 32))",
        f"{RETURN}[1000]",
    ),
    Sabotage(
        "a replay begins too late",
        "realtime/resume.py",
        "journal.after(after) or []\n        self._hub.accept",
        "journal.after(after)[1:]\n        self._hub.accept",
        f"{RETURN}[7]",
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
        "what is held for T' has no bound",
        PIPE,
        "if len(batch.events) > HELD_EVENTS or asyncio.get_running_loop().time() > deadline:",
        "if len(batch.events) > 1 << 30:",
        "tests/hub/test_pipe.py::test_what_is_held_for_later_images_is_bounded_then_queries_are_read_again",
    ),
    Sabotage(
        "a large batch in one turn",
        PIPE,
        "cut(rest, self._slice)",
        "cut(rest, 1 << 30)",
        "tests/hub/test_pipe.py::test_a_large_batch_is_dispatched_in_parts_and_others_have_their_turn_between_them",
    ),
    Sabotage(
        "a large moment is cut",
        MOMENTS,
        "    if not end:\n",
        "    end = end or most\n    if not end:\n",
        "tests/hub/test_pipe.py::test_a_large_batch_is_dispatched_in_parts_and_others_have_their_turn_between_them",
    ),
    Sabotage(
        "lost history is not told",
        FEED,
        "self._token, self._last_token, self._lost = None, None, True",
        "self._token, self._last_token, self._lost = None, None, False",
        f"{LOST}::test_a_frozen_service_that_lost_the_oplog_says_so_once[7]",
    ),
    Sabotage(
        "a transaction too large to hold is left out",
        MOMENTS,
        "return Batch(tuple(ready), time, lost)",
        "return Batch(tuple(ready), time, False)",
        f"{LOST}::test_a_transaction_too_large_to_hold_is_told_as_lost[1000]",
    ),
    Sabotage(
        "one too large to hold is left out of a replay",
        "realtime/mongo/oplog.py",
        "                if batch.lost:",
        "                if not batch:",
        f"{LOST}::test_a_transaction_too_large_to_hold_is_told_as_lost[7]",
    ),
    Sabotage(
        "post-batch tokens are not kept",
        FEED,
        "        if not self._assembler.holding:\n            # Never",
        "        if reply.documents and not self._assembler.holding:\n            # Never",
        f"{LOST}::test_a_quiet_collection_survives_a_neighbour_that_turns_the_oplog_over[7]",
    ),
    Sabotage(
        "one ancient position fails for all",
        "realtime/history.py",
        "(time == oldest or not",
        "(time >= oldest or not",
        f"{LOST}::test_one_ancient_position_spoils_nobody_elses_history[7]",
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
        f"{POISON}::test_25_bad_positions_get_25_clear_answers_and_none_reaches_mongodb[7]",
    ),
    Sabotage("client: events without position", FOLDS, "if self.received is None:", "if self.received:", CUT),
    Sabotage(
        "client: a moment's position with its first event",
        FOLDS,
        "event.position if following.position != event.position else None",
        "event.position",
        CUT,
    ),
    Sabotage(
        "client: one change of a moment lost", FOLDS, "self.rows.apply(changes)", "self.rows.apply(changes[1:])", CUT
    ),
    Sabotage(
        "client: goes on from where it is not",
        FOLDS,
        '"position": self.position, "query"',
        '"position": self.position[:-1] + "F", "query"',
        CUT,
    ),
    Sabotage("client: inserts are not repeated", CLIENT, "ask(frame, repeat=True)", "ask(frame, repeat=False)", CUT),
    Sabotage("client: updates are repeated", CLIENT, "ask(frame, repeat=False)", "ask(frame, repeat=True)", CUT),
    Sabotage(
        "client: its own duplicate is an error",
        CLIENT,
        "or sent < 2 or",
        "or sent or",
        f"{LINK_TEST}::test_an_insert_is_sent_again_under_the_same_key_and_its_own_duplicate_is_success",
    ),
    Sabotage(
        "client: half a moment is kept",
        FOLDS,
        "        self._parts, self._sizes = {True: [], False: []}, {True: 0, False: 0}\n\n    def reach",
        "        self._sizes = {True: 0, False: 0}\n\n    def reach",
        f"{FOLD_TEST}::test_an_unfinished_moment_is_forgotten_with_its_connection_and_with_a_resync",
    ),
    Sabotage(
        "client: a channel's frames before live",
        FOLDS,
        'self.live_from is None or frame["position"] <= self.live_from',
        "self.live_from is not None and False",
        f"{FOLD_TEST}::test_frames_of_the_channel_before_live_and_at_its_position_concern_others",
    ),
    Sabotage(
        "client: a new snapshot shows without a difference",
        FOLDS,
        "changes = () if self._seen is None else self.rows.changes_to(arrived)",
        "changes = ()",
        f"{FOLD_TEST}::test_what_cannot_be_taken_up_stays_as_it_was_until_the_new_snapshot_is_whole",
    ),
    Sabotage(
        "client: no bound for a slow consumer",
        FOLDS,
        'return "pause" if self.bytes > self.bound else None',
        "return None",
        f"{LINK_TEST}::test_a_slow_consumer_is_unsubscribed_and_goes_on_from_where_it_was",
    ),
    Sabotage(
        "client: comes back after any close",
        LINK,
        "return final_close(code, reason)",
        "return None",
        f"{LINK_TEST}::test_a_final_close_ends_everything_with_its_error",
    ),
    Sabotage(
        "client: silence is borne",
        LINK,
        "return 2 * self._heartbeat + 5",
        "return 2 * self._heartbeat + 500",
        f"{LINK_TEST}::test_a_silent_connection_is_dropped_after_two_heartbeats_and_five_seconds",
    ),
    Sabotage(
        "client: retry_after is not heard",
        LINK,
        'self._least_delay = float(frame.get("retry_after") or 0)',
        "self._least_delay = 0.0",
        f"{LINK_TEST}::test_closing_says_how_long_to_wait_at_least",
    ),
    Sabotage(
        "tail: says to go on from where it began",
        "realtime/tail.py",
        "self.position = lambda: events.position",
        "self.position = lambda: asked.position",
        f"{TAIL_TEST}::test_interrupted_it_prints_the_command_that_goes_on_exactly_there",
    ),
    Sabotage(
        "tail: begins anew after a kill",
        FOLDS,
        'return {**fields, "position": self.received}',
        "return fields",
        f"{TAIL_TEST}::test_a_service_that_is_killed_and_started_again_costs_tail_nothing",
    ),
    Sabotage(
        "bulk insert without its transaction",
        WRITES,
        "result = await transact(session, write, self._gate.seconds)\n            return Inserted",
        "result = await write(session)\n            return Inserted",
        "tests/web/test_bulk.py::test_a_list_is_one_moment_at_its_position",
    ),
    Sabotage(
        "an aborted transaction is not run again",
        "realtime/mongo/transactions.py",
        'if not error.has_error_label("TransientTransactionError") or',
        "if True or",
        "tests/web/test_bulk.py::test_concurrent_lists_with_a_key_in_common_are_each_whole_or_refused",
    ),
    Sabotage(
        "a commit without an answer is not asked for again",
        "realtime/mongo/transactions.py",
        "if late or not",
        "if True or not",
        "tests/web/test_bulk.py::test_a_commit_whose_answer_was_lost_is_asked_for_again",
    ),
    Sabotage(
        "If-Match is decided before the transaction of the write",
        WRITES,
        "result = await self._conditional(session, collection, key, write, terms)\n            made",
        "await self._check(None, collection, key, terms)\n            result = await write(session)\n            made",
        "tests/web/test_etags.py::test_50_parallel_puts_with_one_tag_are_one_200_and_49_times_412",
    ),
    Sabotage(
        "a weak tag matches",
        "realtime/web/etags.py",
        "or tag in wanted",
        "or tag in map(_strong, wanted)",
        "tests/web/test_etags.py::test_another_tag_and_a_weak_one_write_nothing",
    ),
    Sabotage(
        "after by $gt, which sees one type alone",
        CURSOR,
        '{path: {"$not": {"$lte" if direction == 1 else "$gte": value}}}',
        '{path: {"$gt" if direction == 1 else "$lt": value}}',
        f"{AFTER}::test_a_sort_key_of_another_type_anywhere_is_refused_and_never_left_out",
    ),
    Sabotage(
        "after by an expression that no index serves",
        CURSOR,
        '["$_id", {"$literal": value}]',
        '[{"$ifNull": ["$_id", None]}, {"$literal": value}]',
        f"{AFTER}::test_a_page_10_000_deep_examines_at_most_limit_and_one_key",
    ),
    Sabotage(
        "ties are not broken by the document's key",
        CURSOR,
        "for place, (path, direction) in enumerate(keys):",
        "for place, (path, direction) in enumerate(keys[:-1] or keys):",
        f"{AFTER}::test_the_pages_together_are_the_whole_result_in_order",
    ),
    Sabotage(
        "NDJSON collects before it writes",
        "realtime/web/ndjson.py",
        'await write(b"".join(ejson.encode(document) + b"\\n" for document in documents))',
        'self.body += b"".join(ejson.encode(document) + b"\\n" for document in documents)',
        "tests/web/test_ndjson.py::test_a_million_documents_leave_the_process_below_30_mb_more",
    ),
    Sabotage(
        "the cursor of a reader that is gone lives on",
        "realtime/mongo/stream.py",
        'await self._client.admin.command({"killSessions": [session.session_id]})',
        "pass",
        "tests/web/test_ndjson.py::test_a_reader_that_is_gone_takes_its_cursor_along_at_once",
    ),
    Sabotage(
        "a heartbeat before live has an id",
        SSE,
        '(kind == b"heartbeat" and self._live)',
        'kind == b"heartbeat"',
        f"{STREAMS}::test_the_id_of_every_kind_of_frame",
    ),
    Sabotage(
        "Last-Event-ID is not taken up",
        SSE,
        "if position is None:\n        return opened()",
        "if position is None or position:\n        return opened()",
        "tests/exact/test_sse.py::test_after_kill_9_last_event_id_brings_exactly_the_rest",
    ),
    Sabotage(
        "a stream that is gone keeps its subscription",
        SSE,
        "self._live.hub.drop(self)",
        "pass",
        f"{STREAMS}::test_a_client_that_is_gone_leaves_nothing",
    ),
    Sabotage(
        "event streams are not told of the end",
        "realtime/web/server.py",
        "self._drain()",
        "pass",
        f"{STREAMS}::test_the_services_end_ends_the_streams_at_once_and_they_may_resume",
    ),
    *(Sabotage(*row) for row in FILTERS),
    *(Sabotage(*row) for row in WINDOWS),
    *(Sabotage(*row) for row in SHOWN),
    *(Sabotage(*row) for row in GROUPS),
    *(Sabotage(*row) for row in FAULTS),
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
