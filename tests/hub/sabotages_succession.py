"""Rows of `make sabotage` for changes of access in the hub: name, file, line, what stands there instead, test."""

from __future__ import annotations

SUBSCRIPTIONS = "realtime/hub/subscriptions.py"
TESTS = "tests/hub/test_succession.py"

SUCCESSION: list[tuple[str, str, str, str, str]] = [
    (
        "succession: the old channel is told once more",
        SUBSCRIPTIONS,
        "        group, owner, told = subscription.group,",
        "        return None\n        group, owner, told = subscription.group,",
        f"{TESTS}::test_it_is_said_at_once_and_nothing_of_the_old_query_is_told_after_it",
    ),
    (
        "succession: subscribed is said when the snapshot is there",
        SUBSCRIPTIONS,
        "if subscription.successor and isinstance(group, QueryGroup):",
        "if False:",
        f"{TESTS}::test_it_is_said_at_once_and_nothing_of_the_old_query_is_told_after_it",
    ),
    (
        "succession: what waits of the old query is sent",
        "realtime/core/connection/outbox.py",
        "        dropped = self._drop(channel)\n        for one in withdrawn:",
        "        dropped: list[_Moment] = []\n        for one in withdrawn:",
        f"{TESTS}::test_what_waits_of_the_old_query_is_not_sent",
    ),
    (
        "succession: a snapshot of the old query goes on",
        "realtime/hub/walls.py",
        "                if subscription.superseded:",
        "                if False:",
        f"{TESTS}::test_a_snapshot_that_is_on_its_way_is_cut_off",
    ),
    (
        "succession: a channel that lapsed before stays mute",
        "realtime/core/connection/outbox.py",
        "        told = self._lapsed.pop(channel, None)",
        "        told = self._lapsed.get(channel)",
        f"{TESTS}::test_a_connection_that_lapsed_hears_the_new_channel_even_where_it_is_the_old_one_again",
    ),
    (
        "succession: one that may not be had any more is told what waited",
        SUBSCRIPTIONS,
        "        self._silence(subscription)\n        self.end",
        "        self.end",
        f"{TESTS}::test_one_that_may_not_be_had_any_more_ends_with_the_reason_and_nothing_after",
    ),
    (
        "succession: all changed queries are read at once",
        "realtime/hub/groups.py",
        "self._loader.bring_up(group, few=few)",
        "self._loader.bring_up(group)",
        f"{TESTS}::test_few_are_read_beside_each_other_however_many_change_at_once",
    ),
    (
        "succession: events under the new query begin when it is known",
        SUBSCRIPTIONS,
        "            after if events else None,",
        "            None,",
        f"{TESTS}::test_events_go_on_from_where_they_were_under_the_new_query",
    ),
    (
        "succession: events that waited are lost for the second subscription",
        SUBSCRIPTIONS,
        "                one.told = dropped if one.told is None else one.told",
        "                pass",
        f"{TESTS}::test_events_that_waited_are_told_once_under_the_new_query[False]",
    ),
    (
        "succession: a heartbeat says that what was dropped was told",
        "realtime/hub/roster.py",
        "            return not self.successor  #",
        "            return True  #",
        f"{TESTS}::test_no_heartbeat_says_that_events_were_told_which_are_still_to_come",
    ),
    (
        "succession: a replay that is cut off is taken for told",
        "realtime/hub/resume.py",
        "            subscription.told = told = max(told, entry.time)",
        "            told = max(told, entry.time)",
        f"{TESTS}::test_a_replay_that_is_on_its_way_goes_on_under_the_new_query",
    ),
    (
        "succession: many are taken in in one turn",
        "realtime/hub/successions.py",
        "        if self._together is None:",
        "        if self._slices:",
        f"{TESTS}::test_many_are_silent_in_one_turn_and_are_taken_in_one_slice_a_turn",
    ),
    (
        "succession: many are silent when their slice comes",
        SUBSCRIPTIONS,
        "        after = self._silence(subscription)\n        events",
        "        after = subscription.after\n        events",
        f"{TESTS}::test_many_are_silent_in_one_turn_and_are_taken_in_one_slice_a_turn",
    ),
    (
        "succession: who waits for a slice is not among its connection's",
        "realtime/hub/successions.py",
        "        self._roster.expect(subscription)",
        "        pass",
        f"{TESTS}::test_until_their_slice_comes_heartbeats_say_that_they_are_behind",
    ),
    (
        "succession: what was let go before its slice is taken in",
        "realtime/hub/successions.py",
        "            self._roster.leave(subscription)\n            self._take(subscription)",
        "            self._roster.leave(subscription)\n        self._take(subscription)",
        f"{TESTS}::test_what_becomes_of_one_before_its_slice_comes_is_what_holds",
    ),
]
