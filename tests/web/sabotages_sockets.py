"""Rows of `make sabotage` for connections: frames, turns, pings, and what is left when one has ended."""

from __future__ import annotations

FRAMES, TURNS, LINE, PULSE = (
    "realtime/core/connection/frames.py",
    "realtime/web/socket/turns.py",
    "realtime/web/socket/line.py",
    "realtime/web/socket/pulse.py",
)
HANDSHAKE, SOCKET, SINK = (
    "realtime/web/socket/handshake.py",
    "realtime/web/socket/socket.py",
    "realtime/web/socket/uvicorn_sink.py",
)
READER, VECTORS = "tests/core/connection/test_frames.py", "tests/core/connection/test_frames_vectors.py"
LINES, WHOLE, PULSES = (
    "tests/web/socket/test_line.py",
    "tests/web/socket/test_connections.py",
    "tests/web/socket/test_pulse.py",
)
GATE = "tests/web/socket/test_gate.py"
FREED = f"{WHOLE}::test_what_ends_is_freed_in_the_same_turn_without_the_collector"

SOCKETS: list[tuple[str, str, str, str, str]] = [
    (
        "frames: fragments without end",
        FRAMES,
        "if self._fragments > MOST_FRAGMENTS:",
        "if False:",
        f"{READER}::test_fragments_are_bounded_in_count_although_they_hold_nothing",
    ),
    (
        "frames: reserved bits are nobody's business",
        FRAMES,
        "if first & _RESERVED or opcode not in _OPCODES",
        "if opcode not in _OPCODES",
        f"{VECTORS}::test_a_case_is_said_to_be_what_it_is[3.1]",
    ),
    (
        "frames: a message has no bound in its parts",
        FRAMES,
        "held = 0 if self._message is None else len(self._message)",
        "held = 0",
        f"{READER}::test_a_message_over_the_limit_is_refused_by_its_head_alone",
    ),
    (
        "frames: any close code",
        FRAMES,
        "not in _CLOSE_CODES:",
        "< 1000:",
        f"{VECTORS}::test_a_case_is_said_to_be_what_it_is[7.9.3]",
    ),
    (
        "frames: what was read is kept",
        FRAMES,
        "        if self._at:\n            self._buffer",
        "        if False:\n            self._buffer",
        f"{READER}::test_frames_wait_until_they_are_pulled_and_what_was_pulled_is_not_held",
    ),
    (
        "sockets: a flood is answered in one turn",
        TURNS,
        "FRAMES, SECONDS = 32, 0.002",
        "FRAMES, SECONDS = 32_000, 0.002",
        f"{LINES}::test_a_flood_of_pings_is_answered_32_in_a_turn_and_nothing_is_read_meanwhile",
    ),
    (
        "sockets: pings have no rate",
        LINE,
        "            case Ping():\n                self._charge()\n",
        "            case Ping():\n",
        f"{LINES}::test_what_nobody_can_refuse_has_a_rate_too_and_over_it_nothing_more_is_read",
    ),
    (
        "sockets: pongs have no rate",
        LINE,
        "            case Pong():\n                self._charge()\n",
        "            case Pong():\n",
        f"{LINES}::test_what_nobody_can_refuse_has_a_rate_too_and_over_it_nothing_more_is_read",
    ),
    (
        "sockets: parts of messages have no rate",
        LINE,
        "            case Fragment():\n                self._charge()\n",
        "            case Fragment():\n                pass\n",
        f"{LINES}::test_what_nobody_can_refuse_has_a_rate_too_and_over_it_nothing_more_is_read",
    ),
    (
        "sockets: who has rested is forgotten",
        LINE,
        "        self._queued = False\n        self._wait_for_a_turn()",
        "        self._wait_for_a_turn()",
        f"{LINES}::test_a_connection_that_has_rested_goes_on_as_fast_as_its_rate",
    ),
    (
        "sockets: a rest holds a connection that was lost",
        LINE,
        "for timer in (self._closer, self._rest):",
        "for timer in (self._closer,):",
        f"{LINES}::test_nothing_holds_a_connection_that_was_lost",
    ),
    (
        "sockets: binary frames have no rate",
        SOCKET,
        "if self._leaving is None and not self._too_fast(None):",
        "if self._leaving is None:",
        f"{GATE}::test_a_frame_over_the_rate_is_refused_unread_whatever_it_is",
    ),
    (
        "sockets: what is refused for its rate is read",
        SOCKET,
        "legible.id_at_an_end(text)",
        "protocol.id_of(text)",
        f"{GATE}::test_a_frame_over_the_rate_is_refused_unread_whatever_it_is",
    ),
    (
        "sockets: whatever nobody sends is taken in",
        SOCKET,
        "        line.take_up_to(self._session.largest)\n",
        "",
        f"{GATE}::test_of_nobody_large_frames_are_not_taken_but_after_a_token_they_are[False]",
    ),
    (
        "sockets: under another server whatever nobody sends is read",
        SOCKET,
        "> self._session.largest:",
        "> self._live.limits.frame_bytes:",
        f"{GATE}::test_of_nobody_large_frames_are_not_taken_but_after_a_token_they_are[True]",
    ),
    (
        "sockets: what follows a token is bounded as before",
        SOCKET,
        "                    self._own.take_up_to(self._session.largest)\n",
        "                    pass\n",
        f"{GATE}::test_of_nobody_large_frames_are_not_taken_but_after_a_token_they_are[False]",
    ),
    (
        "sockets: one connection has all of a turn",
        LINE,
        "if spent >= SECONDS or self._crowded:",
        "if self._crowded:",
        f"{LINES}::test_a_connection_that_takes_long_has_two_milliseconds_of_a_turn",
    ),
    (
        "sockets: everybody has a turn at once",
        TURNS,
        "            if self._spent >= ALL_SECONDS:\n                break",
        "",
        f"{LINES}::test_all_together_have_ten_milliseconds_of_a_turn_and_everybody_gets_some",
    ),
    (
        "sockets: handshakes take no turns",
        HANDSHAKE,
        "        if self._lines.turns.left:\n",
        "        if True:\n",
        f"{WHOLE}::test_handshakes_take_turns",
    ),
    (
        "sockets: the sink holds its connection",
        SINK,
        "self._outbox, self._listener = None, NOBODY",
        "self._outbox = None",
        FREED,
    ),
    (
        "sockets: the task stays",
        SOCKET,
        "    if keeps:\n",
        "    if True:\n",
        f"{WHOLE}::test_an_idle_subscribed_connection_has_no_task_and_few_objects_that_the_collector_looks_at",
    ),
    (
        "sockets: a dependency ends before its connection",
        HANDSHAKE,
        'if any(getattr(stack, "_exit_callbacks", True) for stack in stacks):',
        "if not stacks:",
        f"{WHOLE}::test_a_dependency_with_yield_ends_with_the_connection",
    ),
    (
        "sockets: middleware hears of an end that is none",
        HANDSHAKE,
        "return application is not here or bool(cast(Starlette, here).user_middleware)",
        "return application is not here",
        f"{WHOLE}::test_an_applications_middleware_hears_the_end_when_it_is_the_end",
    ),
    (
        "sockets: the kernel ends who reads slowly",
        LINE,
        "        kernel.wait_for_slow_readers(self.transport)\n",
        "",
        f"{WHOLE}::test_the_kernels_timeout_ends_no_websocket_that_reads_slowly_and_others_as_before",
    ),
    (
        "sockets: the server ends what it handed over",
        HANDSHAKE,
        "        self.transport = _Nowhere()\n",
        "",
        f"{WHOLE}::test_uvicorn_itself_neither_ends_a_connection_without_a_task_nor_forgets_it_at_its_own_end",
    ),
    (
        "sockets: nobody is pinged again",
        PULSE,
        "        if self._asked is not None and self._asked.remove(one):\n            self.add(one)",
        "        if self._asked is not None:\n            self._asked.remove(one)",
        f"{PULSES}::test_everybody_is_pinged_again_after_each_answer_however_many_there_are",
    ),
]
