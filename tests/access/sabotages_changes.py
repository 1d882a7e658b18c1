"""Rows of `make sabotage` for changes of access: name, file, line, what stands there instead, test."""

from __future__ import annotations

CHANGES = "tests/access/test_changes.py"
EXCHANGE = "realtime/commands/exchange.py"
LEAVES = "realtime/core/live/leaves.py"
RESUMED = "tests/hub/test_resume_ruled.py"
SESSION = "realtime/core/connection/session.py"
SSE = "realtime/web/http/sse.py"

CHANGED: list[tuple[str, str, str, str, str]] = [
    (
        "changes: another token changes nothing",
        SESSION,
        "        return [Send(answer.encode()), Admit(outcome), *self.reconsider()]",
        "        return [Send(answer.encode()), Admit(outcome)]",
        f"{CHANGES}::test_a_token_with_other_claims_shows_what_they_let_and_one_with_the_same_is_not_seen",
    ),
    (
        "changes: whoever is asked again is told again",
        SESSION,
        "            elif query.key != asked.key:",
        "            elif True:",
        f"{CHANGES}::test_a_token_with_other_claims_shows_what_they_let_and_one_with_the_same_is_not_seen",
    ),
    (
        "changes: new rules hold for whoever comes",
        "realtime/web/entrance/changes.py",
        "            connection.reconsider(about)",
        "            pass",
        f"{CHANGES}::test_rules_by_hand_hold_when_it_returns_and_are_told_to_whom_they_concern",
    ),
    (
        "changes: who may read no more reads on",
        "realtime/web/entrance/changes.py",
        "        hub.revoke(subscription, effect.error)",
        "        pass",
        f"{CHANGES}::test_who_may_read_no_more_is_unsubscribed_and_hears_nothing_after_it",
    ),
    (
        "changes: a file that changed is not looked at",
        "realtime/access/rules_file.py",
        "            if asked or (now != known and now == before):",
        "            if asked:",
        f"{CHANGES}::test_a_changed_file_is_taken_by_itself_and_a_bad_one_is_refused_whole_with_its_line",
    ),
    (
        "changes: a file is read while it is written",
        "realtime/access/rules_file.py",
        "            if asked or (now != known and now == before):",
        "            if asked or now != known:",
        "tests/access/test_rules_file.py::test_a_file_that_is_still_being_written_is_not_read",
    ),
    (
        "changes: a stream's position goes with any query",
        SSE,
        '    at, _, key = position.partition(".")\n    if live.policy is None:',
        '    at, _, key = position.partition(".")\n    if True:\n        key = ""',
        f"{CHANGES}::test_a_stream_begins_again_under_new_rules_and_a_position_of_before_is_none",
    ),
    (
        "changes: one worker that refuses is not heard",
        EXCHANGE,
        "            if refused is not None:",
        "            if False:",
        "tests/commands/test_exchange.py::test_none_takes_what_one_refuses_and_its_reason_is_told",
    ),
    (
        "changes: a worker that starts meanwhile keeps the old rules",
        EXCHANGE,
        "        while asked := [one for one in self._workers() if one not in ready]:",
        "        if asked := [one for one in self._workers() if one not in ready]:",
        "tests/commands/test_exchange.py::test_one_that_starts_meanwhile_is_asked_too_and_one_that_died_is_not_waited_for",
    ),
    (
        "changes: who resumes under a rule is told of every document that changed",
        "realtime/hub/resume.py",
        "        if subscription.ruled:",
        "        if False:",
        f"{RESUMED}::test_only_what_they_held_is_named_and_no_document_that_was_never_theirs",
    ),
    (
        "changes: whether somebody is ruled is the group's",
        "realtime/hub/roster.py",
        "        subscription.ruled = bool(subscription.query.filter.rule)",
        "        subscription.ruled = bool(group.query.filter.rule)",
        f"{RESUMED}::test_they_share_the_group_of_who_asks_the_same_without_a_rule_and_are_told_no_more",
    ),
    (
        "changes: what is not known to have been held is not told to leave",
        LEAVES,
        "return {name for told, name in self._told if told > time} if time >= self.since else None",
        "return {name for told, name in self._told if told > time}",
        f"{RESUMED}::test_where_nobody_watched_it_is_a_snapshot_unless_what_happened_says_it",
    ),
    (
        "changes: in the turn in which rules change all are taken in again",
        "realtime/web/entrance/changes.py",
        "    with live.hub.changing():",
        "    with contextlib.nullcontext():",
        f"{CHANGES}::test_between_the_turn_in_which_rules_change_and_its_slice_a_subscription_obeys_the_new_ones",
    ),
]
