"""Rows of `make sabotage` for groups judged late and channels that lapsed: name, file, line, instead, test."""

from __future__ import annotations

TELLER, QUERY = "realtime/hub/teller.py", "realtime/core/live/query.py"
MISSES = "tests/hub/test_slow.py::test_who_subscribes_while_the_channel_has_lapsed_misses_nothing"
LATE, JUDGED, ONE_LATE = "realtime/hub/late.py", "tests/hub/test_late.py", "tests/core/live/test_late.py"
ROUTER = "realtime/core/live/router.py"

LATE_GROUPS: list[tuple[str, str, str, str, str]] = [
    (
        "late: everybody waits for expressions",
        TELLER,
        "return group.query.computes and group.live",
        "return False and group.live",
        f"{JUDGED}::test_everybody_else_is_told_first_and_then_it_is",
    ),
    (
        "late: a slice has no end",
        LATE,
        "if group.late and self._clock() >= until:",
        "if group.late and self._clock() < 0:",
        f"{JUDGED}::test_what_is_not_judged_in_time_is_behind_and_then_exact",
    ),
    (
        "late: what waits has been told",
        QUERY,
        "return bool(self.late) or self.result.pending",
        "return self.result.pending",
        f"{ONE_LATE}::test_what_it_holds_and_was_told_stays_until_it_is_judged",
    ),
    (
        "late: what waits is not routed to",
        QUERY,
        "watch.hold(touch.identity)  # what becomes",
        "pass  # what becomes",
        f"{JUDGED}::test_of_a_document_that_changes_meanwhile_the_last_state_is_judged",
    ),
    (
        "late: what waits falls out of a window and is forgotten",
        ROUTER,
        "if name not in self.group.late:",
        "if True:",
        f"{ONE_LATE}::test_one_that_falls_out_of_a_window_while_it_waits_is_routed_all_the_same",
    ),
    (
        "late: what waits need not be read",
        QUERY,
        "if touch.identity in self.backlog or touch.identity in self.late:",
        "if touch.identity in self.backlog:",
        f"{JUDGED}::test_it_has_to_read_what_it_has_not_judged",
    ),
    (
        "late: what was judged out is held for ever",
        QUERY,
        "                self.result.watch.let_go(name)",
        "                pass",
        f"{ONE_LATE}::test_a_document_that_waits_is_routed_to_it_and_forgotten_when_judged_out",
    ),
    (
        "late: told in the middle of being judged",
        TELLER,
        "if not group.live or group.short or group.late or not group.pending:",
        "if not group.live or group.short or not group.pending:",
        f"{JUDGED}::test_a_throttled_one_whose_time_comes_in_the_middle_waits_for_the_end",
    ),
    (
        "late: read again it waits for what was",
        QUERY,
        "self.backlog, self.late = {}, {}",
        "self.backlog = {}",
        f"{ONE_LATE}::test_read_again_it_waits_for_nothing",
    ),
    (
        "late: nobody waits for a fence",
        LATE,
        "        self._roster.release(self._progress.time)\n",
        "",
        f"{JUDGED}::test_where_nothing_comes_of_it_its_position_is_that_of_all",
    ),
    (
        "late: it waits without a bound",
        LATE,
        "return (Short(group),) if len(group.late) > MOST else ()",
        "return ()",
        f"{JUDGED}::test_with_too_much_to_judge_it_is_read_again",
    ),
    (
        "late: who is gone is judged",
        LATE,
        "if not group.live or self._roster.members(group) is None:",
        "if not group.live:",
        f"{JUDGED}::test_who_has_left_is_judged_no_more",
    ),
    (
        "slow: of a channel that has lapsed nothing is told to who subscribes meanwhile",
        "realtime/hub/subscriptions.py",
        "        if owner.sink.withholds(group.channel):",
        "        if False:",
        f"{MISSES}[query-beside]",
    ),
    (
        "slow: nor where nobody is left who had it",
        "realtime/hub/subscriptions.py",
        "            owner.sink.forget(group.channel)  # nobody is left who missed anything",
        "            pass",
        f"{MISSES}[events-again]",
    ),
    (
        "slow: nor where its group was read again meanwhile",
        "realtime/hub/subscriptions.py",
        "            owner.sink.forget(group.channel)  # nobody is left who missed anything",
        "            pass",
        "tests/hub/test_slow.py::test_a_group_read_again_meanwhile_says_so_once",
    ),
]
