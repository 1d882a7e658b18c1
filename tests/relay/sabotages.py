"""Rows of `make sabotage` for the relay: name, file, line, what stands there instead, test."""

from __future__ import annotations

MESSAGE, IDENTITY = "realtime/core/relay/message.py", "realtime/core/relay/identity.py"
CUTTING, TELLING = "realtime/core/relay/cutting.py", "realtime/core/relay/telling.py"
PUBLISHER, STREAM = "realtime/nats/publisher.py", "realtime/nats/stream.py"
RELAY, TERM = "realtime/relay/relay.py", "realtime/relay/term.py"
MESSAGES, IDENTITIES = "tests/core/relay/test_message.py", "tests/core/relay/test_identity.py"
CUTS, TELLS = "tests/core/relay/test_cutting.py", "tests/core/relay/test_telling.py"
PUBLISHED, STREAMS = "tests/relay/test_publisher.py", "tests/relay/test_stream.py"
RELAYED, LEASES = "tests/relay/test_relay.py", "tests/relay/test_lease.py"
LEASE, BUCKET = "realtime/nats/lease.py", "realtime/nats/bucket.py"
TWO = f"{PUBLISHED}::test_two_relays_at_once_leave_one_chain_of_one_relay_at_a_time"
LATE = f"{PUBLISHED}::test_an_answer_that_comes_too_late_stores_nothing_twice"

COMMAND = "tests/relay/test_command.py"
SETTINGS, OPTIONS = "realtime/settings.py", "realtime/commands/options.py"
SHARED = f"{COMMAND}::test_how_nodes_are_reached_in_the_same_environment_keeps_no_relay_from_starting"
PROBED = f"{COMMAND}::test_it_lives_and_is_not_ready_while_nats_is_away"
COUNTS = f"{COMMAND}::test_it_has_the_options_that_count_for_it_and_says_what_they_are_to_it"

