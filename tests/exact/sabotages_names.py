"""Rows of `make sabotage` for what a name stands for: names that become something else, capped collections, MongoDB's
temporary ones, and replica sets that share the name of their history."""

from __future__ import annotations

BECOMES = "tests/exact/test_becomes_another.py"
KINDS = "tests/hub/test_kinds.py"
CAPPED = "tests/web/http/test_capped.py"
ANOTHER = "tests/exact/test_another_set.py"
TEMPORARY = "tests/exact/test_temporary.py"
SNAPSHOT = "realtime/mongo/snapshot.py"
REPLIES = "realtime/mongo/replies.py"
PIPE = "realtime/hub/pipe.py"
LOADING = "realtime/hub/loading.py"

ENDS = f"{BECOMES}::test_a_name_that_becomes_what_cannot_be_served_ends_its_subscriptions"
MEANWHILE = f"{BECOMES}::test_a_view_made_while_its_name_is_described_or_read_is_not_served"
OLDER = f"{ANOTHER}::test_a_position_from_before_the_first_entry_of_the_oplog_is_never_recovered"

NAMES: list[tuple[str, str, str, str, str]] = [
    (
        "becomes: what is created is not asked for",
        REPLIES,
        '"dropDatabase", "invalidate", CREATE]',
        '"dropDatabase", "invalidate"]',
        f"{ENDS}[view-nothing]",
    ),
    (
        "becomes: what is created changes nothing",
        "realtime/core/live/moments.py",
        "    if event.kind is not None:",
        "    if False:",
        f"{ENDS}[view-nothing]",
    ),
    (
        "becomes: events do not ask again",
        "realtime/hub/teller.py",
        "                yield Remade(group)",
        "                pass",
        f"{ENDS}[view-nothing]",
    ),
    (
        "becomes: what was renamed onto a name is a plain collection",
        "realtime/core/live/moments.py",
        "            settled.remade.update((event.to,) if event.to else ())",
        "            pass",
        f"{ENDS}[renamed_onto-nothing]",
    ),
    (
        "becomes: what is created is told",
        "realtime/core/live/event_group.py",
        "        if event.op == CREATE or event.kind is not None:",
        "        if False:",
        "tests/core/live/test_query_events.py::test_what_is_created_and_views_that_are_dropped_are_told_to_nobody",
    ),
    (
        "becomes: a read is of whatever has the name",
        SNAPSHOT,
        "options | _only(None if facts is None else facts.uuid)",
        "options | _only(None)",
        MEANWHILE,
    ),
    (
        "becomes: what was not there is not there",
        SNAPSHOT,
        "            if facts is not None and not facts.exists:",
        "            if False:",
        MEANWHILE,
    ),
    (
        "becomes: rows of a view are images",
        PIPE,
        "read_at(collection, keys, time, uuid=uuid)",
        "read_at(collection, keys, time)",
        f"{BECOMES}::test_rows_of_a_view_are_no_images_of_a_collection_of_its_name",
    ),
    (
        "becomes: an answer from before is good enough",
        SNAPSHOT,
        "        following = self._next_facts.get(collection)",
        "        following = self._next_facts.get(collection) or self._facts.get(collection)",
        f"{CAPPED}::test_a_crowd_that_asks_what_a_name_stands_for_shares_two_reads",
    ),
    (
        "becomes: who is on the way keeps its answer",
        "realtime/hub/groups.py",
        "            members.task.cancel()\n        self.start(group)\n\n    def _refuse",
        "            return\n        self.start(group)\n\n    def _refuse",
        f"{KINDS}::test_who_is_on_the_way_asks_again_for_what_it_was_told_may_be_old",
    ),
    (
        "becomes: who resumes is welcomed again",
        LOADING,
        "        if not group.live:",
        "        if True:",
        f"{KINDS}::test_who_resumes_meanwhile_is_welcomed_once",
    ),
    (
        "becomes: events end while MongoDB is away",
        LOADING,
        "                if not (error.retry and group.live):",
        "                if True:",
        f"{KINDS}::test_events_go_on_until_it_is_known_what_their_name_stands_for",
    ),
    (
        "capped: a query of one is read",
        LOADING,
        "        facts.check_snapshots(collection)",
        "        pass",
        f"{CAPPED}::test_a_query_is_refused_by_name_at_once",
    ),
    (
        "capped: a page of one is read",
        "realtime/web/http/listing.py",
        "    facts.check_snapshots(collection)",
        "    pass",
        f"{CAPPED}::test_over_http_a_page_is_refused_and_names_what_gives_it",
    ),
    (
        "capped: an update waits for its document",
        PIPE,
        "                return {}",
        "                return None",
        f"{CAPPED}::test_its_events_are_told_what_it_lets_go_among_them_and_an_update_goes_without_its_document",
    ),
    (
        "capped: who resumes waits for documents",
        "realtime/hub/resume.py",
        "                return dict.fromkeys(keys, (self._progress.time, None))",
        "                raise",
        f"{CAPPED}::test_its_events_are_resumed",
    ),
    (
        "capped: what made a name so is not waited for",
        PIPE,
        "                return time + 1, {}",
        "                return time, {}",
        f"{KINDS}::test_images_of_what_became_capped_wait_for_the_event_that_says_so",
    ),
    (
        "capped: a transaction on one is a bug of ours",
        "realtime/mongo/faults.py",
        "    if code in _NOT_IN_A_TRANSACTION:",
        "    if False:",
        f"{CAPPED}::test_it_is_written_and_where_that_takes_a_transaction_it_says_so",
    ),
    (
        "another set: MongoDB is believed, by who resumes",
        "realtime/mongo/reach.py",
        '    if first is not None and time < to_time(first["ts"]):',
        "    if False:",
        OLDER,
    ),
    (
        "another set: MongoDB is believed, by the stream",
        "realtime/mongo/reach.py",
        '    if first is not None and time < to_time(first["ts"]):',
        "    if False:",
        f"{ANOTHER}::test_a_service_whose_mongodb_is_exchanged_for_an_empty_one_says_that_history_is_lost",
    ),
    (
        "another set: a date is a position",
        "realtime/hub/history.py",
        "        return max(time, await self._oplog.initiated() or time)",
        "        return time",
        OLDER,
    ),
    (
        "temporary: all of it is read",
        REPLIES,
        '{"ns.coll": {"$not": {"$regex": TEMPORARY}}}',
        '{"ns.coll": {"$exists": True}}',
        f"{TEMPORARY}::test_what_is_written_on_the_way_is_not_even_read",
    ),
    (
        "temporary: all of it is told",
        "realtime/core/live/asked.py",
        "            return not reserved(collection)",
        "            return True",
        "tests/core/live/test_query_events.py::test_all_collections_are_a_users_own",
    ),
    (
        "temporary: the rename is not told",
        REPLIES,
        '        wanted = {"$or": [{"operationType": "rename"}, ',
        '        wanted = {"$or": [',
        f"{TEMPORARY}::test_all_collections_are_told_the_rename_onto_the_target_and_nothing_before_it",
    ),
    (
        "temporary: MongoDB's names are to be had",
        "realtime/core/wire/reserved_names.py",
        "    if reserved(name):\n",
        '    if name.startswith("system."):\n',
        f"{TEMPORARY}::test_mongodbs_own_names_are_not_to_be_had_and_not_listed",
    ),
    (
        "temporary: MongoDB's names are listed",
        SNAPSHOT,
        "if not isinstance(name, stored.Broken) and refusal(name) is None)",
        "if not isinstance(name, stored.Broken))",
        f"{TEMPORARY}::test_mongodbs_own_names_are_not_to_be_had_and_not_listed",
    ),
]
