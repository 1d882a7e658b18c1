"""Rows of `make sabotage` for what a review found open: name, file, line, what stands there instead, test."""

from __future__ import annotations

APPLICATION = "realtime/web/entrance/application.py"
OF_APPLICATION = "tests/web/entrance/test_application.py"
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
]
