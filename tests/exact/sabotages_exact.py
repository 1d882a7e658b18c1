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
GROUPS = "realtime/hub/groups.py"
QUERY, EVENTS_GROUP = "realtime/core/live/query.py", "realtime/core/live/event_group.py"
PIPE = "realtime/hub/pipe.py"
MOMENTS = "realtime/core/live/moments.py"
JOURNAL = "realtime/core/live/journal.py"
FEED = "realtime/mongo/feed.py"

STORED, KEYS = "realtime/core/bson/stored.py", "realtime/core/bson/keys.py"
READ = "tests/core/bson/test_stored.py"
WHATEVER = "tests/exact/test_stored.py"

LONG = "tests/exact/test_unsendable.py"

EXACT: list[tuple[str, str, str, str, str]] = [
    (
        "unsendable: a key has any length, in a document",
        "realtime/core/mql/updates.py",
        '        keys.check_length(document["_id"], "document._id")',
        "        pass",
        f"{LONG}::test_a_key_is_bounded_where_it_is_written",
    ),
    (
        "unsendable: a key has any length, in an upsert",
        "realtime/core/connection/requests.py",
        "        check_length(request.key)  #",
        "        pass  #",
        f"{LONG}::test_a_key_is_bounded_over_websocket",
    ),
    (
        "unsendable: a Location is as long as the key",
        "realtime/web/entrance/paths.py",
        "return path if len(path) <= PATH_BYTES else None",
        "return path",
        f"{LONG}::test_a_key_is_bounded_where_it_is_written",
    ),
    (
        "stored: the driver is believed",
        STORED,
        "        if bson.encode(document, codec_options=_QUICK) == raw:",
        "        if True:",
        READ,
    ),
    (
        "stored: a reference is the driver's own object",
        STORED,
        "return document if _REFERENCE not in raw else _opened_fields(document)",
        "return document",
        READ,
    ),
    (
        "stored: what the driver does not decode raises",
        STORED,
        "    except (BSONError, UnicodeError, ValueError, OverflowError):",
        "    except KeyError:",
        f"{WHATEVER}::test_what_the_driver_does_not_decode_is_shown_by_the_table[text that is no UTF-8]",
    ),
    (
        "stored: the last of equal names counts",
        STORED,
        "self.setdefault(name, value)",
        "self[name] = value",
        READ,
    ),
    (
        "stored: the text identifies",
        KEYS,
        "return text if _exact(key, text) else ejson.encode(_marked(key)).decode()",
        "return text",
        f"{WHATEVER}::test_two_documents_of_mongodb_were_one_row_here[text that is no UTF-8]",
    ),
    (
        "stored: a document's own key is not marked",
        KEYS,
        'return document if marked is key else {**document, "_id": marked}',
        "return document",
        f"{WHATEVER}::test_two_documents_of_mongodb_were_one_row_here[undefined and null]",
    ),
    (
        "stored: keys are written as the driver can",
        "realtime/mongo/ruled.py",
        "return RawBSONDocument(stored.encode(document))",
        "return document",
        f"{WHATEVER}::test_two_documents_of_mongodb_were_one_row_here[text that is no UTF-8]",
    ),
    (
        "stored: an opaque key is written to",
        "realtime/core/connection/requests.py",
        "        check_key(request.key)",
        "        pass",
        f"{WHATEVER}::test_two_documents_of_mongodb_were_one_row_here[undefined and null]",
    ),
    (
        "stored: the index knows null alone",
        "realtime/core/mql/demands.py",
        "frozenset((placed, order(UNDEFINED_VALUE)) if placed[0] == NULL else (placed,))",
        "frozenset((placed,))",
        "tests/core/mql/test_demands.py",
    ),
    (
        "stored: a reference cannot be put back",
        "realtime/core/mql/updates.py",
        'if name.startswith("$") and name not in REFERENCE:',
        'if name.startswith("$"):',
        f"{WHATEVER}::test_a_reference_that_was_read_could_not_be_put_back",
    ),
    (
        "cut at T-1",
        QUERY,
        "self._come_to(time)\n        if self.short",
        "self._come_to(time - 1)\n        if self.short",
        "tests/core/live/test_departures.py::test_the_snapshot_is_of_its_own_time",
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
        '"atClusterTime": to_timestamp(time)}\n        command',
        '"afterClusterTime": to_timestamp(time)}\n        command',
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
        EVENTS_GROUP,
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
        "        for entry in entries:\n            if (since",
        "        for entry in [*entries[:1], *entries]:\n            if (since",
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
        "            self.size -= entry.size\n            self.start = entry.time\n",
        "            self.size -= entry.size\n",
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
        "key = (group.channel, after, group.time,",
        "key = (group.channel, group.time,",
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
        GROUPS,
        "group = self._router.find(query) or self._open(self.dialects.spoken(query))",
        "group = self._open(self.dialects.spoken(query))",
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
        "            frames = self._frames(group, subscription, entries, after, live)",
        "            frames = self._frames(group, subscription, entries[1:], after, live)",
        f"{RETURN}[7]",
    ),
    (
        "resync not announced",
        "realtime/hub/refills.py",
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
        "self._hub.together(rest, 1 if careful else self._most(rest))",
        "self._hub.together(rest, 1 if careful else 1 << 30)",
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
        "        self._lost = True",
        "        self._lost = False",
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
        "realtime/core/live/gathered.py",
        "        if batch.lost:\n            self._after",
        "        if not batch:\n            self._after",
        f"{LOST}::test_a_transaction_too_large_to_hold_is_told_as_lost[7]",
    ),
    (
        "post-batch tokens are not kept",
        FEED,
        "        if not self._amid:\n            # Never",
        "        if reply.documents and not self._amid:\n            # Never",
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
        "self._care, self._inside = Care.NONE, self._last_token is not None",
        "self._inside = True",
        f"{POISON}::test_poison_events_amid_a_thousand_stop_nothing[shared-1000]",
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
        "realtime/mongo/steps.py",
        '{"killSessions": [dict(session.session_id)]}',
        '{"ping": 1}',
        f"{FAR}::test_whoever_stops_waiting_stops_mongodb_too",
    ),
    (
        "of too much the oldest is kept",
        "realtime/core/live/gathered.py",
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
