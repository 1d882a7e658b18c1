"""Rows of `make sabotage` for reading under rules: name, file, line, what stands there instead, test."""

from __future__ import annotations

VISION, CUT, QUERY = "realtime/core/mql/vision.py", "realtime/core/mql/cut.py", "realtime/core/live/query.py"
PLACING, MODEL = "realtime/core/access/rules/placing.py", "realtime/core/access/rules/model.py"
RULED, LISTING, LIVE = "realtime/mongo/ruled.py", "realtime/web/http/listing.py", "realtime/web/entrance/live.py"
WRITE, WRITING = "realtime/core/mql/writing.py", "realtime/core/access/rules/writing.py"
SESSION = "realtime/core/connection/session.py"
OF_VISION, OF_LIVE = "tests/core/mql/test_vision.py", "tests/core/live/test_ruled.py"
OF_AGAIN = "tests/core/connection/test_reconsidered.py"
OF_PLACING, OF_SESSION = "tests/core/access/rules/test_placing.py", "tests/core/connection/test_ruled.py"
OF_READS, OF_HTTP = "tests/mongo/test_ruled.py", "tests/web/http/test_ruled.py"

RULES: list[tuple[str, str, str, str, str]] = [
    (
        "rules: the rule is not asked",
        VISION,
        "(lambda document: sees(document) and matches(document)) if asked.source else sees,",
        "matches,",
        f"{OF_LIVE}::test_a_live_view_is_what_is_seen_through_whatever_is_written",
    ),
    (
        "rules: what was asked fails of a hidden document",
        VISION,
        "sees(document) and matches(document)",
        "matches(document) and sees(document)",
        f"{OF_VISION}::test_an_expression_fails_of_no_document_that_is_hidden",
    ),
    (
        "rules: fields are not cut",
        VISION,
        "return _Seen.of(self, asked) if self.cuts else asked",
        "return asked",
        f"{OF_LIVE}::test_an_update_of_hidden_fields_alone_is_told_to_nobody_who_may_not_see_it",
    ),
    (
        "rules: the bytes of whole documents are shared with who sees parts",
        QUERY,
        "if not self.query.projection.everything:",
        "if self.query.projection.source:",
        f"{OF_LIVE}::test_a_live_view_is_what_is_seen_through_whatever_is_written",
    ),
    (
        "rules: the key is without what is cut",
        "realtime/core/live/asked.py",
        '**({} if vision.canonical is None else {"cut": vision.canonical}),',
        "",
        f"{OF_LIVE}::test_groups_are_those_of_equal_effective_queries",
    ),
    (
        "rules: the key is without the rule",
        VISION,
        "return canonical(self.source)",
        "return canonical(self.own.source)",
        f"{OF_SESSION}::test_who_sees_the_same_shares_a_group",
    ),
    (
        "rules: where a condition may fail the key does not say whose it is",
        VISION,
        "if not any(keys) and not may_fail(self.source):",
        "if not any(keys):",
        f"{OF_VISION}::test_where_a_condition_may_fail_it_matters_whose_it_is",
    ),
    (
        "rules: fields of one grant are shown on rows of another",
        VISION,
        "cuts = [share.cut for share in self.shares if share.filter.matches(document)]",
        "cuts = [share.cut for share in self.shares if self.sees(document)]",
        f"{OF_VISION}::test_a_field_is_shown_where_one_share_lets_both_row_and_field",
    ),
    (
        "rules: a path that one grant shows may be asked by",
        VISION,
        "return all(share.cut.shows(path) for share in self.shares)",
        "return any(share.cut.shows(path) for share in self.shares)",
        f"{OF_SESSION}::test_what_no_rule_lets_is_forbidden",
    ),
    (
        "rules: a final dot reads what is hidden",
        CUT,
        'return ".".join([first, *rest[: rest.index("")]]) if "" in rest else path',
        "return path",
        f"{OF_VISION}::test_what_overlaps_with_a_hidden_path_is_nothing_to_ask_by",
    ),
    (
        "rules: an element's number reads what is hidden",
        CUT,
        "return not any(overlaps(stem(path), hidden) for hidden in self.hide)",
        "return not any(overlaps(path, hidden) for hidden in self.hide)",
        f"{OF_VISION}::test_what_overlaps_with_a_hidden_path_is_nothing_to_ask_by",
    ),
    (
        "rules: sorting tells of elements that are hidden",
        CUT,
        "return self.shows(path) and (",
        "return self.shows(path) or (",
        f"{OF_VISION}::test_where_few_fields_are_shown_one_asks_by_those",
    ),
    (
        "rules: an element's number counts what is hidden",
        CUT,
        'return any(path == shown or path.startswith(f"{shown}.") for shown in self.show)',
        'return any(stem(path) == shown or stem(path).startswith(f"{shown}.") for shown in self.show)',
        f"{OF_VISION}::test_where_few_fields_are_shown_one_asks_by_those",
    ),
    (
        "rules: a failing rule names its document",
        VISION,
        'return type(error)("a document of the collection makes the read fail; which one is not told")',
        "return error",
        f"{OF_VISION}::test_a_rule_that_fails_says_nothing_of_the_document",
    ),
    (
        "rules: MongoDB asks what may fail of every document",
        RULED,
        "if not rule or not may_fail(selection):",
        "if True:",
        f"{OF_READS}::test_a_hidden_document_makes_no_read_fail",
    ),
    (
        "rules: a count asks what may fail of every document",
        RULED,
        "if not may_fail(selection):",
        "if True:",
        f"{OF_READS}::test_a_hidden_document_makes_no_read_fail",
    ),
    (
        "rules: MongoDB's words are told",
        RULED,
        "        if not rule:",
        "        if True:",
        f"{OF_READS}::test_words_of_mongodb_are_for_the_log_alone",
    ),
    (
        "rules: a claim of any kind is placed",
        PLACING,
        "found if is_scalar(found) else MISSING",
        "found",
        f"{OF_PLACING}::test_what_is_no_value_makes_its_condition_false",
    ),
    (
        "rules: a missing claim below a negation lets everything",
        PLACING,
        "        if found is MISSING and negative:",
        "        if False:",
        f"{OF_PLACING}::test_below_a_negation_it_makes_the_whole_rule_false",
    ),
    (
        "rules: the grant of all collections holds beside a collection's own",
        MODEL,
        "by_role = {**self.collections.get(EVERY, {}), **self.collections.get(collection, {})}",
        "by_role = {**self.collections.get(collection, {}), **self.collections.get(EVERY, {})}",
        "tests/core/access/rules/test_reading.py::test_a_grant_of_all_collections_holds_where_the_role_has_no_other",
    ),
    (
        "rules: an event stream is nobody's query",
        "realtime/web/http/sse.py",
        "Session(ID, live.limits, live.epoch, who)",
        "Session(ID, live.limits, live.epoch)",
        f"{OF_HTTP}::test_an_event_stream_is_the_query_of_who_opens_it",
    ),
    (
        "rules: a list is read without its rule",
        LISTING,
        "return None if self.vision.everything else self.vision.rule.source",
        "return None",
        f"{OF_HTTP}::test_a_list_has_what_the_rule_lets_with_the_fields_cut",
    ),
    (
        "rules: a page shows what is hidden",
        LISTING,
        "whole = listing.vision.cuts or not all(",
        "whole = not all(",
        f"{OF_HTTP}::test_a_list_has_what_the_rule_lets_with_the_fields_cut",
    ),
    (
        "rules: lines go on by the rules they began with",
        LISTING,
        "        if not now.same(listing.vision):",
        "        if False:",
        f"{OF_HTTP}::test_ndjson_asks_again_before_each_part",
    ),
    (
        "rules: a tag is of what is stored",
        WRITE,
        "return stored.encode(seen) if vision.cuts else raw",
        "return raw",
        f"{OF_HTTP}::test_one_document_is_shown_as_its_reader_sees_it",
    ),
    (
        "rules: a document of which the rule has no value is not answered as a missing one",
        WRITE,
        "        seen = vision.shown(stored.decode(raw))\n    except ServiceError:\n        return None",
        "        seen = vision.shown(stored.decode(raw))\n    except ServiceError:\n        raise",
        f"{OF_HTTP}::test_a_document_of_which_the_rule_has_no_value_is_answered_as_a_missing_one",
    ),
    (
        "rules: claims that Python takes for equal are one",
        WRITING,
        "who = principal, self._said(principal)",
        "who = principal, principal.sub",
        "tests/core/access/rules/test_writing.py::test_another_dialect_or_another_claim_is_another_ruling",
    ),
    (
        "rules: conditions that Python takes for equal are no change",
        MODEL,
        "return one == other and repr(one) == repr(other)",
        "return one == other",
        f"{OF_AGAIN}::test_only_what_is_of_collections_whose_grants_changed_is_asked_again",
    ),
    (
        "rules: documents are counted for who sees some of them",
        LISTING,
        "lambda name: policy.reading(who, name).every_row,",
        "lambda name: True,",
        f"{OF_HTTP}::test_collections_are_those_that_one_may_read_with_counts_where_one_sees_every_document",
    ),
    (
        "rules: a collection that one has no rule of is described",
        LIVE,
        "    vision.check_granted()",
        "    pass",
        f"{OF_HTTP}::test_where_one_has_no_rule_there_is_one_answer_whatever_there_is",
    ),
    (
        "rules: an endpoint that knows no rules answers",
        LIVE,
        'if connection.scope.get("endpoint") not in _RULED:',
        "if False:",
        f"{OF_HTTP}::test_an_endpoint_that_does_not_say_that_it_obeys_rules_is_nobodys",
    ),
    (
        "rules: a live query holds more than its grant lets",
        QUERY,
        "most = bounds.documents if query.most is None else min(query.most, bounds.documents)",
        "most = bounds.documents",
        f"{OF_LIVE}::test_a_live_query_holds_as_many_documents_as_the_most_generous_grant_lets",
    ),
]
