"""Rows of `make sabotage` for writes under rules."""

from __future__ import annotations

RULED = "realtime/mongo/ruled_writes.py"
WRITING = "realtime/core/mql/writing.py"
HERE = "tests/mongo/test_ruled_writes.py"
CORE = "tests/core/mql/test_writing.py"
WEB = "tests/web/test_ruled_writes.py"
UNSEEN = f"{HERE}::test_what_is_not_seen_is_answered_as_what_is_missing"

RULED_WRITES: list[tuple[str, str, str, str, str]] = [
    (
        "ruled writes: what becomes of a document is not judged",
        RULED,
        "rule.after(permits, stored.decode(outcome.image.raw))",
        "stored.decode(outcome.image.raw)",
        f"{HERE}::test_the_rule_holds_before_and_after",
    ),
    (
        "ruled writes: the rule is left out of the selector",
        RULED,
        "change = dataclasses.replace(job.change, selector=job.asked.selector)",
        "change = job.change",
        UNSEEN,
    ),
    (
        "ruled writes: an update of what the rule reads has it in its selector alone",
        WRITING,
        "if not rows.reads(touched):\n        return True",
        "if touched:\n        return True",
        f"{HERE}::test_the_rule_holds_before_and_after",
    ),
    (
        "ruled writes: what is set is not asked whether the rule holds of it",
        WRITING,
        "if not _lets(part, _nest(path, setting[path])):",
        "if not part:",
        f"{HERE}::test_a_write_goes_ahead_where_mongodb_finds_the_document_by_the_rule_before_and_after",
    ),
    (
        "ruled writes: what is written around a path that is set is forgotten",
        WRITING,
        "if around != [path] or",
        "if path not in around or",
        f"{CORE}::test_what_is_set_decides_by_itself_whether_the_rule_holds_after_it",
    ),
    (
        "ruled writes: what is not seen is found",
        RULED,
        "seen = None if found is None else rule.seen(found[1])",
        "seen = None if found is None else found[1]",
        UNSEEN,
    ),
    (
        "ruled writes: whether a hidden field changed is told",
        RULED,
        "modified=outcome.modified if job.asked.tells else None",
        "modified=outcome.modified",
        f"{HERE}::test_a_hidden_field_is_written_whole_and_nothing_is_told_of_it",
    ),
    (
        "ruled writes: a hidden field may be counted up",
        "realtime/core/mql/assignments.py",
        '_BLIND = frozenset({"$set", "$unset"})',
        '_BLIND = frozenset({"$set", "$unset", "$inc"})',
        f"{HERE}::test_a_hidden_field_is_written_whole_and_nothing_is_told_of_it",
    ),
    (
        "ruled writes: a part of a hidden field may be set",
        WRITING,
        "(one.blind and fields.is_whole(one.path)):\n        return True",
        "one.blind:\n        return True",
        f"{CORE}::test_a_field_that_is_hidden_is_set_or_removed_as_a_whole_alone",
    ),
    (
        "ruled writes: a $rename is not of its new name",
        "realtime/core/mql/assignments.py",
        "(given, operand) if operator == RENAME else (given,)",
        "(given,)",
        f"{HERE}::test_every_path_that_mongodb_changes_is_one_that_the_update_is_said_to_write",
    ),
    (
        "ruled writes: an array that becomes longer is changed at one place",
        "realtime/core/mql/fieldsets.py",
        "if not part.isdigit() or int(part) >= len(node):",
        "if not part.isdigit() or not node:",
        "tests/core/mql/test_fieldsets.py::test_the_place_of_a_path_is_told_by_the_document",
    ),
    (
        "ruled writes: rows of one permit, fields of another",
        WRITING,
        '_some((one for one in permits if one.lets(document)), "the document is none',
        '_some((one for one in self.insert if one.lets(document)), "the document is none',
        f"{CORE}::test_an_insert_takes_a_permit_for_its_fields_its_key_and_the_document",
    ),
    (
        "ruled writes: a replacement drops what is hidden",
        "realtime/core/mql/merging.py",
        "return {**merged, **kept}",
        "return {**merged}",
        f"{HERE}::test_a_replacement_keeps_what_is_out_of_reach",
    ),
    (
        "ruled writes: a model's default takes the place of what is hidden",
        RULED,
        "source = merging.kept(found[1], dict(self._stored(collection, merged, key)))",
        "source = dict(self._stored(collection, dict(job.change.source), key))",
        f"{HERE}::test_a_model_is_told_of_by_what_may_be_read",
    ),
    (
        "ruled writes: a tag of the whole document",
        RULED,
        "terms.check(None if found is None or seen is None else rule.image(found[0]))",
        "terms.check(None if found is None or seen is None else found[0])",
        f"{HERE}::test_tags_are_of_the_document_as_it_is_seen",
    ),
    (
        "ruled writes: a condition by what is hidden",
        RULED,
        "    _check(rule, terms)\n    if change.replaces:",
        "    if change.replaces:",
        f"{HERE}::test_conditions_are_by_what_is_shown",
    ),
    (
        "ruled writes: MongoDB's words are told",
        RULED,
        "raise redacted(error, rule.shows) from None",
        "raise",
        f"{HERE}::test_no_word_of_mongodbs_is_told",
    ),
    (
        "ruled writes: which of several keys is taken is told",
        "realtime/mongo/redaction.py",
        "kept = {} if kind is DuplicateKeyError else",
        "kept =",
        f"{HERE}::test_a_key_that_is_taken_is_told_without_a_word_whichever_index_has_it",
    ),
    (
        "ruled writes: keys of the client's own where the service makes them",
        WRITING,
        '(one for one in permits if one.keys), "_id is made',
        '(one for one in permits), "_id is made',
        f"{HERE}::test_keys_may_be_the_services_to_make",
    ),
    (
        "ruled writes: an upsert obeys the rule of updates alone",
        RULED,
        "rule.upserted(job.asked, made)",
        "made.clear()",
        f"{HERE}::test_an_upsert_obeys_both_rules",
    ),
    (
        "ruled writes: an upsert onto what is not seen makes another document",
        RULED,
        "        if not missing:\n            raise DuplicateKeyError(TAKEN)\n",
        "",
        f"{HERE}::test_a_key_that_is_taken_is_told_without_a_word_whichever_index_has_it",
    ),
    (
        "ruled writes: a stamp is judged as it was sent",
        RULED,
        "return any(value == _NOW for",
        "return any(value is None for",
        f"{HERE}::test_a_stamp_of_mongodbs_is_judged_as_it_is_stored",
    ),
    (
        "ruled writes: over HTTP nobody is asked",
        "realtime/web/http/rest.py",
        "return live.writer_of(principal)",
        "return live.writer",
        f"{WEB}::test_whoever_has_no_grant_writes_nothing",
    ),
    (
        "ruled writes: over the socket nobody is asked",
        "realtime/web/socket/writing.py",
        "writer = live.writer_of(principal)",
        "writer = live.writer",
        f"{WEB}::test_whoever_has_no_grant_writes_nothing",
    ),
    (
        "ruled writes: typed routes are nobody's",
        "realtime/web/http/typed.py",
        "    same_rules(endpoint, bound)\n",
        "",
        f"{WEB}::test_the_same_is_let_over_http_and_the_socket[tasks]",
    ),
]
