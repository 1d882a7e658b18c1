"""Rows of `make sabotage` for what is refused because of what was asked, and for what JSON cannot say."""

from __future__ import annotations

FAULTS = "realtime/mongo/faults.py"
SNAPSHOT = "realtime/mongo/snapshot.py"
UNREAD = "tests/web/test_unreadable.py"
REFUSED = "tests/web/test_refused.py"
BY_EVERY_WAY = f"{REFUSED}::test_what_an_index_does_not_take_is_the_documents_fault_by_every_way"
SORTED = f"{REFUSED}::test_what_cannot_be_sorted_has_one_answer_by_every_way_live_or_not"

OTHER = "tests/web/test_another_document.py"
EJSON = "realtime/core/bson/ejson.py"
WRITES = "realtime/mongo/writes.py"
OF_EJSON = "tests/core/bson/test_ejson.py"
COLLATED = f"{OTHER}::test_a_collation_makes_no_key_another_one"

ANSWERS: list[tuple[str, str, str, str, str]] = [
    (
        "mongo: all queries that are opened are read at once",
        FAULTS,
        'async with self._bounded("read"), self._snapshots:',
        'async with self._bounded("read"):',
        "tests/mongo/test_faults.py::test_of_queries_opened_together_few_are_read_at_once_in_their_order_and_images_pass_them",
    ),
    (
        "mongo: queries that are opened pass by the gate",
        "realtime/mongo/snapshot.py",
        "async with self._gate.snapshot():",
        "async with self._gate.read():",
        "tests/mongo/test_snapshot.py::test_of_many_finds_that_come_together_few_are_with_mongodb_at_once",
    ),
    (
        "refused: what an index does not take is a bug of ours",
        FAULTS,
        "of_one = isinstance(error, WriteError) or",
        "of_one = False or",
        f"{BY_EVERY_WAY}[parallel-arrays]",
    ),
    (
        "refused: so it is where the write answers with its document",
        FAULTS,
        "or words.startswith(_OF_ONE_WRITE)",
        "or False",
        f"{BY_EVERY_WAY}[out-of-bounds]",
    ),
    (
        "refused: so it is in a list",
        FAULTS,
        'of_one = WriteError if details.get("writeErrors") else OperationFailure',
        "of_one = OperationFailure",
        f"{BY_EVERY_WAY}[klingon]",
    ),
    (
        "refused: the server's own troubles are the document's",
        FAULTS,
        "if of_one and code not in _OF_THE_SERVER:",
        "if of_one:",
        "tests/mongo/test_faults.py::test_a_driver_error_is_a_row_of_the_protocol[46-WriteError-1]",
    ),
    (
        "refused: a reason quotes the whole document",
        FAULTS,
        "_HEAD, _TAIL = 150, 250",
        "_HEAD, _TAIL = 15_000_000, 250",
        f"{REFUSED}::test_a_long_document_is_not_quoted_whole_where_an_index_refuses_it",
    ),
    (
        "refused: a delete in a time series is a bug of ours",
        FAULTS,
        "if code == _INVALID_OPTIONS and _TIME_SERIES in message:",
        "if False:",
        f"{REFUSED}::test_of_a_time_series_one_document_is_not_deleted_and_that_is_said",
    ),
    (
        "refused: a number that is a name too is a bug of ours",
        FAULTS,
        "if code == _AMBIGUOUS:",
        "if False:",
        f"{SORTED}[numeric]",
    ),
    (
        "refused: a page says of parallel arrays what MongoDB says",
        FAULTS,
        "if _PARALLEL in message else",
        "if False else",
        f"{SORTED}[parallel]",
    ),
    (
        "unread: the list of collections is read by the driver",
        SNAPSHOT,
        'cursor = (await database.command(command, session=session, codec_options=RAW))["cursor"]',
        'cursor = (await database.command(command, session=session))["cursor"]',
        f"{UNREAD}::test_the_list_of_collections_and_the_doctor_come_past_what_no_driver_reads[binary]",
    ),
    (
        "unread: a name that is no UTF-8 is listed",
        SNAPSHOT,
        "if not isinstance(name, stored.Broken) and refusal(name) is None)",
        "if refusal(name) is None)",
        f"{UNREAD}::test_the_list_of_collections_and_the_doctor_come_past_what_no_driver_reads[text]",
    ),
    (
        "unread: the doctor says a name as it is stored",
        "realtime/core/upstream/diagnosis.py",
        'return utf8(collection["name"]).decode("utf-8", "replace")',
        'return str(collection["name"])',
        f"{UNREAD}::test_the_list_of_collections_and_the_doctor_come_past_what_no_driver_reads[name]",
    ),
    (
        "unread: the rest of a catalogue is bounded as an answer to a client",
        SNAPSHOT,
        "async with self._gate.page():\n            found = await catalogue",
        'async with self._gate.request("read"):\n            found = await catalogue',
        f"{UNREAD}::test_a_catalogue_of_several_batches_is_listed_whole",
    ),
    (
        "unread: a refusal that quotes what no driver reads is a bad request",
        FAULTS,
        "raise _unreadable(error, intent) from error",
        'raise errors.InvalidRequestError("not storable") from error',
        f"{UNREAD}::test_a_validator_that_no_driver_reads_refuses_all_the_same[binary]",
    ),
    (
        "unread: an update is not asked again for its reason",
        "realtime/mongo/writes.py",
        "                if change.image:\n                    raise\n",
        "                raise\n",
        f"{UNREAD}::test_a_duplicate_that_no_driver_reads_is_a_duplicate",
    ),
    (
        "unread: a tag is of what is shown",
        "realtime/web/http/etags.py",
        "hashlib.sha256(raw)",
        'hashlib.sha256(str(__import__("bson").decode(raw)).encode())',
        f"{UNREAD}::test_a_tag_is_of_what_is_stored_and_if_match_keeps_what_json_cannot_tell_apart[integers]",
    ),
    (
        "refused: a parameter may stand twice",
        "realtime/web/entrance/problems.py",
        "if name not in known or name in seen:",
        "if name not in known:",
        f"{REFUSED}::test_a_parameter_that_stands_twice_is_refused_by_name",
    ),
    (
        "refused: a path may be sorted by twice",
        "realtime/core/mql/ordering.py",
        "        if path in keys:",
        "        if False:",
        f"{REFUSED}::test_a_sort_that_is_none_is_told_why_in_the_same_words_by_every_way",
    ),
    (
        "another: what stands behind a NUL character in a name is read as values",
        EJSON,
        "_object_named if escaped else _object, FRAME_DEPTH",
        "_object, FRAME_DEPTH",
        f"{OTHER}::test_a_name_with_a_nul_character_leads_to_nothing[object]",
    ),
    (
        "another: so it is written where the driver would not",
        "realtime/core/bson/stored.py",
        '    if b"\\0" in name:',
        "    if False:",
        "tests/core/bson/test_stored.py::test_what_bson_does_not_have_is_not_written",
    ),
    (
        "another: a collation says what a key is, where a document is read",
        SNAPSHOT,
        'find_one({"_id": {"$eq": key}}, collation=EXACTLY)',
        'find_one({"_id": {"$eq": key}})',
        COLLATED,
    ),
    (
        "another: a collation says what a key is, where it is deleted",
        WRITES,
        "delete_one(by_key(key, selector), collation=EXACTLY, session=session)",
        "delete_one(by_key(key, selector), session=session)",
        COLLATED,
    ),
    (
        "another: a collation says what a key is, where it is changed",
        WRITES,
        '{"upsert": change.upsert, "collation": EXACTLY, "session": session}',
        '{"upsert": change.upsert, "session": session}',
        COLLATED,
    ),
    (
        "another: a collation says what matches `where`",
        WRITES,
        'by_key(key, where), {"_id": 1}, collation=EXACTLY, session=session',
        'by_key(key, where), {"_id": 1}, session=session',
        COLLATED,
    ),
    (
        "deep: an empty object is a level",
        EJSON,
        "if isinstance(outer, dict | list) and outer:",
        "if isinstance(outer, dict | list):",
        "tests/core/mql/test_updates.py::test_a_document_deeper_than_mongodb_stores_is_refused[innermost1]",
    ),
    (
        "deep: what is computed too deep is a bug of ours",
        EJSON,
        "        if depth(shown) > SHOWN_DEPTH:",
        "        if False:",
        f"{OF_EJSON}::test_what_is_computed_too_deep_to_be_shown_is_too_large[255]",
    ),
    (
        "deep: a frame is read less deep than it is sent",
        EJSON,
        "_decode(text, _object_or_fields, SHOWN_DEPTH + AROUND)",
        "_decode(text, _object_or_fields, FRAME_DEPTH)",
        f"{OF_EJSON}::test_a_frame_may_be_as_deep_as_anything_that_is_shown",
    ),
    (
        "refused: an answer quotes all of what it refuses",
        "realtime/errors.py",
        "    if not isinstance(value, str) or len(value) <= TOLD:",
        "    if True:",
        "tests/web/socket/test_long_errors.py::test_what_is_refused_is_answered_within_the_usual_frame[an operator]",
    ),
    (
        "refused: a key is cut in an answer",
        "realtime/errors.py",
        'value if name == "key" else _cut(value)',
        "_cut(value)",
        "tests/web/socket/test_long_errors.py::test_a_long_text_is_told_from_its_beginning_and_its_end_and_a_key_whole",
    ),
    (
        "after: a cursor is made of the part of a key that is shown",
        "realtime/web/http/listing.py",
        "for other in projection.computed | projection.hidden):",
        "for other in projection.computed):",
        "tests/web/http/test_after.py::test_a_page_that_shows_a_part_of_its_keys_goes_on_exactly[projection0-i]",
    ),
]
