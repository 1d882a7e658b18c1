"""Rows of `make sabotage` for windows, throttle and rows: name, file, line, what stands there instead, test."""

from __future__ import annotations

WINDOW, QUERY = "realtime/core/live/window.py", "realtime/core/live/query.py"
TELLER = "realtime/hub/teller.py"
LOADING = "realtime/hub/loading.py"
FOLDED = "tests/core/live/test_window.py::test_the_folded_view_is_what_sorting_everything_gives"
ONE = "tests/core/live/test_window.py"
AGAIN = "tests/hub/test_windows.py"
ROWS = "tests/core/live/test_aggregate.py::test_folded_rows_are_those_made_from_scratch"
TOTALS = "tests/core/live/test_totals.py"
LIVE = "tests/exact/test_windows.py"

WINDOWS: list[tuple[str, str, str, str, str]] = [
    (
        "windows: what is beyond the edge is taken in",
        WINDOW,
        "if self._edge is not None and spot > self._edge:",
        "if self._edge is None and spot is None:",
        f"{ONE}::test_what_is_beyond_the_edge_is_not_taken_in_and_what_goes_there_is_let_go",
    ),
    (
        "windows: nobody moves up",
        WINDOW,
        '                rest.append((index, name, "enter"))\n            index -= 1',
        "                pass\n            index -= 1",
        f"{FOLDED}[one-growing]",
    ),
    (
        "windows: nobody is pushed out",
        WINDOW,
        "leaves.append(name)\n\n    def told",
        "pass\n\n    def told",
        f"{FOLDED}[one-growing]",
    ),
    (
        "windows: a hidden move is not told",
        WINDOW,
        "            if between or passed:",
        "            if passed and False:",
        f"{FOLDED}[the sort key is hidden, everything-growing]",
    ),
    (
        "windows: two that change places are not told",
        WINDOW,
        "if between or passed:",
        "if between:",
        f"{ONE}::test_two_hidden_documents_that_change_places_are_told",
    ),
    (
        "windows: every change of a hidden key is told",
        WINDOW,
        "if between or passed:",
        "if True:",
        f"{ONE}::test_changes_that_nobody_has_to_be_told_of_name_nothing",
    ),
    (
        "windows: the sort key of others is not read",
        WINDOW,
        "if (held or self._edge is not None) and",
        "if held and",
        f"{ONE}::test_what_a_window_needs_to_read",
    ),
    (
        "windows: used up and not read again",
        WINDOW,
        "len(self._order) < self.limit",
        "len(self._order) < 0",
        f"{FOLDED}[a few of many-shrinking]",
    ),
    (
        "windows: read again while spares are left",
        WINDOW,
        "len(self._order) < self.limit",
        "len(self._order) <= self.limit",
        f"{AGAIN}::test_spares_move_up_without_a_read_until_they_have_run_out",
    ),
    (
        "windows: heartbeats go on while it is read again",
        QUERY,
        "return self.told if self.pending or not self.live else max(time, self.told)",
        "return max(time, self.told)",
        f"{AGAIN}::test_while_a_window_is_read_again_its_frames_wait_and_nobody_elses",
    ),
    (
        "windows: the view is forgotten when it is read again",
        "realtime/hub/refills.py",
        "        group.reload()\n        self._holdings",
        "        group.restart()\n        self._holdings",
        f"{AGAIN}::test_spares_move_up_without_a_read_until_they_have_run_out",
    ),
    (
        "windows: used up while it is read, and left at that",
        LOADING,
        "                if not group.short:\n                    return",
        "                if group:\n                    return",
        f"{AGAIN}::test_a_window_used_up_again_while_it_is_read_is_read_once_more",
    ),
    (
        "windows: recovered like a view without order",
        QUERY,
        "return self.query.resumes and self.keeps and self.live and not self.pending",
        "return self.keeps and self.live and not self.pending",
        AGAIN,
    ),
    (
        "throttle: told at once",
        "realtime/hub/pacing.py",
        "if group not in self._last or due <= loop.time():",
        "if True:",
        f"{AGAIN}::test_a_throttled_query_is_told_at_once_and_then_after_its_time",
    ),
    (
        "throttle: who joins gets the newest",
        WINDOW,
        "        if not self._was:\n            return",
        "        if self is not None:\n            return",
        f"{AGAIN}::test_who_joins_a_throttled_query_gets_the_view_that_the_others_have",
    ),
    (
        "rows: another row's value is kept",
        "realtime/core/live/aggregate.py",
        "if held.row is part.row and _same(held, part):",
        "if held.row is part.row:",
        ROWS,
    ),
    (
        "rows: the least is not taken out",
        "realtime/core/live/aggregate.py",
        "del held[bisect_left(held, entry, key=_ordered)]",
        "held.pop()",
        ROWS,
    ),
    (
        "rows: a double that left is still there",
        "realtime/core/live/totals.py",
        "self._doubles += times * numerator",
        "self._doubles += numerator",
        f"{TOTALS}::test_what_is_taken_out_leaves_nothing_behind",
    ),
    (
        "rows: a NaN that signals is compared",
        "realtime/core/live/totals.py",
        "if value.is_nan() if isinstance(value, Decimal) else value != value:",
        "if value != value:",
        f"{TOTALS}::test_a_sum_has_the_type_and_the_digits_that_mongodb_gives_it",
    ),
    (
        "rows: doubles drift",
        "realtime/core/live/totals.py",
        "return _rounded(self._whole * _SCALE + self._doubles)",
        "return _rounded(self._whole * _SCALE + self._doubles) * (1 + 2**-52)",
        f"{TOTALS}::test_doubles_do_not_drift",
    ),
    (
        "windows: the snapshot is not sorted",
        "realtime/mongo/snapshot.py",
        'options |= {"sort": dict(sort), "allowDiskUse": True}',
        'options |= {"sort": {"_id": 1}, "allowDiskUse": True}',
        LIVE,
    ),
]

