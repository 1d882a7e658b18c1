"""Rows of `make sabotage` for HTTP: bulk inserts, ETags, pages, NDJSON and event streams."""

from __future__ import annotations

WRITES = "realtime/mongo/writes.py"
CURSOR = "realtime/core/wire/cursor.py"
SSE = "realtime/web/http/sse.py"
AFTER = "tests/web/http/test_after.py"
STREAMS = "tests/web/http/test_sse.py"

HTTP: list[tuple[str, str, str, str, str]] = [
    (
        "bulk insert without its transaction",
        WRITES,
        "result = await transact(session, write, self._gate.seconds)\n            return Inserted",
        "result = await write(session)\n            return Inserted",
        "tests/web/http/test_bulk.py::test_a_list_is_one_moment_at_its_position",
    ),
    (
        "an aborted transaction is not run again",
        "realtime/mongo/transactions.py",
        'if not error.has_error_label("TransientTransactionError") or',
        "if True or",
        "tests/web/http/test_bulk.py::test_concurrent_lists_with_a_key_in_common_are_each_whole_or_refused",
    ),
    (
        "a commit without an answer is not asked for again",
        "realtime/mongo/transactions.py",
        "if late or not",
        "if True or not",
        "tests/web/http/test_bulk.py::test_a_commit_whose_answer_was_lost_is_asked_for_again",
    ),
    (
        "If-Match is decided before the transaction of the write",
        WRITES,
        "result = await self._conditional(session, collection, key, write, terms)\n            made",
        "await self._check(None, collection, key, terms)\n            result = await write(session)\n            made",
        "tests/web/http/test_etags.py::test_50_parallel_puts_with_one_tag_are_one_200_and_49_times_412",
    ),
    (
        "a weak tag matches",
        "realtime/web/http/etags.py",
        "or tag in wanted",
        "or tag in map(_strong, wanted)",
        "tests/web/http/test_etags.py::test_another_tag_and_a_weak_one_write_nothing",
    ),
    (
        "after by $gt, which sees one type alone",
        CURSOR,
        '{path: {"$not": {"$lte" if direction == 1 else "$gte": value}}}',
        '{path: {"$gt" if direction == 1 else "$lt": value}}',
        f"{AFTER}::test_a_sort_key_of_another_type_anywhere_is_refused_and_never_left_out",
    ),
    (
        "after by an expression that no index serves",
        CURSOR,
        '["$_id", {"$literal": value}]',
        '[{"$ifNull": ["$_id", None]}, {"$literal": value}]',
        f"{AFTER}::test_a_page_10_000_deep_examines_at_most_limit_and_one_key",
    ),
    (
        "ties are not broken by the document's key",
        CURSOR,
        "for place, (path, direction) in enumerate(keys):",
        "for place, (path, direction) in enumerate(keys[:-1] or keys):",
        f"{AFTER}::test_the_pages_together_are_the_whole_result_in_order",
    ),
    (
        "NDJSON collects before it writes",
        "realtime/web/http/ndjson.py",
        'await write(b"".join(ejson.encode(document) + b"\\n" for document in documents))',
        'self.body += b"".join(ejson.encode(document) + b"\\n" for document in documents)',
        "tests/web/http/test_ndjson.py::test_a_million_documents_leave_the_process_below_30_mb_more",
    ),
    (
        "the cursor of a reader that is gone lives on",
        "realtime/mongo/stream.py",
        'await self._client.admin.command({"killSessions": [session.session_id]})',
        "pass",
        "tests/web/http/test_ndjson.py::test_a_reader_that_is_gone_takes_its_cursor_along_at_once",
    ),
    (
        "a heartbeat before live has an id",
        SSE,
        '(kind == b"heartbeat" and self._live)',
        'kind == b"heartbeat"',
        f"{STREAMS}::test_the_id_of_every_kind_of_frame",
    ),
    (
        "Last-Event-ID is not taken up",
        SSE,
        "if position is None:\n        return opened()",
        "if position is None or position:\n        return opened()",
        "tests/exact/test_sse.py::test_after_kill_9_last_event_id_brings_exactly_the_rest",
    ),
    (
        "a stream that is gone keeps its subscription",
        SSE,
        "self._live.hub.drop(self)",
        "pass",
        f"{STREAMS}::test_a_client_that_is_gone_leaves_nothing",
    ),
    (
        "event streams are not told of the end",
        "realtime/web/server.py",
        "self._drain()",
        "pass",
        f"{STREAMS}::test_the_services_end_ends_the_streams_at_once_and_they_may_resume",
    ),
]
