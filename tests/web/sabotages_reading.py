"""Rows of `make sabotage` for who reads slowly, who takes small frames, and what a client cannot read."""

from __future__ import annotations

OUTBOX, SLOW, CUTTING = (
    "realtime/core/connection/outbox.py",
    "realtime/hub/slow.py",
    "realtime/core/connection/cutting.py",
)
FRAMES, LINE, SOCKET, TELLER, LINK = (
    "realtime/web/socket/uvicorn_sink.py",
    "realtime/web/socket/line.py",
    "realtime/web/socket/socket.py",
    "realtime/hub/teller.py",
    "realtime/client/link.py",
)
BOXES, READING = "tests/core/connection/test_outbox.py", "tests/web/socket/test_reading.py"
HUB, BOUND, CLIENT = "tests/hub/test_max_frame.py", "tests/web/socket/test_max_frame.py", "tests/client/test_reading.py"
ASKS = f"{READING}::test_what_a_peer_that_reads_nothing_asks_leaves_the_memory_flat_and_is_answered_when_it_reads"
JS = "tests/js/test_client.py::test_the_client_does_as_its_tests_say[reading.test.mjs]"

READERS: list[tuple[str, str, str, str, str]] = [
    (
        "reader: what was said stays though what it was said of is dropped",
        OUTBOX,
        "if behind and isinstance(entry, _Claimed):",
        "if False and isinstance(entry, _Claimed):",
        f"{BOXES}::test_what_says_how_far_it_is_goes_with_what_was_dropped_before_it",
    ),
    (
        "reader: what was said before is withdrawn too",
        OUTBOX,
        "        behind = False\n",
        "        behind = True\n",
        f"{BOXES}::test_what_says_how_far_it_is_goes_with_what_was_dropped_before_it",
    ),
    (
        "reader: a heartbeat says that it is where it is not",
        "realtime/hub/hub.py",
        "tell(owner.sink, frame, Claim())",
        "tell(owner.sink, frame)",
        "tests/hub/test_slow.py::test_no_heartbeat_says_that_it_is_where_what_was_dropped_would_have_brought_it",
    ),
    (
        "reader: who waits is forgotten with what was dropped",
        OUTBOX,
        "            claim.again()\n",
        "            pass\n",
        "tests/hub/test_slow.py::test_what_waits_to_be_told_of_is_asked_again_where_it_is_dropped",
    ),
    (
        "reader: answers have no bound",
        OUTBOX,
        "if weight > ANSWER_BYTES:",
        "if weight > ANSWER_BYTES * 1000:",
        f"{BOXES}::test_answers_have_a_bound_of_their_own_over_which_no_more_is_asked[60]",
    ),
    (
        "reader: answers and moments share their room",
        OUTBOX,
        "while self._moments + size > self.limit:",
        "while self._answers + self._moments + size > self.limit:",
        f"{BOXES}::test_answers_take_no_room_of_the_moments_and_moments_none_of_theirs",
    ),
    (
        "reader: what is owed takes no room",
        OUTBOX,
        "self._owed += answers * OWED_BYTES",
        "self._owed += 0",
        f"{READING}::test_pings_that_wait_for_their_position_are_not_taken_without_end[our server]",
    ),
    (
        "reader: a moment that began is in the way of others",
        OUTBOX,
        "            self._moments -= moment.size\n        moment.size",
        "            self._moments -= 0\n        moment.size",
        f"{BOXES}::test_a_moment_that_began_is_finished_and_stands_in_nobodys_way",
    ),
    (
        "reader: one large moment lapses",
        OUTBOX,
        "            if not weights:\n                return True",
        "            if not weights:\n                return False",
        f"{BOXES}::test_one_moment_alone_is_taken_however_large[2]",
    ),
    (
        "reader: it reads on whatever waits",
        LINE,
        "return self.sink is not None and self.sink.crowded",
        "return False",
        f"{ASKS}[pings-our server]",
    ),
    (
        "reader: it reads on, under another server",
        SOCKET,
        "            await sink.room()\n",
        "",
        f"{ASKS}[pings-plain uvicorn]",
    ),
    (
        "reader: every ping of the protocol is answered",
        LINE,
        "            self._late_pong = pong_frame(payload)",
        "            self.transport.write(pong_frame(payload))",
        f"{READING}::test_the_protocols_own_pings_from_a_peer_that_reads_nothing_leave_the_memory_flat",
    ),
    (
        "reader: a late pong ends who reads",
        LINE,
        "if self._halted or self.taken() - self._taken_at_ping >= LEAST_BYTES:",
        "if False:",
        f"{READING}::test_a_peer_that_reads_slowly_and_answers_no_ping_in_time_is_not_closed",
    ),
    (
        "reader: one byte will do",
        FRAMES,
        "if self._line.taken() - taken >= LEAST_BYTES:",
        "if self._line.taken() - taken >= 0:",
        f"{READING}::test_a_peer_that_takes_less_than_1_kb_in_the_time_is_gone[takes a little]",
    ),
    (
        "reader: heartbeats pile up",
        "realtime/hub/hub.py",
        "            if owner.sink.crowded:\n                continue",
        "            if False:\n                continue",
        f"{READING}::test_a_peer_that_is_crowded_with_answers_is_sent_no_heartbeats_and_others_are",
    ),
    (
        "reader: the third resync does not wait",
        SLOW,
        "if len(subscription.resyncs) >= MOST_RESYNCS:",
        "if len(subscription.resyncs) >= MOST_RESYNCS * 9:",
        "tests/hub/test_slow.py::test_a_second_resync_waits_and_a_third_until_a_minute_has_passed_and_none_closes",
    ),
    (
        "reader: what came after the journal's end is told",
        SLOW,
        "                owner.sink.lapse(group.channel, after)\n                return",
        "                return",
        "tests/hub/test_slow.py::test_a_replay_that_outlives_the_journal_ends_in_the_middle_and_nothing_follows",
    ),
    (
        "max_frame: moments are not cut",
        CUTTING,
        "entries, position, min(usual, most)))",
        "entries, position, usual))",
        f"{HUB}::test_everybody_else_is_handed_the_same_bytes_and_they_are_cut_once_for_each_bound[query]",
    ),
    (
        "max_frame: snapshots are not cut",
        CUTTING,
        "protocol.split(largest, most)",
        "protocol.split(largest, group.bounds.frame_bytes)",
        f"{BOUND}::test_snapshot_moments_and_events_come_in_frames_of_that_size[50000-our server]",
    ),
    (
        "max_frame: one entry over it is sent",
        TELLER,
        "        if largest > size:",
        "        if largest < 0:",
        f"{BOUND}::test_a_document_over_it_ends_its_subscription_with_its_key_and_the_others_live_on[3145728]",
    ),
    (
        "max_frame: everybody is cut for",
        "realtime/hub/roster.py",
        "one.max_frame is not None and one.max_frame < self.usual",
        "one.max_frame is not None",
        f"{HUB}::test_everybody_else_is_handed_the_same_bytes_and_they_are_cut_once_for_each_bound[query]",
    ),
    (
        "max_frame: what comes after too large an event is told",
        "realtime/hub/resume.py",
        "                    sink.lapse(group.channel, told)\n",
        "                    yield live\n",
        f"{HUB}::test_a_replay_ends_before_an_event_over_it_and_says_nothing_later",
    ),
    (
        "max_frame: any text will do",
        CUTTING,
        "or int(given[0]) < LEAST_FRAME:",
        "or int(given[0]) < 0:",
        (
            f"{BOUND}::test_what_is_no_size_is_refused_by_an_error_of_the_protocol_and_not_to_be_tried_again"
            "[4095-our server]"
        ),
    ),
    (
        "client: one frame ends the connection",
        LINK,
        "            if not self._spoil(named_by(text), error):\n                raise",
        "            raise",
        (
            f"{CLIENT}::test_a_snapshot_that_cannot_be_read_ends_its_subscription_and_nothing_else"
            "[a document of 600 levels]"
        ),
    ),
    (
        "client: a frame that cannot be folded ends the connection",
        LINK,
        "            if not self._spoil(frame, error):\n                raise",
        "            raise",
        f"{CLIENT}::test_changes_that_cannot_be_read_end_who_is_on_their_channel_and_nobody_else[no changes]",
    ),
    (
        "client: every welcome is a proof",
        LINK,
        "        self._up, self._up_at = True, asyncio.get_running_loop().time()",
        "        self._up, self._up_at, self._attempts = True, asyncio.get_running_loop().time(), 0",
        f"{CLIENT}::test_a_frame_of_nobodys_that_cannot_be_read_ends_the_connection_and_the_delay_grows[no JSON]",
    ),
    (
        "client: it does not say what it takes",
        LINK,
        'f"{self.address}?max_frame={self.options.max_frame}"',
        "self.address",
        f"{CLIENT}::test_it_says_how_large_a_frame_it_takes",
    ),
    (
        "client: a script cannot read a frame and goes on",
        "realtime/web/static/realtime/client.js",
        "one.spoilt(error);\n    if (byId)",
        "void one;\n    if (byId)",
        JS,
    ),
]