HOLDINGS, LINGERING, REREADS, ROSTER = (
    "realtime/hub/holdings.py",
    "realtime/hub/lingering.py",
    "realtime/hub/rereads.py",
    "realtime/hub/roster.py",
)
HELD = "tests/hub/test_holdings.py"
ANEW = "tests/hub/test_hub.py::test_the_same_holds_where_the_group_keeps_no_documents_and_is_read_again"
SHARED = "tests/exact/test_shared_reads.py::test_1000_at_once_cost_one_read_and_1000_more_cost_none"
BENCH = "tests/bench/test_groups.py"

GROUPS: list[tuple[str, str, str, str, str]] = [
    (
        "groups: none stays for its next subscriber",
        LINGERING,
        "        return True\n",
        "        return False\n",
        f"{HELD}::test_the_next_subscriber_costs_mongodb_nothing_and_sees_what_happened_meanwhile",
    ),
    ("groups: whoever comes back costs a read", LINGERING, "        return True\n", "        return False\n", SHARED),
    (
        "groups: those that are wanted again go all the same",
        "realtime/hub/groups.py",
        "        self.lingering.taken(group)\n        return group",
        "        return group",
        f"{HELD}::test_a_group_that_is_wanted_again_stays_beyond_its_time",
    ),
    (
        "groups: they stay for ever",
        LINGERING,
        "            if due > loop.time():",
        "            if due > 0:",
        f"{HELD}::test_a_group_goes_some_time_after_its_last_subscriber_and_the_first_to_wait_first",
    ),
    (
        "groups: an idle window is read for nobody",
        "realtime/hub/refills.py",
        "            self._close_group(group)\n            return\n        if group.live",
        "            pass\n        if group.live",
        f"{HELD}::test_nothing_is_read_for_nobody",
    ),
    (
        "groups: a group gone is counted for ever",
        HOLDINGS,
        "        self.bytes += size - before[0]",
        "        self.bytes += size",
        f"{HELD}::test_what_is_held_is_counted_to_the_byte",
    ),
    (
        "groups: the youngest goes first",
        LINGERING,
        "return next(iter(self._idle), None)",
        "return next(reversed(self._idle), None)",
        f"{HELD}::test_over_the_bound_of_all_the_longest_idle_goes_first",
    ),
    (
        "groups: nothing bounds what a group keeps",
        HOLDINGS,
        "        if group.keeps_too_much and",
        "        if False and",
        f"{HELD}::test_those_who_come_together_share_one_read_and_hear_the_same_channel",
    ),
    (
        "groups: a read for each who comes",
        REREADS,
        "reader = self._readers.get(home)\n        if reader is None:\n            reader =",
        "reader = None\n        if reader is None:\n            reader =",
        f"{HELD}::test_those_who_come_together_share_one_read_and_hear_the_same_channel",
    ),
    (
        "groups: a reader is ahead of its home",
        REREADS,
        "            await self._progress.reached(max(group.time, home.time))",
        "            await self._progress.reached(0)",
        f"{ANEW}[1000000]",
    ),
    (
        "groups: those who wait are left behind by a resync",
        "realtime/hub/refills.py",
        "        self._rereads.fold(group)  # those who wait for its snapshot wait for the new one\n",
        "",
        f"{HELD}::test_a_resync_while_it_is_read_takes_those_who_wait_along",
    ),
    (
        "groups: a digest says nothing",
        "realtime/core/live/result.py",
        "        now = encoded if self._fresh is None else _digest(encoded)",
        '        now = encoded if self._fresh is None else _digest(b"")',
        "tests/core/live/test_query.py::test_a_group_that_keeps_no_bytes_tells_the_same_changes",
    ),
    (
        "groups: an empty $in cannot be taken out",
        "realtime/core/live/index.py",
        "        for value in values:\n            table = self._equal[path]\n",
        "        table = self._equal[path]\n        for value in values:\n",
        "tests/core/live/test_index.py::test_an_empty_in_went_with_another_ones_path_and_could_not_be_taken_out",
    ),
    (
        "groups: every filter is asked",
        "realtime/core/live/router.py",
        "needs_of(group.query.filter))",
        "Needs())",
        f"{BENCH}::test_2_000_range_queries_cost_an_event_at_most_three_times_what_200_do",
    ),
    (
        "groups: an idle query is fat",
        "realtime/core/mql/filters.py",
        "@lru_cache(maxsize=1024)\n",
        "@lambda shared: lambda paths: frozenset([*paths, *map(str, range(9))])\n",
        f"{BENCH}::test_an_idle_query_of_its_own_takes_at_most_3_kb",
    ),
    (
        "groups: a channel is heard by whoever left",
        ROSTER,
        "        subscription.live = False\n        members.changed()",
        "        subscription.live = False",
        "tests/hub/test_roster.py::test_a_connection_is_in_a_groups_sinks_once_until_its_last_subscription_leaves",
    ),
]

