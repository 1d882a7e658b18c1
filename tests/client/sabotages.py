"""Rows of `make sabotage` for the Python client and `realtime tail`."""

from __future__ import annotations

CUT = "tests/exact/test_client.py::test_over_500_cuts_the_client_says_what_happened_all_of_it_and_once"
FOLD_TEST = "tests/client/test_folds.py"
LINK_TEST = "tests/client/test_link.py"
TAIL_TEST = "tests/e2e/test_tail.py"
FOLDS = "realtime/client/folds.py"
LINK = "realtime/client/link.py"
CLIENT = "realtime/client/client.py"

CLIENTS: list[tuple[str, str, str, str, str]] = [
    ("client: events without position", FOLDS, "if self.received is None:", "if self.received:", CUT),
    (
        "client: a moment's position with its first event",
        FOLDS,
        "event.position if following.position != event.position else None",
        "event.position",
        CUT,
    ),
    ("client: one change of a moment lost", FOLDS, "self.rows.apply(changes)", "self.rows.apply(changes[1:])", CUT),
    (
        "client: goes on from where it is not",
        FOLDS,
        '"position": self.position, "query"',
        '"position": self.position[:-1] + "F", "query"',
        CUT,
    ),
    ("client: inserts are not repeated", CLIENT, "ask(frame, repeat=True)", "ask(frame, repeat=False)", CUT),
    ("client: updates are repeated", CLIENT, "ask(frame, repeat=False)", "ask(frame, repeat=True)", CUT),
    (
        "client: its own duplicate is an error",
        CLIENT,
        "or sent < 2 or",
        "or sent or",
        f"{LINK_TEST}::test_an_insert_is_sent_again_under_the_same_key_and_its_own_duplicate_is_success",
    ),
    (
        "client: half a moment is kept",
        FOLDS,
        "        self._parts, self._sizes = {True: [], False: []}, {True: 0, False: 0}\n\n    def reach",
        "        self._sizes = {True: 0, False: 0}\n\n    def reach",
        f"{FOLD_TEST}::test_an_unfinished_moment_is_forgotten_with_its_connection_and_with_a_resync",
    ),
    (
        "client: a channel's frames before live",
        FOLDS,
        'self.live_from is None or frame["position"] <= self.live_from',
        "self.live_from is not None and False",
        f"{FOLD_TEST}::test_frames_of_the_channel_before_live_and_at_its_position_concern_others",
    ),
    (
        "client: a new snapshot shows without a difference",
        FOLDS,
        "changes = () if self._seen is None else self.rows.changes_to(arrived)",
        "changes = ()",
        f"{FOLD_TEST}::test_what_cannot_be_taken_up_stays_as_it_was_until_the_new_snapshot_is_whole",
    ),
    (
        "client: no bound for a slow consumer",
        FOLDS,
        'return "pause" if self.bytes > self.bound else None',
        "return None",
        f"{LINK_TEST}::test_a_slow_consumer_is_unsubscribed_and_goes_on_from_where_it_was",
    ),
    (
        "client: a certificate that is not trusted is tried for ever",
        LINK,
        "if not self.ready.is_set() and isinstance(error, SSLCertVerificationError):",
        "if False:",
        f"{LINK_TEST}::test_a_certificate_that_is_not_trusted_is_raised_at_once_with_what_to_set",
    ),
    (
        "client: comes back after any close",
        LINK,
        "final = final_close(code, reason, self._told, token=self._bearer.used is not None)",
        "final = None",
        f"{LINK_TEST}::test_a_final_close_ends_everything_with_its_error",
    ),
    (
        "client: silence is borne",
        LINK,
        "return 2 * self._heartbeat + 5",
        "return 2 * self._heartbeat + 500",
        f"{LINK_TEST}::test_a_silent_connection_is_dropped_after_two_heartbeats_and_five_seconds",
    ),
    (
        "client: retry_after is not heard",
        LINK,
        'self._least_delay = float(frame.get("retry_after") or 0)',
        "self._least_delay = 0.0",
        f"{LINK_TEST}::test_closing_says_how_long_to_wait_at_least",
    ),
    (
        "tail: says to go on from where it began",
        "realtime/commands/tail.py",
        "self.position = lambda: events.position",
        "self.position = lambda: asked.position",
        f"{TAIL_TEST}::test_interrupted_it_prints_the_command_that_goes_on_exactly_there",
    ),
    (
        "tail: begins anew after a kill",
        FOLDS,
        'return {**fields, "position": self.received}',
        "return fields",
        f"{TAIL_TEST}::test_a_service_that_is_killed_and_started_again_costs_tail_nothing",
    ),
]
