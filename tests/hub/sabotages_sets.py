"""Rows of `make sabotage` for sets that rules take: name, file, line, what stands there instead, test."""

from __future__ import annotations

TELLER, LOADING = "realtime/hub/teller.py", "realtime/hub/loading.py"
SETS, MEMBERSHIPS, RESUME = "realtime/hub/sets.py", "realtime/hub/memberships.py", "realtime/hub/resume.py"
REFILLS, RULED = "realtime/hub/refills.py", "realtime/mongo/ruled_writes.py"
MEMBERS, NAMED = "realtime/core/mql/membership.py", "realtime/core/access/rules/membership.py"
JUDGED, ONE_NAMED = "tests/hub/test_memberships.py", "tests/core/access/rules/test_membership.py"
EVENTS = "tests/core/live/test_judging.py"
SERVED = "tests/rules/test_membership.py"

SETS_ROWS: list[tuple[str, str, str, str, str]] = [
    (
        "sets: not settled before the groups",
        TELLER,
        "        yield from self._memberships.settle(settled, images)",
        "        pass",
        f"{JUDGED}::test_a_set_and_documents_of_one_transaction_are_one_position[set]",
    ),
    (
        "sets: a set has no bound",
        MEMBERS,
        "            if len(found) > self.most:",
        "            if False:",
        "tests/core/mql/test_membership.py::test_more_values_or_more_documents_than_there_may_be_are_none",
    ),
    (
        "sets: a query's key has no user in it",
        NAMED,
        "    return Binary(hashlib.sha256(asked.key).digest(), 0x80)",
        '    return Binary(b"set", 0x80)',
        f"{ONE_NAMED}::test_the_key_of_a_query_is_rule_and_user_and_not_the_values",
    ),
    (
        "sets: a snapshot ahead of the feed is told",
        LOADING,
        "            await self._reached(snapshot.time)",
        "            pass",
        f"{JUDGED}::test_a_read_ahead_of_the_feed_waits_until_it_is_known_what_the_set_was_then",
    ),
    (
        "sets: nobody waits for a set",
        SETS,
        "            await waiting.answered.wait()",
        "            break",
        f"{JUDGED}::test_who_is_a_member_sees_their_teams_and_the_key_does_not_say_which",
    ),
    (
        "sets: a batch is not cut where a set changes",
        MEMBERSHIPS,
        "        if not names:\n            return most",
        "        if names or not names:\n            return most",
        f"{JUDGED}::test_events_are_judged_by_the_set_as_it_was_at_each",
    ),
    (
        "sets: events of a transaction are judged by what was before it",
        "realtime/core/live/event_group.py",
        "event.time > turn.last or event.time == turn.first == turn.last",
        "event.time > turn.last",
        f"{JUDGED}::test_in_a_transaction_with_its_set_an_event_is_judged_by_what_holds_after_it",
    ),
    (
        "sets: an image before is judged by what holds after",
        "realtime/core/live/judging.py",
        "    if earlier is not None:",
        "    if False:",
        f"{EVENTS}::test_an_image_before_a_change_of_a_set_is_for_who_saw_it_then_and_sees_it_now[c-False]",
    ),
    (
        "sets: a replay begins before the set's last change",
        RESUME,
        "        if (since := self._since(group, after)) is not None:\n            raise others_then(since)",
        "        self._since(group, after)",
        f"{JUDGED}::test_a_replay_begins_no_earlier_than_the_sets_last_change",
    ),
    (
        "sets: a replay goes on when its set has changed",
        RESUME,
        "            if (since := self._since(group, told)) is not None:",
        "            if (since := self._since(group, told)) is None:",
        f"{JUDGED}::test_a_set_that_nobody_followed_is_known_to_have_been_the_same_by_what_happened",
    ),
    (
        "sets: a view from before a change is brought up by what happened",
        RESUME,
        "or self._since(group, after) is not None:",
        "or False:",
        f"{JUDGED}::test_a_view_from_before_a_change_of_its_set_is_a_snapshot",
    ),
    (
        "sets: one that is read again is known meanwhile",
        MEMBERSHIPS,
        "        if one is not None and one.known:\n            one.answered.clear()\n            self._unknown(one)",
        "        one = one",
        f"{JUDGED}::test_a_set_that_cannot_be_followed_is_read_again_before_anybody_is_told[dropped]",
    ),
    (
        "sets: what holds of the old state is told while it is read again",
        REFILLS,
        "        self._router.unsettle(group)\n        group.reload()",
        "        self._router.unsettle(group)",
        f"{JUDGED}::test_a_membership_that_comes_and_goes_is_one_moment_each_on_the_same_channel",
    ),
    (
        "sets: one that nobody followed is taken to have been the same",
        SETS,
        '            if event.op != "update" or event.identity not in held or reads:\n                return False',
        "            pass",
        f"{JUDGED}::test_a_set_that_nobody_followed_is_known_to_have_been_the_same_by_what_happened",
    ),
    (
        "sets: a write asks before its transaction",
        RULED,
        "documents.find(selection, collation=EXACTLY, session=transaction)",
        "documents.find(selection, collation=EXACTLY)",
        "tests/mongo/test_ruled_writes.py::test_a_set_is_asked_in_the_writes_own_transaction",
    ),
    (
        "sets: a list under way is asked about no more",
        "realtime/web/http/listing.py",
        "        if not now.same(listing.vision):",
        "        if False:",
        f"{SERVED}::test_a_list_under_way_ends_with_the_membership",
    ),
    (
        "sets: a request is answered by no set",
        "realtime/web/entrance/sets.py",
        "        return Seen(vision.filled(found), time)",
        "        return Seen(vision, time)",
        f"{SERVED}::test_every_way_to_read_goes_by_what_somebody_is_a_member_of_now",
    ),
]
