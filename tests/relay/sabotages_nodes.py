"""Rows of `make sabotage` for nodes that follow a relay: name, file, line, what stands there instead, test."""

from __future__ import annotations

FEED, FOLLOWER = "realtime/nats/feed.py", "realtime/nats/follower.py"
READING, HISTORY = "realtime/nats/reading.py", "realtime/nats/history.py"
NODE = "realtime/nats/node.py"
FED, PAST, JOINS = "tests/relay/test_feed.py", "tests/relay/test_history.py", "tests/relay/test_joining.py"
WHOLE = "tests/relay/test_nodes.py"

NODES: list[tuple[str, str, str, str, str]] = [
    (
        "nodes: what lies before its time comes again",
        FEED,
        " if event.time > self._time)",
        ")",
        f"{FED}::test_of_a_batch_that_began_before_its_time_it_hands_over_the_rest",
    ),
    (
        "nodes: images are thrown away",
        FEED,
        "            if asked is None or name in asked:",
        "            if asked is None:",
        f"{FED}::test_images_come_with_their_batch_by_identity",
    ),
    (
        "nodes: everything is decoded",
        FEED,
        "Decoder(identity.database, interest)",
        "Decoder(identity.database)",
        f"{FED}::test_what_nobody_asks_for_is_not_decoded",
    ),
    (
        "nodes: that something was lost is not told",
        FEED,
        "return Batch(tuple(events), message.time, message.lost, self._images(message))",
        "return Batch(tuple(events), message.time, False, self._images(message))",
        f"{FED}::test_that_a_relay_lost_something_is_told_once",
    ),
    (
        "nodes: a stream that begins later is taken for whole",
        READING,
        "before is not None and before.sequence == start - 1 and before.head.time <= time",
        "True",
        f"{FED}::test_what_was_trimmed_before_it_came_is_read_from_the_oplog",
    ),
    (
        "nodes: the oplog is not asked before it is lost",
        FEED,
        "        past = await self._read_back(until)",
        "        past: Past | None = None",
        f"{FED}::test_a_stream_that_is_removed_and_made_anew_is_followed_and_the_rest_is_the_oplogs",
    ),
    (
        "nodes: what is in neither is passed over in silence",
        FEED,
        "yield Batch((), until, lost=True)",
        "yield Batch((), until)",
        f"{FED}::test_what_is_in_neither_is_lost_and_said_once",
    ),
    (
        "nodes: the number of a message is not looked at",
        FOLLOWER,
        "        if stored.sequence != self._next:",
        "        if stored.sequence < self._next:",
        f"{FED}::test_what_is_trimmed_while_it_stands_still_is_read_from_the_oplog",
    ),
    (
        "nodes: a frozen server counts as quiet",
        FOLLOWER,
        "                if not self._news.is_set():",
        "                if self._over is not None:",
        f"{FED}::test_a_server_that_is_frozen_is_noticed_within_seconds",
    ),
    (
        "nodes: more is pulled whatever waits",
        FOLLOWER,
        "if self._left or self._bytes >= PULL_BYTES or self._over is not None:",
        "if self._left or self._over is not None:",
        f"{FED}::test_what_waits_is_bounded_and_the_rest_comes_when_there_is_room",
    ),
    (
        "nodes: a relay that is silent is not said",
        FEED,
        "        if silent >= DEGRADED_AFTER_SECONDS + 1:",
        "        if silent >= 1e9:",
        f"{FED}::test_a_relay_that_publishes_nothing_is_said",
    ),
    (
        "nodes: another one's stream is followed",
        FEED,
        "if (refused := self._identity.refuses(state.metadata)) is not None:",
        "if (refused := self._identity.refuses(self._identity.metadata)) is not None:",
        f"{FED}::test_another_ones_stream_is_not_followed",
    ),
    (
        "nodes: what cannot be decoded is never marked",
        FEED,
        "self._time, self._marking, self._taken = time, step_over, None",
        "self._time, self._marking, self._taken = time, False, None",
        f"{FED}::test_what_cannot_be_decoded_is_raised_and_when_it_is_stepped_over_marked",
    ),
    (
        "nodes: history is the oplog's alone",
        HISTORY,
        "        return past or await self._oplog.read",
        "        return await self._oplog.read",
        f"{PAST}::test_what_the_stream_has_is_not_asked_of_the_oplog",
    ),
    (
        "nodes: history goes on across what a relay lost",
        HISTORY,
        "                if batch.lost and newest_bytes is None:",
        "                whole = True\n                if batch.lost and newest_bytes == 0:",
        f"{PAST}::test_across_what_a_relay_lost_it_is_from_nowhere",
    ),
    (
        "nodes: a stream that ends too early is enough",
        HISTORY,
        "                    return gathered.past\n        return None",
        "                    return gathered.past\n        return gathered.past",
        f"{PAST}::test_where_the_stream_ends_before_it_is_the_oplogs",
    ),
    (
        "nodes: history has no bound",
        HISTORY,
        "                if not whole:\n                    raise",
        "                if not wanted:\n                    raise",
        f"{PAST}::test_more_than_its_bytes_is_refused_and_with_newest_bytes_the_older_is_let_go",
    ),
    (
        "nodes: begins at MongoDB's time, whatever the stream has",
        NODE,
        "min(now, newest or now)",
        "now",
        f"{JOINS}::test_it_begins_at_the_newest_message_and_never_after_mongodbs_time",
    ),
    (
        "nodes: does not wait for a relay",
        NODE,
        "            if loop.time() >= deadline:",
        "            if loop.time() >= 0:",
        f"{JOINS}::test_it_waits_for_nats_and_for_the_stream",
    ),
    (
        "nodes: another one's stream is joined",
        NODE,
        "        raise ConfigurationError(refused)",
        "        log.info(refused)",
        f"{JOINS}::test_another_ones_stream_is_refused_at_once",
    ),
    (
        "nodes: what is needed is said once",
        NODE,
        " or loop.time() - said[1] >= needs.SAY_SECONDS",
        "",
        f"{JOINS}::test_what_it_needs_is_said_at_once_when_it_changes_and_again_and_again",
    ),
    (
        "nodes: nobody says what is needed",
        "realtime/feeding.py",
        "(self._node.say_needs(hub.router.completed),)",
        "()",
        f"{WHOLE}::test_every_node_tells_what_happened_and_reads_no_documents_of_updates",
    ),
    (
        "nodes: history does not know the stream",
        "realtime/feeding.py",
        "        return History(journal, self._node.history(oplog, max_bytes=settings.catch_up_bytes))",
        "        return History(journal, oplog)",
        f"{WHOLE}::test_what_clients_missed_before_a_start_is_the_streams",
    ),
    (
        "nodes: a crowd after a start is not spread",
        "realtime/mongo/faults.py",
        "        if self._snapshots.locked() and now < self._first_until:",
        "        if False:",
        "tests/mongo/test_gate.py::test_of_a_crowd_those_without_a_place_are_spread",
    ),
]
