"""Rows of `make sabotage` for events under rules: name, file, line, what stands there instead, test."""

from __future__ import annotations

JUDGED = "tests/core/live/test_judging.py"
JOURNALED = "tests/core/live/test_journal.py"
ASKED = "tests/core/connection/test_ruled.py"
SEEN = "tests/core/mql/test_sight.py"

HEARD: list[tuple[str, str, str, str, str]] = [
    (
        "events ruled: the image before is not cut",
        "realtime/core/live/judging.py",
        "    before = None if event.before is None else _shown(vision, event.before)\n    if event.before",
        "    before = event.before\n    if event.before",
        f"{JUDGED}::test_an_update_is_judged_by_both_of_its_images",
    ),
    (
        "events ruled: what is hidden now is told",
        "realtime/core/live/judging.py",
        "    if not seeing or (after.document is not None and document is None):",
        "    if False:",
        f"{JUDGED}::test_of_a_document_that_is_hidden_now_nothing_is_told",
    ),
    (
        "events ruled: a change of what is hidden is told",
        "realtime/core/live/judging.py",
        "        if _encoded(before) == _encoded(document):",
        "        if False:",
        f"{JUDGED}::test_an_event_that_changed_only_what_is_hidden_is_told_to_nobody",
    ),
    (
        "events ruled: a later image is that of the event",
        "realtime/core/live/judging.py",
        "(after.since is not None and not share.filter.reads(after.since))",
        "True",
        f"{JUDGED}::test_an_earlier_update_is_not_judged_by_a_document_that_a_later_one_made_visible",
    ),
    (
        "events ruled: an update that the rule reads was of what is seen",
        "realtime/core/live/judging.py",
        "if share.every_row or not share.filter.reads(touched))",
        "if True)",
        f"{JUDGED}::test_without_an_image_before_one_that_the_rule_reads_tells_what_is_there_now",
    ),
    (
        "events ruled: hidden paths are named",
        "realtime/core/live/judging.py",
        "for path in paths if _shows(seeing, path) and _shows(seen, path))",
        "for path in paths)",
        f"{JUDGED}::test_an_update_is_judged_by_both_of_its_images",
    ),
    (
        "events ruled: a delete without an image is told",
        "realtime/core/live/judging.py",
        "return Told() if vision.every_row else None",
        "return Told()",
        f"{JUDGED}::test_a_delete_is_told_by_its_image_and_without_one_only_where_every_document_is_seen",
    ),
    (
        "events ruled: a hidden name is told by a rename",
        "realtime/core/live/judging.py",
        '    if event.op == "rename" and here != there:',
        "    if False:",
        f"{JUDGED}::test_a_rename_that_is_told_as_a_drop_is_one_to_who_asked_for_operations",
    ),
    (
        "events ruled: deletes that are not told are all",
        "realtime/core/live/event_group.py",
        '"all" if sight is None or sight.every_row else "none"',
        '"all"',
        f"{JUDGED}::test_what_becomes_of_deletes_is_said",
    ),
    (
        "events ruled: what later events touched is not looked for",
        "realtime/core/live/moments.py",
        "        so_far[event.identity] = None if later is None or now is None else later | now",
        "        so_far[event.identity] = later",
        f"{JUDGED}::test_an_earlier_update_is_not_judged_by_a_document_that_a_later_one_made_visible",
    ),
    (
        "events ruled: what happened until a late read is forgotten",
        "realtime/core/live/journal.py",
        ".append((event.time, touched_by(event)))",
        ".append((event.time, frozenset()))",
        f"{JOURNALED}::test_what_happened_until_a_late_document_was_read_is_noted_from_the_entries_until_then",
    ),
    (
        "events ruled: the group's key is without the rule",
        "realtime/core/live/asked.py",
        '**({} if sight is None else {"sight": sight.canonical}),',
        "",
        f"{ASKED}::test_who_hears_the_same_shares_a_group",
    ),
    (
        "events ruled: a collection without a grant is covered",
        "realtime/core/live/asked.py",
        "        if self.sight is not None and not self.sight.of(collection).granted:",
        "        if False:",
        f"{JUDGED}::test_events_of_collections_without_a_grant_are_not_told_in_the_feed_of_all",
    ),
    (
        "events ruled: other rules leave the names as they were",
        "realtime/core/connection/session.py",
        'collections = None if request.mode == "events" else collections_of(request)',
        "collections = collections_of(request)",
        f"{ASKED}::test_events_are_asked_again_where_the_name_of_another_collection_may_be_told_no_more",
    ),
    (
        "events ruled: whatever is named may be asked for",
        "realtime/core/mql/sight.py",
        "        if not may:",
        "        if False:",
        f"{SEEN}::test_whoever_asks_for_what_is_not_theirs_or_by_what_is_hidden_is_refused",
    ),
]
