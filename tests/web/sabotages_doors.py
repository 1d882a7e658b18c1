"""Rows of `make sabotage` for who is let in and for how long: name, file, line, what stands there instead, test."""

from __future__ import annotations

SESSION, ADMISSION = "realtime/core/connection/session.py", "realtime/core/connection/admission.py"
DOORKEEPER, LIVE = "realtime/web/entrance/doorkeeper.py", "realtime/web/entrance/live.py"
SHARED, TICKETS = "realtime/web/entrance/shared.py", "realtime/mongo/tickets.py"
SINK, QUERY = "realtime/web/socket/uvicorn_sink.py", "realtime/core/live/query.py"
OF_SESSION = "tests/core/connection/test_session_principal.py"
OF_DOORS = "tests/web/entrance/test_doorkeeper.py"
WHO = "tests/web/test_who.py"
OF_GATE = "tests/web/socket/test_gate.py"
OF_TICKETS = "tests/web/http/test_tickets.py"
OF_SHARED = "tests/web/entrance/test_shared.py"

DOORS: list[tuple[str, str, str, str, str]] = [
    (
        "doors: nobody may ask for everything",
        SESSION,
        "if not isinstance(request, protocol.Auth | protocol.Ping):",
        "if isinstance(request, protocol.Auth | protocol.Ping):",
        f"{OF_SESSION}::test_of_nobody_everything_but_auth_and_ping_is_unauthenticated",
    ),
    (
        "doors: a welcome to nobody tells a position",
        SESSION,
        "position=None if who is None else format_position(self.epoch, time),",
        "position=format_position(self.epoch, time),",
        f"{OF_SESSION}::test_nobody_is_told_to_send_a_token_and_not_how_far_the_database_is",
    ),
    (
        "doors: frames behind an auth are not held",
        SESSION,
        "if self.admission.deciding:",
        "if False:",
        f"{OF_SESSION}::test_frames_behind_an_auth_wait_and_are_the_new_principals",
    ),
    (
        "doors: a connection becomes somebody else's",
        ADMISSION,
        "if self.principal is not None and principal.sub != self.principal.sub:",
        "if False:",
        f"{OF_SESSION}::test_a_renewal_that_is_refused_ends_nothing",
    ),
    (
        "doors: an expired token renews",
        ADMISSION,
        "if principal.expired(now):",
        "if False:",
        "tests/core/connection/test_admission.py::test_a_token_whose_time_is_over_admits_nobody",
    ),
    (
        "doors: who shows no token stays",
        DOORKEEPER,
        "self._deadlines.set(guest, self.now() + self._patience)",
        "self._deadlines.set(guest, None)",
        f"{OF_DOORS}::test_who_shows_no_token_in_time_hears_of_it_and_who_does_stays",
    ),
    (
        "doors: nobody expires",
        DOORKEEPER,
        "self._deadlines.set(guest, principal.expires)",
        "self._deadlines.set(guest, None)",
        f"{OF_DOORS}::test_each_is_ended_when_its_time_is_over_and_not_before_whoever_came_first",
    ),
    (
        "doors: a revocation that comes between is missed",
        DOORKEEPER,
        "            self.check(principal)\n        except UnauthenticatedError as error:",
        "            pass\n        except UnauthenticatedError as error:",
        f"{OF_DOORS}::test_a_revocation_between_the_question_and_the_watch_is_not_missed",
    ),
    (
        "doors: everybody is let in over HTTP",
        LIVE,
        "if principal is None and not told:",
        "if False:",
        f"{WHO}::test_no_token_is_401_and_on_a_socket_4501_after_ten_seconds",
    ),
    (
        "doors: what waits is told after the end",
        SINK,
        "if code in AT_ONCE:",
        "if False:",
        f"{WHO}::test_what_waits_is_dropped_at_the_end_and_who_takes_nothing_is_cut[reads when it is over]",
    ),
    (
        "doors: a ticket opens two streams",
        TICKETS,
        '"$or": free}',
        '"$or": [{}]}',
        f"{OF_TICKETS}::test_a_ticket_opens_one_stream_and_the_same_again_with_last_event_id",
    ),
    (
        "doors: a ticket opens another stream",
        TICKETS,
        '"stream": stream if again else None',
        '"stream": {"$exists": True}',
        f"{OF_TICKETS}::test_a_ticket_opens_one_stream_and_the_same_again_with_last_event_id",
    ),
    (
        "doors: every page may read",
        SHARED,
        "if live is None or origin is None:",
        "if origin is None:",
        f"{OF_SHARED}::test_a_page_of_an_unlisted_origin_reads_nothing_and_changes_nothing",
    ),
    (
        "doors: the application is asked about who came by a token",
        DOORKEEPER,
        "if connection is not None and _by_own(connection)",
        "if connection is not None",
        f"{OF_DOORS}::test_of_who_came_by_a_token_the_application_is_not_asked_again",
    ),
    (
        "doors: a write is done for whom it is over",
        DOORKEEPER,
        """        self.check(principal)
        if self._limiter""",
        """        if self._limiter""",
        f"{OF_DOORS}::test_who_is_let_in_no_longer_writes_nothing_however_long_the_body_was_in_coming",
    ),
    (
        "doors: tokens are looked into without end",
        DOORKEEPER,
        '            self._limiter.refused(network_of(address or ""), self._clock())',
        "            pass",
        f"{OF_GATE}::test_an_address_whose_tokens_were_refused_too_often_is_asked_no_more",
    ),
    (
        "doors: clients are sent to a page that is not there",
        "realtime/web/entrance/problems.py",
        'if getattr(app.state, "admin", None) is not None:',
        "if False:",
        "tests/web/test_server.py::test_with_a_port_for_operators_the_other_one_has_what_clients_need_and_no_more",
    ),
    (
        "doors: a head may take for ever",
        "realtime/web/socket/handshake.py",
        "self._head_due = self.loop.call_later(HEAD_SECONDS, self._head_is_late)",
        "self._head_due = None",
        f"{OF_GATE}::test_a_head_that_is_late_or_has_no_end_is_given_up",
    ),
    (
        "doors: a head may be of any size",
        "realtime/web/socket/handshake.py",
        "if self._head_bytes > LONGEST_HEAD and not self.transport.is_closing():",
        "if False:",
        f"{OF_GATE}::test_a_head_that_is_late_or_has_no_end_is_given_up",
    ),
    (
        "doors: the cookie comes before the token of a subprotocol",
        DOORKEEPER,
        "ours = self._own is None or carries_ours(given, offered)",
        "ours = self._own is None or carries_ours(given, ())",
        f"{OF_DOORS}::test_the_applications_own_way_is_asked_where_no_token_is_shown",
    ),
    (
        "doors: tokens in frames are looked into without end",
        DOORKEEPER,
        "        self._may_ask(address)\n        return await self._of(token)",
        "        return await self._of(token)",
        f"{OF_DOORS}::test_whoever_is_refused_counts_for_their_address_by_whatever_door_and_is_asked_no_more",
    ),
    (
        "doors: nobody knows from where no token came",
        DOORKEEPER,
        "self.refused(error, address)",
        "self.refused(error, None)",
        f"{OF_DOORS}::test_who_shows_no_token_in_time_hears_of_it_and_who_does_stays",
    ),
    (
        "doors: who finds no place is nowhere written down",
        DOORKEEPER,
        'self.note("refused", None, address, reason=over.limit)',
        "pass",
        f"{OF_DOORS}::test_who_finds_no_place_among_those_who_have_not_said_who_they_are_is_written_down",
    ),
    (
        "doors: somebody else's token is nowhere written down",
        "realtime/web/socket/socket.py",
        "self._live.doorkeeper.refused(of_another, self._address, self._session.principal)",
        "pass",
        f"{WHO}::test_a_token_of_somebody_else_is_refused_and_the_connection_goes_on",
    ),
    (
        "doors: a bad token in a frame is nowhere written down",
        "realtime/web/socket/socket.py",
        "self._live.doorkeeper.refused(error, self._address, self._session.principal)",
        "pass",
        f"{WHO}::test_a_bad_token_is_accepted_and_closed_4501_by_every_way_of_a_socket[expired]",
    ),
    (
        "doors: a bad token of a request is nowhere written down",
        LIVE,
        "            live.doorkeeper.refused(error, address_of(connection))",
        "            pass",
        f"{WHO}::test_a_bad_token_is_401_over_http_and_for_an_event_stream[expired]",
    ),
    (
        "doors: a cookie comes before a ticket",
        DOORKEEPER,
        "if self._own is not None and not by_ticket:",
        "if self._own is not None:",
        "tests/web/test_sessions.py::test_a_ticket_of_who_the_application_knows_opens_a_stream_and_comes_before_a_cookie",
    ),
]