RELAYS: list[tuple[str, str, str, str, str]] = [
    (
        "relay: it shows a service's figures",
        "realtime/relay/figures.py",
        "    return generate_latest(registry)",
        "    return generate_latest()",
        f"{RELAYED}::test_a_relay_shows_a_relays_figures_and_whoever_waits_is_up",
    ),
    (
        "relay: who waits for its turn is down",
        RELAY,
        "            figures.UP.set(1)\n",
        "",
        f"{RELAYED}::test_a_relay_shows_a_relays_figures_and_whoever_waits_is_up",
    ),
    (
        "relay: that it reads is not shown",
        RELAY,
        "(figures.HOLDS, figures.UP, figures.FEED_UP)",
        "(figures.HOLDS, figures.UP)",
        f"{RELAYED}::test_a_relay_shows_a_relays_figures_and_whoever_waits_is_up",
    ),
    (
        "board: a relay's instrument that is not there",
        "docker/grafana/alerts.yaml",
        "(realtime_relay_publishes) != 1",
        "(realtime_relay_publish) != 1",
        "tests/e2e/test_board.py",
    ),
    (
        "relay: has the options of nodes",
        OPTIONS,
        'if name.startswith("nats") or name in {*RELAYS, *also}], RELAYS)',
        "], RELAYS)",
        COUNTS,
    ),
    (
        "relay: one that waits says at once whatever breaks",
        RELAY,
        "aloud=self._failures > 0 or self.away is not None)",
        "aloud=True)",
        f"{COMMAND}::test_one_that_waits_says_once_that_nats_is_away_and_that_it_is_back",
    ),
    (
        "relay: one that waits does not say that it is well again",
        RELAY,
        "            if not self._waits or self._said is not None:",
        "            if not self._waits:",
        f"{COMMAND}::test_one_that_waits_says_once_that_nats_is_away_and_that_it_is_back",
    ),
    (
        "relay: one that hands over does not say so",
        RELAY,
        "                if held and self._stop.is_set():",
        "                if False:",
        f"{COMMAND}::test_one_that_is_told_to_end_says_that_it_has_handed_over",
    ),
    (
        "relay: one that waited says that it handed over",
        RELAY,
        "                if held and self._stop.is_set():",
        "                if self._stop.is_set():",
        f"{COMMAND}::test_one_that_is_told_to_end_says_that_it_has_handed_over",
    ),
    ("relay: its MongoDB has another option", OPTIONS, '            flags.append("--uri")', "            pass", COUNTS),
    (
        "relay: says of its options what they are to nodes",
        OPTIONS,
        "{texts.get(name, field.description)}",
        "{field.description}",
        COUNTS,
    ),
    (
        "relay: the address that nodes listen on keeps it from starting",
        SETTINGS,
        "    def _loopback_or_insecure(self) -> RelaySettings:",
        "    def _far(self) -> RelaySettings:",
        SHARED,
    ),
    (
        "relay: the port that nodes listen on keeps it from starting",
        SETTINGS,
        "    def _two_ports(self) -> RelaySettings:",
        "    def _other_ports(self) -> RelaySettings:",
        SHARED,
    ),
    (
        "relay: how nodes verify tokens keeps it from starting",
        SETTINGS,
        "    def _one_way_to_verify(self) -> RelaySettings:",
        "    def _other_way_to_verify(self) -> RelaySettings:",
        SHARED,
    ),
    (
        "relay: has the settings of nodes",
        "realtime/commands/relay.py",
        "named_mongodb(options, RelaySettings)",
        "named_mongodb(options, Settings)",
        PROBED,
    ),
    (
        "relay: is ready while nothing can be published",
        "realtime/relay/door.py",
        'status, kind = "200 OK" if away is None else "503 Service Unavailable", "application/json"',
        'status, kind = "200 OK", "application/json"',
        PROBED,
    ),
    (
        "relay: a payload may go on behind its end",
        MESSAGE,
        "        if self._at < len(self._payload):",
        "        if False:",
        f"{MESSAGES}::test_a_payload_that_is_cut_or_longer_is_refused",
    ),
    (
        "relay: a header that nobody reads",
        MESSAGE,
        '    headers = {_FORMAT: str(FORMAT), _EPOCH: epoch, _TIME: f"{message.time:016X}"}',
        '    headers = {_FORMAT: str(FORMAT), _EPOCH: epoch, _TIME: f"{message.time:016X}", "Realtime-Token": "82"}',
        f"{MESSAGES}::test_headers_say_what_is_read_and_nothing_more",
    ),
    (
        "relay: parts that do not follow are put together",
        MESSAGE,
        "if not of_one or head.part != begun.part + 1 or sequence != self._sequence + 1:",
        "if not of_one or head.part != begun.part + 1:",
        f"{MESSAGES}::test_parts_that_do_not_follow_are_refused_and_what_had_begun_is_forgotten",
    ),
    (
        "relay: parts without their end stay before what follows",
        MESSAGE,
        "                self.skipped += len(self._payloads)\n                self.reset()",
        "                pass",
        f"{MESSAGES}::test_parts_whose_end_never_came_are_skipped_and_counted",
    ),
    (
        "relay: another replica set's stream is followed",
        IDENTITY,
        "            _REPLICA_SET: json.dumps(self.replica_set),\n",
        "            _REPLICA_SET: json.dumps(None),\n",
        f"{IDENTITIES}::test_a_node_refuses_a_stream_of_another_database[replica_set]",
    ),
    (
        "relay: a message has no bound of bytes",
        CUTTING,
        "        if count and (size > MOST_BYTES or count == MOST_EVENTS):",
        "        if count and count == MOST_EVENTS:",
        f"{CUTS}::test_every_event_comes_once_in_order_in_whole_moments_and_bounded",
    ),
    (
        "relay: what nobody needs is read",
        TELLING,
        "frozenset(name for name in updated if needed(name))",
        "frozenset(updated)",
        f"{TELLS}::test_an_update_of_what_somebody_needs_is_read_and_of_others_is_void",
    ),
    (
        "relay: a collection that is another one since is read",
        TELLING,
        "if settled.was_replaced(name) or settled.was_stepped_over(name) or",
        "if settled.was_stepped_over(name) or",
        f"{TELLS}::test_of_a_collection_that_may_be_another_one_since_nothing_is_read",
    ),
    (
        "relay: no sequence is expected",
        PUBLISHER,
        '            headers["Nats-Expected-Last-Sequence"] = str(after)',
        "            pass",
        TWO,
    ),
    (
        "relay: what is in doubt is sent again",
        PUBLISHER,
        "        for _ in range(found[-1] + 1 if found else 0):\n            self._take()",
        "        pass",
        LATE,
    ),
    (
        "relay: another relay's last message is taken for one's own",
        PUBLISHER,
        "        if not found and not ours:",
        "        if False:",
        f"{PUBLISHED}::test_another_relay_is_noticed_and_nothing_of_what_follows_is_stored",
    ),
    (
        "relay: a window without an end",
        PUBLISHER,
        "len(self._waiting) >= WINDOW_MESSAGES or",
        "len(self._waiting) >= 1 << 20 or",
        f"{PUBLISHED}::test_a_window_that_is_full_makes_wait",
    ),
    (
        "relay: any stream of its name will do",
        STREAM,
        "    if (wrong := identity.differs(state.metadata) or unlike(state.config, identity, limits)) is not None:",
        "    if (wrong := identity.differs(state.metadata)) is not None:",
        f"{STREAMS}::test_a_stream_that_would_break_a_promise_is_refused",
    ),
    (
        "relay: parts without their end count as the last message",
        STREAM,
        "    while stored.head.part < stored.head.parts:",
        "    while False:",
        f"{STREAMS}::test_the_newest_message_of_which_parts_are_missing_is_not_the_last",
    ),
    (
        "relay: an emptied stream begins as if nothing had been",
        RELAY,
        "    lost = state.last > 0",
        "    lost = False",
        f"{RELAYED}::test_a_stream_that_was_emptied_while_no_relay_ran_begins_with_lost",
    ),
    (
        "relay: begins at now, whatever the stream says",
        RELAY,
        "        time = self._time = now if place is None else place.time",
        "        time = self._time = now",
        f"{RELAYED}::test_a_relay_that_is_killed_and_started_again_leaves_nothing_out_and_repeats_nothing[100]",
    ),
    (
        "relay: a MongoDB of the past is read",
        RELAY,
        "            if now is not None and now >= last:",
        "            if now is not None:",
        f"{RELAYED}::test_a_mongodb_whose_time_is_behind_the_stream_is_refused_and_the_mend_named",
    ),
    (
        "relay: silence while nothing happens",
        TERM,
        "            if silent and heard is not None and now - heard < HEARD_SECONDS:",
        "            if False:",
        f"{RELAYED}::test_a_stream_that_is_new_begins_with_a_position_and_goes_on_without_events",
    ),
    (
        "relay: takes its own lease for another's",
        LEASE,
        "            if said is not None and said.value != self._holder:",
        "            if said is not None:",
        f"{LEASES}::test_who_lost_the_answer_to_what_was_stored_holds_it_all_the_same",
    ),
    (
        "relay: takes another's lease for its own",
        LEASE,
        "            if said is not None and said.value != self._holder:",
        "            if False:",
        f"{LEASES}::test_one_holds_it_and_another_after_it_was_given_up_or_not_said_again",
    ),
    (
        "relay: gives up another's lease",
        BUCKET,
        '    asked = {"filter": subject(bucket, key), "seq": revision + 1}',
        '    asked = {"filter": subject(bucket, key)}',
        f"{LEASES}::test_who_gives_up_what_another_holds_by_now_leaves_it_there",
    ),
    (
        "relay: cannot look whose the lease is",
        "realtime/core/relay/permissions.py",
        '            f"{API}.STREAM.MSG.GET.KV_{lease}",\n',
        "",
        "tests/nats/test_examination.py::test_each_user_may_what_it_needs_and_a_node_is_refused_all_else",
    ),
    (
        "relay: a bucket without room is refused by a number alone",
        "realtime/nats/bucket.py",
        "if error.code in _NO_ROOM:",
        "if False:",
        "tests/relay/test_lease.py::test_without_room_for_its_bucket_it_says_what_a_relay_needs",
    ),
    (
        "relay: what no relay made is found without a mend",
        "realtime/relay/relay.py",
        "(nats stream rm {self._identity.stream})",
        "",
        "tests/relay/test_command.py::test_one_that_finds_what_no_relay_made_says_how_to_go_on",
    ),
]
