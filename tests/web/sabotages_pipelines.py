"""Rows of `make sabotage` for how users reach pipelines: over HTTP, by frames, by both clients."""

from __future__ import annotations

ROUTE, SNAPSHOT, RULED = (
    "realtime/web/http/aggregate.py",
    "realtime/mongo/snapshot.py",
    "realtime/mongo/ruled.py",
)
HIDDEN = "realtime/core/mql/pipelines/hidden.py"
HTTP, READS = "tests/web/http/test_aggregate.py", "tests/mongo/test_aggregate.py"
FRAMES = "tests/core/connection/test_session_subscribe.py"
VIEWS, BROWSER = "tests/client/test_pipelines.py", "tests/js/test_pipelines.py"

PIPED: list[tuple[str, str, str, str, str]] = [
    (
        "pipeline: what may not be seen is not cut before the first stage",
        ROUTE,
        "taken_out(cut, self.pipeline.source)",
        "[]",
        f"{HTTP}::test_rows_are_made_of_what_may_be_seen",
    ),
    (
        "pipeline: every row is read, whoever asks",
        ROUTE,
        "return None if self.vision.everything else self.vision.rule.source",
        "return None",
        f"{HTTP}::test_rows_are_made_of_what_may_be_seen",
    ),
    (
        "pipeline: anybody matches by what is hidden",
        ROUTE,
        "    mine.vision.check(pipeline.match, EVERYTHING)\n",
        "",
        f"{HTTP}::test_nobody_matches_by_what_is_hidden_and_what_comes_later_does_not_find_it",
    ),
    (
        "pipeline: a hidden field keeps its place",
        HIDDEN,
        '    return [{"$project": cut.projection.source}, ANEW]',
        '    return [{"$project": cut.projection.source}]',
        f"{HTTP}::test_the_place_of_a_field_tells_nothing_of_a_hidden_one",
    ),
    (
        "pipeline: who sets a name that is hidden inside a field",
        HIDDEN,
        "    if named:\n",
        "    if named and not inside:\n",
        f"{HTTP}::test_the_place_of_a_field_tells_nothing_of_a_hidden_one",
    ),
    (
        "pipeline: of several grants the fields of one are shown of all",
        ROUTE,
        "        if cut is None:\n",
        "        cut = cut or self.vision.shares[0].cut\n        if cut is None:\n",
        f"{HTTP}::test_several_grants_are_one_where_they_show_the_same",
    ),
    (
        "pipeline: $$NOW is of another second than the position",
        ROUTE,
        "    return now >> 32",
        "    return (now >> 32) - 30",
        f"{HTTP}::test_what_is_of_the_last_minutes_is_so_at_the_second_of_the_position",
    ),
    (
        "pipeline: nobody notices who goes away",
        ROUTE,
        "        for one in (task, watch):\n            one.cancel()\n",
        "        watch.cancel()\n",
        f"{HTTP}::test_who_goes_away_takes_the_work_along[GET-application/json]",
    ),
    (
        "pipeline: what is given up is left running in MongoDB",
        SNAPSHOT,
        "            await ended(self._client, session, whole=whole)",
        "            await ended(self._client, session, whole=True)",
        f"{READS}::test_who_is_gone_leaves_nothing_running",
    ),
    (
        "pipeline: an answer of any size is kept in memory",
        "realtime/mongo/stream.py",
        "if rows > self.rows or size > self.bytes:",
        "if rows > self.rows:",
        f"{READS}::test_what_is_larger_is_refused_with_the_bound_and_read_no_further[bounds1]",
    ),
    (
        "pipeline: MongoDB sorts on its disk",
        RULED,
        '"cursor": {}, "allowDiskUse": False}',
        '"cursor": {}, "allowDiskUse": True}',
        f"{READS}::test_mongodb_is_asked_with_the_rule_first_and_without_a_disk",
    ),
    (
        "pipeline: what MongoDB has no memory for is a bug",
        "realtime/mongo/faults.py",
        'if code in _OUT_OF_MEMORY and intent == "read":',
        "if False:",
        f"{READS}::test_what_mongodb_has_no_memory_for_is_too_large_and_no_bug[set]",
    ),
    (
        "pipeline: the snapshot of a count does not name its key",
        "realtime/core/connection/cutting.py",
        "shows_keys=shows_keys)",
        "shows_keys=True)",
        f"{HTTP}::test_the_stream_of_a_count_names_its_key",
    ),
    (
        "pipeline: the Python client looks for a key where there is none",
        "realtime/client/folds.py",
        'self._arriving.put(frame["documents"], frame.get("keys"))',
        'self._arriving.put(frame["documents"])',
        f"{VIEWS}::test_a_view_shows_what_mongodb_does_and_its_moments_lead_there",
    ),
    (
        "pipeline: the browser's client gives a count no key",
        "realtime/web/static/realtime/view.js",
        "frame.keys === undefined ? document._id : frame.keys[n]",
        "document._id",
        "tests/js/test_client.py::test_the_client_does_as_its_tests_say[view.test.mjs]",
    ),
    (
        "pipeline: a filter beside it is left out without a word",
        "realtime/core/connection/requests.py",
        'for name in ("filter", "last", "sort", "limit", "projection", "group") if',
        'for name in ("last", "sort", "limit", "projection", "group") if',
        f"{FRAMES}::test_a_subscribe_that_cannot_be_served_is_refused_and_its_id_stays_free[pipeline with filter]",
    ),
]
