"""Rows of `make sabotage` for what is exact: joins, moments, images, resume, lost history."""

from __future__ import annotations

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
FAR = "tests/mongo/test_far_behind.py"
POISON = "tests/exact/test_poison.py"
HUB = "realtime/hub/hub.py"
QUERY = "realtime/core/live/query.py"
PIPE = "realtime/hub/pipe.py"
MOMENTS = "realtime/core/live/moments.py"
JOURNAL = "realtime/core/live/journal.py"
FEED = "realtime/mongo/feed.py"

EXACT: list[tuple[str, str, str, str, str]] = [
    (
        "cut at T-1",
        QUERY,
        "self.time = max(self.time, time)\n        if self.short",
        "self.time = max(self.time, time) - 1\n        if self.short",
        f"{JOIN}[7]",
    ),
    (
        "what came while loading is forgotten",
        QUERY,
        "if touch.time > time}",
        "if touch.time > time + (1 << 32)}",
        f"{SLOW}[1000]",
    ),
    ("skip images", PIPE, "        return images if all(", "        return {} if all(", f"{JOIN}[1000]"),
    (
        "images one step late",
        "realtime/mongo/snapshot.py",
        '"atClusterTime": to_timestamp(time)}',
        '"afterClusterTime": to_timestamp(time)}',
        f"{JOIN}[7]",
    ),
    (
        "forget a leave",
        "realtime/core/live/result.py",
        "return leaves + rest",
        "return leaves[1:] + rest",
        f"{JOIN}[1000]",
    ),
    (
        "swap two events",
        QUERY,
        "        return entries\n\n    def _in_order",
        "        return entries[::-1]\n\n    def _in_order",
        f"{JOIN}[1000]",
    ),
    (
        "drop a batch's end",
        MOMENTS,
        "return Batch(tuple(ready), time, lost)",
        "return Batch(tuple(ready[:-1] or ready), time, lost)",
        f"{JOIN}[7]",
    ),
    (
        "reuse a channel",
        "realtime/core/live/router.py",
        "self._last_channel += 1",
        "self._last_channel = 1",
        f"{JOIN}[1000]",
    ),
    (
        "replay one moment twice",
        "realtime/hub/resume.py",
        "        for entry in entries:\n            events",
        "        for entry in [*entries[:1], *entries]:\n            events",
        f"{REST}[journal-1000]",
    ),
    ("hold-back off", FEED, "complete=complete,", "complete=True,", f"{SIZES}[7]"),
    (
        "position +1",
        QUERY,
        '"""What its subscribers have been told."""\n        return format_position(self.epoch, self.told)',
        '"""Sabotaged."""\n        return format_position(self.epoch, self.told + 1)',
        f"{JOIN}[1000]",
    ),
    ("journal off by one", JOURNAL, "if entry.time > time]", "if entry.time > time][1:]", f"{REST}[journal-1000]"),
    (
        "journal forgets what it was trimmed to",
        JOURNAL,
        "            self.start = entry.time\n\n    def _clear",
        "            pass\n\n    def _clear",
        f"{REST}[oplog-1000]",
    ),
    (
        "what is read back ends one moment short",
        JOURNAL,
        "for entry in entries if entry.time <= self.start]",
        "for entry in entries if entry.time <= self.start][:-1]",
        f"{KILLED}[7]",
    ),
    (
        "what is read back begins one moment late",
        "realtime/mongo/oplog.py",
        "start=after,",
        "start=after + 1,",
        f"{REST}[oplog-1000]",
    ),
    (
        "catch-up ends too early",
        "realtime/mongo/oplog.py",
        "if batch.time >= until or",
        "if batch.events or",
        f"{REST}[oplog-7]",
    ),
    (
        "what is shared is another position's",
        "realtime/hub/resume.py",
        "(group.channel, after, group.time), lambda",
        "(group.channel, group.time), lambda",
        f"{CROWD}[1000]",
    ),
    (
        "what is shared begins too early",
        "realtime/hub/resume.py",
        "if not events or events[0].time <= after:",
        "if not events:",
        f"{REST}[journal-1000]",
    ),
    (
        "everybody has a group of their own",
        HUB,
        "group = self.router.find(subscription.query) or self._open(subscription.query)",
        "group = self._open(subscription.query)",
        f"{CROWD}[7]",
    ),
    (
        "who returns is not told the last second",
        "realtime/hub/resume.py",
        "if touch.time > after)",
        "if touch.time > after + (1 << 32))",
        f"{RETURN}[1000]",
    ),
    (
        "a replay begins too late",
        "realtime/hub/resume.py",
        "journal.after(after) or []\n        self._hub.accept",
        "journal.after(after)[1:]\n        self._hub.accept",
        f"{RETURN}[7]",
    ),
    (
        "resync not announced",
        HUB,
        "protocol.Resync(id=subscription.id, reason=reason).encode()",
        'b\'{"type":"nothing"}\'',
        f"{TOLD}[1000]",
    ),
    (
        "a rename onto is not seen",
        MOMENTS,
        "(event.collection, event.to) if name",
        "(event.collection,) if name",
        f"{TOLD}[1000]",
    ),
    (
        "a void read is taken",
        PIPE,
        "if void and not batch.lost and not self._closing:",
        "if batch.lost:",
        f"{LATER}[refused-updates-7]",
    ),
    (
        "T' is taken for T",
        PIPE,
        "later = snapshot.unless_changed_by or snapshot.time",
        "later = time",
        f"{LATER}[refused-updates-7]",
    ),
    (
        "what is held for T' has no bound",
        PIPE,
        "if len(batch.events) > HELD_EVENTS or asyncio.get_running_loop().time() > deadline:",
        "if len(batch.events) > 1 << 30:",
        "tests/hub/test_pipe.py::test_what_is_held_for_later_images_is_bounded_then_queries_are_read_again",
    ),
    (
        "a large batch in one turn",
        PIPE,
        "cut(rest, self._slice)",
        "cut(rest, 1 << 30)",
        "tests/hub/test_pipe.py::test_a_large_batch_is_dispatched_in_parts_and_others_have_their_turn_between_them",
    ),
    (
        "a large moment is cut",
        MOMENTS,
        "    if not end:\n",
        "    end = end or most\n    if not end:\n",
        "tests/hub/test_pipe.py::test_a_large_batch_is_dispatched_in_parts_and_others_have_their_turn_between_them",
    ),
    (
        "lost history is not told",
        FEED,
        "self._token, self._last_token, self._lost = None, None, True",
        "self._token, self._last_token, self._lost = None, None, False",
        f"{LOST}::test_a_frozen_service_that_lost_the_oplog_says_so_once[7]",
    ),
    (
        "a transaction too large to hold is left out",
        MOMENTS,
        "return Batch(tuple(ready), time, lost)",
        "return Batch(tuple(ready), time, False)",
        f"{LOST}::test_a_transaction_too_large_to_hold_is_told_as_lost[1000]",
    ),
    (
        "one too large to hold is left out of a replay",
        "realtime/mongo/oplog.py",
        "        if batch.lost:\n            self._after",
        "        if not batch:\n            self._after",
        f"{LOST}::test_a_transaction_too_large_to_hold_is_told_as_lost[7]",
    ),
    (
        "post-batch tokens are not kept",
        FEED,
        "        if not self._assembler.holding:\n            # Never",
        "        if reply.documents and not self._assembler.holding:\n            # Never",
        f"{LOST}::test_a_quiet_collection_survives_a_neighbour_that_turns_the_oplog_over[7]",
    ),
    (
        "one ancient position fails for all",
        "realtime/hub/history.py",
        "and time > read\n",
        "and time < read\n",
        f"{LOST}::test_one_ancient_position_spoils_nobody_elses_history[7]",
    ),
    (
        "images never come again",
        FEED,
        "self._care, self._inside = Care.NONE, True",
        "self._inside = True",
        f"{POISON}::test_poison_events_amid_a_thousand_stop_nothing[1000]",
    ),
    (
        "a foreign epoch is taken",
        "realtime/core/live/events.py",
        "if match[1] != epoch:",
        "if not match[1]:",
        f"{POISON}::test_25_bad_positions_get_25_clear_answers_and_none_reaches_mongodb[7]",
    ),
    (
        "a query waits for history as long as it takes",
        "realtime/hub/resume.py",
        "within=patience",
        "within=None",
        "tests/web/socket/test_resume.py::test_a_query_takes_a_snapshot_where_the_oplog_takes_long_and_events_wait",
    ),
    (
        "who reads back holds the whole journal",
        JOURNAL,
        "if needed is not None and entry.time > needed:",
        "if needed is not None:",
        "tests/core/live/test_journal.py::test_what_nobody_waits_for_is_forgotten_although_somebody_waits",
    ),
    (
        "what was read back is joined to what it does not touch",
        "realtime/hub/history.py",
        "min(last, until), self._now",
        "last + 1000, self._now",
        "tests/hub/test_history.py::test_what_comes_while_history_is_read_back_keeps_to_the_journals_bounds",
    ),
    (
        "a step that MongoDB takes long for is tried for ever",
        FEED,
        "self._looks_far or isinstance(error, NetworkTimeout)",
        "self._looks_far",
        f"{FAR}::test_a_feed_that_is_far_behind_comes_back_although_a_step_outlasts_its_patience",
    ),
    (
        "MongoDB looks on for nobody",
        FEED,
        '{"killSessions": [dict(session.session_id)]}',
        '{"ping": 1}',
        f"{FAR}::test_whoever_stops_waiting_stops_mongodb_too",
    ),
    (
        "of too much the oldest is kept",
        "realtime/mongo/oplog.py",
        "while self._size > self._most and self._batches:",
        "while False:",
        f"{FAR}::test_of_more_than_is_asked_for_the_newest_is_kept",
    ),
    (
        "it is read on for those who gave up",
        "realtime/hub/history.py",
        "if not wait.count and self._waiting.get(time) is wait:",
        "if wait.count < 0:",
        "tests/hub/test_history.py::test_what_nobody_wants_any_more_is_read_no_further",
    ),
    (
        "one read for each whose history is gone",
        "realtime/hub/history.py",
        "if failures > 1 else 0",
        "if failures < 0 else 0",
        "tests/hub/test_history.py::test_many_whose_history_is_gone_keep_nobody_waiting_whose_is_there",
    ),
]
