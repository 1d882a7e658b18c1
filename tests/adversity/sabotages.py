"""Rows of `make sabotage` for the fault tests: name, file, line, what stands there instead, test."""

from __future__ import annotations

UPSTREAM, EJSON, OUTBOX = (
    "realtime/core/upstream/stream_errors.py",
    "realtime/core/bson/ejson.py",
    "realtime/core/connection/outbox.py",
)

ACCESS, FLOODS = "tests/adversity/test_access.py", "tests/adversity/test_floods.py"

FAULTS: list[tuple[str, str, str, str, str]] = [
    (
        "election: a broken connection is taken for lost history",
        UPSTREAM,
        "            return Action.REOPEN\n        self._count = 0",
        "            return Action.HISTORY_LOST\n        self._count = 0",
        "tests/adversity/test_elections.py::test_the_primary_is_killed_and_nobody_misses_anything",
    ),
    (
        "upstream: a broken connection is taken for lost history",
        UPSTREAM,
        "            return Action.REOPEN\n        self._count = 0",
        "            return Action.HISTORY_LOST\n        self._count = 0",
        "tests/adversity/test_upstream.py::test_a_line_that_is_cut_halved_stalled_and_half_open_loses_nothing",
    ),
    (
        "upstream: a token behind the end of the oplog is opened again and again",
        UPSTREAM,
        "frozenset({286, 280, 260, 136, 40585, 40615})",
        "frozenset({286, 280, 260, 40585, 40615})",
        "tests/mongo/test_feed_codes.py::test_each_code_has_the_action_of_its_class[C-136]",
    ),
    (
        "deploy: who is sent away is not waited for",
        "realtime/web/socket/socket.py",
        "if self._leaving is not None and not self._session.pending_writes:",
        "if self._leaving is not None:",
        "tests/adversity/test_deploys.py::test_sigterm_under_load_sends_everybody_away_in_time",
    ),
    (
        "fuzz: what is no JSON is an exception",
        EJSON,
        '    except ValueError as error:\n        raise EjsonError(f"not JSON: {error}") from None',
        '    except ZeroDivisionError as error:\n        raise EjsonError(f"not JSON: {error}") from None',
        "tests/adversity/test_fuzz.py::test_fuzzed_frames_get_an_answer_each_and_nobody_else_notices",
    ),
    (
        "deaf: the outbox has no bound",
        OUTBOX,
        "while self._moments + size > self.limit:",
        "while self._moments + size > self.limit * 1000:",
        "tests/adversity/test_deaf.py::test_one_in_ten_stops_reading_and_the_others_do_not_notice",
    ),
    (
        "access under load: nobody expires",
        "realtime/web/entrance/doorkeeper.py",
        "        self._deadlines.set(guest, principal.expires)",
        "        self._deadlines.set(guest, None)",
        f"{ACCESS}::test_of_many_tokens_that_end_those_renewed_cost_nothing_and_the_others_end_all",
    ),
    (
        "access under load: a renewal does not move the end",
        "realtime/web/entrance/doorkeeper.py",
        "        self._deadlines.set(guest, principal.expires)",
        "        self._deadlines.set(guest, principal.expires if known is None else known.principal.issued)",
        f"{ACCESS}::test_of_many_tokens_that_end_those_renewed_cost_nothing_and_the_others_end_all",
    ),
    (
        "access under load: a revocation is for those who come alone",
        "realtime/access/revocations.py",
        "            self._say(lambda principal: any(one.ends(principal) for one in ending))",
        "            pass",
        f"{ACCESS}::test_a_revocation_reaches_every_worker_within_a_second_beside_a_thousand_events_a_second",
    ),
    (
        "access under load: MongoDB away lets everybody in",
        "realtime/access/revocations.py",
        "if not (self._known and self._fresh()):",
        "if not self._known:",
        f"{ACCESS}::test_while_mongodb_is_away_nobody_gets_in_by_any_door_of_any_worker",
    ),
    (
        "flood: connections over the limit are read",
        "realtime/web/socket/gate.py",
        "    if over is None:\n        _counted[connection]",
        "    over = None\n    if over is None:\n        _counted[connection]",
        f"{FLOODS}::test_a_flood_of_connections_over_their_limit_is_closed_unread_and_costs_little",
    ),
    (
        "flood: each that is closed holds up all others",
        "realtime/web/socket/gate.py",
        "return _enter(connection, limiter, network_of(peer[0])) is None",
        "return _enter(connection, limiter, network_of(peer[0])) is None or __import__('time').sleep(0.0005)",
        f"{FLOODS}::test_a_flood_of_connections_over_their_limit_is_closed_unread_and_costs_little",
    ),
    (
        "flood: bad tokens are let in",
        "realtime/access/verifying.py",
        "        if not good:",
        "        if False:",
        f"{FLOODS}::test_a_flood_of_bad_tokens_is_refused_by_every_door_and_the_others_do_not_notice",
    ),
]