HUB_SPEAKS, CORE_SPEAKS = "tests/hub/test_dialects.py", "tests/core/mql/test_dialect.py"
MONGO_SPEAKS = "tests/mongo/test_dialect.py"
GROUPS += [
    (
        "dialect: the answer starts nothing again",
        "realtime/hub/dialects.py",
        "            self._resync(group, REASON)",
        "            pass",
        f"{HUB_SPEAKS}::test_a_query_that_depends_on_it_is_read_again_by_the_new_meaning",
    ),
    (
        "dialect: a filter keeps its old meaning",
        "realtime/hub/dialects.py",
        "            group.query = self.spoken(group.query)",
        "            pass",
        f"{HUB_SPEAKS}::test_a_query_that_depends_on_it_is_read_again_by_the_new_meaning",
    ),
    (
        "dialect: everybody is read again",
        "realtime/hub/dialects.py",
        "for group in groups if meaning.asks(group.query) & differs]",
        "for group in groups]",
        f"{HUB_SPEAKS}::test_a_query_that_does_not_depend_on_it_is_left_alone",
    ),
    (
        "dialect: events keep their old meaning",
        "realtime/hub/dialects.py",
        "            events.query = self.spoken(events.query)",
        "            pass",
        f"{HUB_SPEAKS}::test_events_go_on_and_are_chosen_by_the_new_meaning",
    ),
    (
        "dialect: a position of another dialect is taken up",
        "realtime/hub/dialects.py",
        "        return not meaning.asks(query) or after > self.since",
        "        return True",
        f"{HUB_SPEAKS}::test_a_position_of_the_other_dialect_is_answered_with_a_snapshot",
    ),
    (
        "dialect: who comes later gets the old meaning",
        "realtime/hub/groups.py",
        "self._open(self.dialects.spoken(query))",
        "self._open(query)",
        f"{HUB_SPEAKS}::test_who_subscribes_later_is_answered_by_the_dialect_of_now",
    ),
    (
        "dialect: a switch does not wait for the batch",
        "realtime/hub/hub.py",
        "        self.progress.between_batches(lambda: self.groups.dialects.switch(dialect, time))",
        "        self.groups.dialects.switch(dialect, time)",
        f"{HUB_SPEAKS}::test_a_switch_while_a_batch_is_in_the_pipe_waits_for_its_end",
    ),
    (
        "dialect: what was chosen before is told again",
        "realtime/hub/resume.py",
        "        key = (group.channel, dialect, group",
        "        key = (group.channel, group",
        f"{HUB_SPEAKS}::test_events_from_a_position_are_chosen_by_the_meaning_of_now_whoever_asked_before",
    ),
    (
        "dialect: an answer that no row has is not told",
        "realtime/core/mql/dialect.py",
        "        if nearest.matched != answer:",
        "        if False:",
        f"{CORE_SPEAKS}::test_an_answer_that_no_row_has_is_named_and_taken_for_the_nearest",
    ),
    (
        "dialect: the farthest row is taken",
        "realtime/core/mql/dialect.py",
        "        return min(reversed(self.known)",
        "        return max(reversed(self.known)",
        f"{CORE_SPEAKS}::test_an_answer_that_no_row_has_is_named_and_taken_for_the_nearest",
    ),
    (
        "dialect: a filter does not say what it asks",
        "realtime/core/mql/filters.py",
        "        self.asks.add(field)\n",
        "",
        f"{CORE_SPEAKS}::test_a_filter_asks_the_dialect_where_the_table_says_so_and_nowhere_else",
    ),
    (
        "dialect: decimals have bits on every server",
        "realtime/core/mql/operators.py",
        "    if not (any_decimal and type(value) is Decimal128):",
        "    if type(value) is not Decimal128:",
        f"{CORE_SPEAKS}::test_the_core_answers_every_probe_as_the_server_whose_dialect_it_speaks",
    ),
    (
        "dialect: a stream is opened and nobody asks",
        "realtime/mongo/feed.py",
        "                await self._on_open(database, session)",
        "                pass",
        f"{MONGO_SPEAKS}::test_every_stream_that_is_opened_again_asks_again",
    ),
    (
        "dialect: an election is taken for an answer",
        "realtime/mongo/dialect.py",
        "        if error.code in _CUT_OFF:",
        "        if error.code is None:",
        f"{MONGO_SPEAKS}::test_a_server_that_cannot_be_asked_is_named_once_and_the_stream_goes_on",
    ),
    (
        "dialect: the log repeats itself",
        "realtime/mongo/dialect.py",
        "            if self._odd.get(name) != words:",
        "            if words:",
        f"{MONGO_SPEAKS}::test_a_server_that_cannot_be_asked_is_named_once_and_the_stream_goes_on",
    ),
    (
        "dialect: nobody asks at the start",
        "realtime/mongo/preflight.py",
        "dialect = hear(await dialects.asked(database)).dialect",
        "dialect = hear({}).dialect",
        "tests/mongo/test_preflight.py::test_a_replica_set_is_described",
    ),
    (
        "dialect: the doctor is content",
        "realtime/core/upstream/diagnosis.py",
        "        if probe.name in heard.odd:",
        "        if probe is None:",
        "tests/core/upstream/test_diagnosis.py::test_what_servers_decide_differently_is_told_as_this_one_does_it",
    ),
    (
        "dialect: an upgrade goes unnoticed",
        "realtime/feeding.py",
        "            on_open=interpreter.ask,",
        "            on_open=None,",
        "tests/exact/test_upgrade.py::test_live_queries_follow_the_primary_from_one_version_to_another_and_back",
    ),
]
