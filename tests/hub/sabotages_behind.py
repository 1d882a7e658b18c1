"""Rows of `make sabotage` for a hub that is behind MongoDB: name, file, line, what stands there instead, test."""

from __future__ import annotations

LOADING, RESUME, ROUTER = "realtime/hub/loading.py", "realtime/hub/resume.py", "realtime/core/live/router.py"
ROUTED = "tests/core/live/test_router.py"
PRIMARIES = "tests/mongo/test_dialect.py"
TESTS, HEALTH = "tests/hub/test_behind.py", "tests/web/test_health.py"

BEHIND: list[tuple[str, str, str, str, str]] = [
    (
        "behind: a query is read all the same",
        LOADING,
        "        self._fits()\n        facts =",
        "        facts =",
        f"{TESTS}::test_new_groups_are_unavailable_while_it_is_too_far_behind[query]",
    ),
    (
        "behind: events begin all the same",
        LOADING,
        "                self._fits()\n",
        "",
        f"{TESTS}::test_new_groups_are_unavailable_while_it_is_too_far_behind[events]",
    ),
    (
        "behind: a position of another node is refused",
        RESUME,
        "                if after > progress.cluster:",
        "                if True:",
        f"{TESTS}::test_a_position_of_another_node_is_waited_for_by_one_that_knows_that_it_is_behind",
    ),
    (
        "behind: one that is ahead of everything is waited for without an end",
        RESUME,
        "                if after > progress.cluster:",
        "                if after > progress.cluster + 30:",
        f"{TESTS}::test_one_that_lies_ahead_of_the_clock_too_is_refused[0]",
    ),
    (
        "behind: all updates are completed whoever asks",
        ROUTER,
        '    return operations is None or "update" in operations\n\n\nclass _Collection',
        "    return True\n\n\nclass _Collection",
        f"{ROUTED}::test_updates_are_completed_of_collections_that_somebody_watches_or_hears_the_updates_of",
    ),
    (
        "behind: one that is too far behind is ready",
        "realtime/operations/health.py",
        " and live.hub.progress.behind is None",
        "",
        f"{HEALTH}::test_one_that_is_too_far_behind_is_degraded_unready_and_takes_no_new_queries",
    ),
    (
        "behind: nobody is told of it",
        "realtime/operations/health.py",
        "if status.up and (behind := self._live.hub.progress.behind) is not None:",
        "if False and (behind := self._live.hub.progress.behind) is not None:",
        f"{HEALTH}::test_one_that_is_too_far_behind_is_degraded_unready_and_takes_no_new_queries",
    ),
    (
        "behind: a server that was restarted is not asked",
        "realtime/mongo/dialect.py",
        "            return server.address, process",
        "            return server.address, bool(process)",
        "tests/mongo/test_dialect.py::test_a_primary_is_asked_once_and_again_when_it_is_another_one_or_was_restarted",
    ),
]
