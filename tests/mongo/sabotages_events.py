"""Rows of `make sabotage` for what an event costs: name, file, line, what stands there instead, test."""

from __future__ import annotations

FEED, STEPS, DECODING = "realtime/mongo/feed.py", "realtime/mongo/steps.py", "realtime/core/live/decoding.py"
TAKEN, DECODED, UNDECODED = "tests/mongo/test_steps.py", "tests/mongo/test_decoding.py", "tests/hub/test_undecoded.py"

EVENTS: list[tuple[str, str, str, str, str]] = [
    (
        "event: the thread of the steps outlives its feed",
        FEED,
        "            await steps.close(CLOSE_SECONDS)",
        "            pass",
        f"{TAKEN}::test_a_feed_has_one_thread_and_none_when_it_has_ended",
    ),
    (
        "event: a process waits for a frozen MongoDB's reply",
        STEPS,
        'name="realtime-feed", daemon=True',
        'name="realtime-feed"',
        f"{TAKEN}::test_closing_waits_no_longer_than_it_may_for_a_step_and_the_thread_ends_after_it",
    ),
    (
        "event: what a step raises is no answer",
        STEPS,
        "            tell(step.fail, error)",
        "            tell(step.finish, None)",
        f"{TAKEN}::test_what_a_step_raises_is_raised_where_it_was_asked_for_and_the_next_is_taken",
    ),
    (
        "event: nobody asks ahead",
        FEED,
        "if ahead is None and self._careless and reply.cursor and reply.is_full(self._size):",
        "if False:",
        f"{TAKEN}::test_while_a_full_reply_is_told_the_next_one_is_asked_for_and_no_more",
    ),
    (
        "event: the thread is woken for each step",
        FEED,
        "again = self._again if self._careless and not self._amid else None",
        "again = None",
        f"{TAKEN}::test_an_isolated_insert_costs_one_command_and_one_reply",
    ),
    (
        "event: the thread runs away from its feed",
        STEPS,
        "return step.ahead if step.followed else None",
        "return step if step.followed else None",
        f"{TAKEN}::test_a_step_is_taken_again_at_once_and_then_only_when_what_it_brought_was_looked_at",
    ),
    (
        "event: everything is decoded, asked for or not",
        DECODING,
        "        if self._names is not None and self._names.search(raw) is None",
        "        if False",
        f"{DECODED}::test_of_a_collection_that_nobody_asks_for_only_what_names_the_event_is_decoded",
    ),
    (
        "event: a name in a pattern is a pattern",
        DECODING,
        'b"|".join(map(re.escape, each))',
        'b"|".join(each)',
        f"{DECODED}::test_what_somebody_asks_for_is_decoded_whole_and_what_is_no_document",
    ),
    (
        "event: nobody learns who asks",
        FEED,
        "        self._decoder.look()\n",
        "        if not self.replies:\n            self._decoder.look()\n",
        f"{DECODED}::test_what_the_feed_left_undecoded_is_whole_when_somebody_looks",
    ),
    (
        "event: who came after it was read is told half of it",
        "realtime/hub/plan.py",
        "settle(opened(batch, router.hears))",
        "settle(batch)",
        f"{UNDECODED}::test_who_came_after_it_was_read_is_told_all_the_same",
    ),
    (
        "event: who resumes is told half of it",
        "realtime/core/live/event_group.py",
        "        entry = entry.whole(self.query.covers)\n",
        "",
        f"{UNDECODED}::test_who_resumes_from_before_it_gets_its_documents",
    ),
    (
        "event: what is undecoded is read of MongoDB instead",
        "realtime/hub/resume.py",
        "[entry.whole(group.query.covers) for entry in self._history.journal.after(after) or ()]",
        "self._history.journal.after(after) or []",
        f"{UNDECODED}::test_who_resumes_from_before_it_gets_its_documents",
    ),
]
