"""Rows of `make sabotage` for rules, as attackers would see them: name, file, line, what stands there instead, test."""

from __future__ import annotations

VISION, JUDGING = "realtime/core/mql/vision.py", "realtime/core/live/judging.py"
SESSION, CHANGES = "realtime/core/connection/session.py", "realtime/web/entrance/changes.py"
ADVISORIES = "tests/rules/test_advisories.py"

JUDGED: list[tuple[str, str, str, str, str]] = [
    (
        "rules, judged: nobody asks what may be read",
        SESSION,
        "return EVERYTHING if policy is None else policy.reading(self.principal, next(iter(collections or ())))",
        "return EVERYTHING",
        f"{ADVISORIES}::test_whoever_has_no_role_has_no_access_and_nobody_has_before_they_are_known",
    ),
    (
        "rules, judged: one sees the fields that another is shown",
        VISION,
        "return _Seen.of(self, asked) if self.cuts else asked",
        "return asked",
        f"{ADVISORIES}::test_concurrent_subscribers_of_one_query_are_each_told_their_own",
    ),
    (
        "rules, judged: an event tells that something hidden changed",
        JUDGING,
        "    elif not _certainly_changed(event, seeing):",
        "    elif False:",
        f"{ADVISORIES}::test_what_is_hidden_moves_no_count_no_tag_no_frame_and_no_name",
    ),
    (
        "rules, judged: an operator tells what a hidden field holds",
        "realtime/core/mql/writing.py",
        "if not all(_may_be_asked(fields, one) for fields in self._shown):",
        "if False:",
        f"{ADVISORIES}::test_an_update_does_not_tell_what_a_hidden_field_holds[write1]",
    ),
    (
        "rules, judged: who is there goes on under the old rules",
        CHANGES,
        "connection.reconsider(about)",
        "pass",
        f"{ADVISORIES}::test_after_a_stricter_rule_was_read_nothing_comes_by_the_old_one",
    ),
    (
        "rules, judged: a query's key does not name what its sets ask for",
        "realtime/core/access/rules/membership.py",
        "    return Binary(hashlib.sha256(asked.key).digest(), 0x80)",
        "    return Binary(hashlib.sha256(asked.collection.encode()).digest(), 0x80)",
        "tests/rules/test_membership.py::test_rules_are_exchanged_while_memberships_change",
    ),
    (
        "rules, judged: a live pipeline's first stage sees hidden fields",
        "realtime/core/live/pipelines/flow.py",
        "        self._pipeline, self._projection = pipeline, projection",
        "        self._pipeline, self._projection = pipeline, EVERYTHING",
        "tests/rules/test_matrix.py::test_nobody_is_told_what_find_under_their_rule_would_not_return",
    ),
    (
        "rules, judged: a pipeline that is asked once sees hidden fields",
        "realtime/core/mql/pipelines/hidden.py",
        '    return [{"$project": cut.projection.source}, ANEW]',
        "    return []",
        "tests/rules/test_matrix.py::test_nobody_is_told_what_find_under_their_rule_would_not_return",
    ),
]
