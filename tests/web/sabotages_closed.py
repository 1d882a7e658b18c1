"""Rows of `make sabotage` for what a review found open: name, file, line, what stands there instead, test."""

from __future__ import annotations

APPLICATION = "realtime/web/entrance/application.py"
OF_APPLICATION = "tests/web/entrance/test_application.py"
SSE, TICKETS = "realtime/web/http/sse.py", "realtime/core/access/tickets.py"
OF_TICKETS, OF_CLAIMS = "tests/web/http/test_tickets.py", "tests/core/access/test_tickets.py"
OF_OWN = "tests/web/entrance/test_own.py"
OF_SESSIONS = "tests/web/test_sessions.py"

CLOSED: list[tuple[str, str, str, str, str]] = [
    (
        "closed: an application that hangs is waited for",
        APPLICATION,
        "async with asyncio.timeout(self._seconds) as patience:",
        "async with asyncio.timeout(None) as patience:",
        f"{OF_APPLICATION}::test_who_is_not_known_in_time_is_unavailable_and_the_log_says_so_once",
    ),
    (
        "closed: an application is asked about all at once",
        APPLICATION,
        "while self._line and len(self._under_way) < self._at_once:",
        "while self._line:",
        f"{OF_APPLICATION}::test_few_questions_are_under_way_at_once_and_all_have_their_turn",
    ),
    (
        "closed: a recheck outruns a revocation",
        APPLICATION,
        "return dataclasses.replace(found, issued=before.issued)",
        "return dataclasses.replace(found)",
        "tests/web/entrance/test_doorkeeper.py::test_a_revocation_of_who_was_asked_about_again_is_of_them_still",
    ),
    (
        "closed: an answer of lines outlives its session",
        "realtime/web/http/listing.py",
        "live.doorkeeper.stay(principal, request).check",
        "live.doorkeeper.stay(principal, Request({**request.scope, 'state': {}})).check",
        f"{OF_SESSIONS}::test_a_session_that_ended_ends_an_answer_that_is_still_being_taken",
    ),
    (
        "closed: claims of an application's are a bug of ours",
        TICKETS,
        "claims, extended = ejson.encode_strictly(dict(principal.claims)).decode(), True",
        "raise",
        f"{OF_CLAIMS}::test_claims_that_json_has_no_word_for_come_back_too",
    ),
    (
        "closed: claims that cannot be kept are a bug of ours",
        TICKETS,
        "except (TypeError, ValueError, RecursionError) as error:",
        "except (ValueError, RecursionError) as error:",
        f"{OF_CLAIMS}::test_claims_that_cannot_be_kept_are_refused_and_no_bug",
    ),
    (
        "closed: claims are kept whatever their size",
        TICKETS,
        "if len(claims.encode()) > MAX_CLAIMS_BYTES:",
        "if False:",
        f"{OF_CLAIMS}::test_claims_that_cannot_be_kept_are_refused_and_no_bug",
    ),
    (
        "closed: a principal of any kind comes in",
        "realtime/web/entrance/own.py",
        "if (wrong := _wrong(found)) is not None:",
        "if (wrong := None) is not None:",
        f"{OF_OWN}::test_a_principal_that_no_frame_or_ticket_could_say_is_its_bug_at_the_door",
    ),
    (
        "closed: a refused ticket is nowhere written down",
        SSE,
        "self._live.doorkeeper.turned_away(request, error)",
        "pass",
        f"{OF_TICKETS}::test_a_ticket_that_is_refused_is_in_the_audit_log_and_is_counted",
    ),
    (
        "closed: tickets are tried without end",
        "realtime/web/entrance/doorkeeper.py",
        """            self._count_refused(connection)
        self.refused""",
        """            pass
        self.refused""",
        f"{OF_TICKETS}::test_a_ticket_that_is_refused_is_in_the_audit_log_and_is_counted",
    ),
    (
        "closed: who is refused is not counted",
        "realtime/web/entrance/doorkeeper.py",
        "            metrics.UNAUTHENTICATED.labels(word).inc()",
        "            pass",
        "tests/web/test_audit.py::test_who_is_refused_is_written_down_with_why",
    ),
    (
        "closed: tickets are written without end",
        "realtime/web/http/tickets.py",
        "live.doorkeeper.writes(who, address_of(connection))",
        "address_of(connection)",
        f"{OF_TICKETS}::test_a_ticket_is_a_write_to_the_limits",
    ),
    (
        "closed: a stream is attached after its end",
        SSE,
        "raise error_of(self._events.first.result())  # it was over by then",
        "pass",
        f"{OF_TICKETS}::test_a_stream_whose_principal_ends_before_it_begins_is_refused",
    ),
    (
        "closed: a stream that was not answered is not refused",
        SSE,
        "if error is None and not self._events.first.done():",
        "if False:",
        f"{OF_TICKETS}::test_a_stream_whose_principal_ends_before_it_begins_is_refused",
    ),
    (
        "closed: a page by http uses a service by https",
        "realtime/web/entrance/live.py",
        "if theirs is not None and theirs == ours:",
        "if theirs is not None and ours is not None and theirs[1:] == ours[1:]:",
        "tests/web/entrance/test_entrance.py::test_the_scheme_is_part_of_the_origin",
    ),
    (
        "closed: revocations end by what clients ask for",
        "realtime/hub/holdings.py",
        "if group.query.collection.startswith(OWN_PREFIX):",
        "if False:",
        "tests/hub/test_own.py::test_the_bounds_of_clients_queries_are_none_of_its_own",
    ),
    (
        "closed: revocations have the bytes of one client's query",
        "realtime/hub/groups.py",
        "kept=OWN_DOCUMENTS, bytes=OWN_BYTES, all_bytes=OWN_BYTES",
        "kept=OWN_DOCUMENTS",
        "tests/hub/test_own.py::test_the_bounds_of_clients_queries_are_none_of_its_own",
    ),
    (
        "closed: the last key set is good for ever",
        "realtime/access/jwks.py",
        "keys = () if self._over else self._keys or ()",
        "keys = self._keys or ()",
        "tests/access/test_jwks.py::test_the_last_good_set_is_not_used_for_ever",
    ),
    (
        "closed: answers are scripts of any page",
        "realtime/web/entrance/shared.py",
        "answer.headers.update(GUARDED)",
        "pass",
        "tests/web/entrance/test_shared.py::test_no_answer_is_a_script_or_an_image_of_another_origins_page",
    ),
    (
        "closed: problems are scripts of any page",
        "realtime/web/entrance/problems.py",
        "headers = dict(GUARDED)",
        "headers: dict[str, str] = {}",
        "tests/web/entrance/test_shared.py::test_no_answer_is_a_script_or_an_image_of_another_origins_page",
    ),
    (
        "closed: a link of any page reads with the cookie",
        "realtime/web/entrance/live.py",
        "reason = of_another_site(connection)",
        "reason = None",
        f"{OF_SESSIONS}::test_a_link_or_a_script_of_another_site_gets_nothing_by_the_cookie",
    ),
    (
        "closed: the operators' port is wherever clients come",
        "realtime/commands/service.py",
        'second = bind(settings.model_copy(update={"host": settings.admin_host}), settings.admin_port, "--admin-port")',
        'second = bind(settings, settings.admin_port, "--admin-port")',
        "tests/commands/test_doors.py::test_the_operators_port_is_on_loopback_wherever_clients_come",
    ),
    (
        "closed: two hosts share a port",
        "realtime/commands/service.py",
        "if (port := second.getsockname()[1]) == first.getsockname()[1]:",
        "if (port := second.getsockname()[1]) == 0:",
        "tests/commands/test_doors.py::test_two_hosts_do_not_share_a_port_for_it_tells_whose_a_request_is",
    ),
    (
        "closed: an operators' port that all reach asks nobody",
        "realtime/settings.py",
        "hosts = [self.host] if self.admin_port is None else [self.host, self.admin_host]",
        "hosts = [self.host]",
        "tests/commands/test_doors.py::test_one_that_other_machines_reach_needs_to_know_who_asks_or_insecure",
    ),
    (
        "closed: the demo's links lead to where no page is",
        "realtime/commands/service.py",
        "demo_users.links(settings, addresses.page or addresses.clients)",
        "demo_users.links(settings, addresses.clients)",
        "tests/e2e/test_signin.py::test_the_demo_prints_a_link_for_each_of_two_users",
    ),
    (
        "closed: an application is open and nobody says so",
        "realtime/web/entrance/live.py",
        "_say_open(connection, live)\n            asking",
        "asking",
        "tests/web/entrance/test_open.py::test_who_embeds_it_for_everybody_is_told_once",
    ),
    (
        "closed: each request says that it is open",
        "realtime/web/entrance/live.py",
        "    live.said_open = True",
        "    pass",
        "tests/web/entrance/test_open.py::test_who_embeds_it_for_everybody_is_told_once",
    ),
    (
        "closed: a socket of any server waits for who takes nothing",
        "realtime/web/entrance/asgi_sink.py",
        "self._running.cancel()",
        "pass",
        "tests/web/entrance/test_over.py::test_a_socket_hands_its_server_nothing_more",
    ),
    (
        "closed: a stream that was cut waits to say its end",
        "realtime/web/entrance/streaming.py",
        "            return not ended",
        "            return True",
        "tests/web/entrance/test_over.py::test_an_event_stream_returns_to_its_server_unended_so_that_it_is_cut",
    ),
]
