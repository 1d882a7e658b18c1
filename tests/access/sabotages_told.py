"""Rows of `make sabotage` for what somebody is told of their own rules: name, file, line, what stands there, test."""

from __future__ import annotations

EXPLAINING, GRANTS = "realtime/core/access/rules/explaining.py", "realtime/web/http/grants.py"
PANEL = "realtime/web/static/access.js"
OF_EXPLAINING, OF_GRANTS = "tests/core/access/rules/test_explaining.py", "tests/web/http/test_grants.py"
OF_AGAIN = "tests/core/connection/test_reconsidered.py"
OF_PAGE = "tests/e2e/test_access_page.py"

TOLD: list[tuple[str, str, str, str, str]] = [
    (
        "told: a condition on a hidden field",
        EXPLAINING,
        "    if not all(reader.cut.shows(path) for reader in readers for path in named):",
        "    if not all(let.grant.cut.whole for path in named):",
        f"{OF_EXPLAINING}::test_what_one_grant_hides_another_does_not_tell",
    ),
    (
        "told: a set that nobody can ask for",
        EXPLAINING,
        "        if asked.selection == NEVER:",
        "        if False:",
        f"{OF_EXPLAINING}::test_a_set_that_asks_for_a_claim_that_is_missing_lets_no_document",
    ),
    (
        "told: what a set is asked by, hidden in its collection",
        EXPLAINING,
        "    return bool(readers) and all(",
        "    return bool(readers) or all(",
        f"{OF_EXPLAINING}::test_what_a_set_is_asked_by_is_not_told_where_it_is_hidden",
    ),
    (
        "told: conditions without end",
        EXPLAINING,
        "if len(ejson.encode(let.shown)) > MOST_BYTES:",
        "if False:",
        f"{OF_EXPLAINING}::test_a_long_condition_and_many_grants_are_cut",
    ),
    (
        "told: a grant that lacks its claim lets everything",
        EXPLAINING,
        'return {"documents": let.rows is not None}',
        'return {"documents": True}',
        f"{OF_EXPLAINING}::test_a_grant_is_told_with_the_claims_in_it_and_with_its_fields",
    ),
    (
        "told: collections that one may not read",
        GRANTS,
        'serves(name) and bool(policy.granted(who, name, "read"))',
        "serves(name)",
        f"{OF_GRANTS}::test_nothing_is_told_of_what_the_list_of_collections_does_not_name",
    ),
    (
        "told: an answer without a bound",
        GRANTS,
        "        if size > MOST_BYTES:",
        "        if False:",
        f"{OF_GRANTS}::test_an_answer_is_bounded_and_says_that_there_is_more",
    ),
    (
        "page: access is read once",
        PANEL,
        "setInterval(() => !document.hidden && this.read(), READ_EVERY)",
        "setInterval(() => {}, READ_EVERY)",
        f"{OF_PAGE}::test_other_rules_are_told_without_a_reload",
    ),
    (
        "page: access of another collection stays when one is refused",
        PANEL,
        "if (collection !== this.#collection) this.#clear();",
        "",
        f"{OF_PAGE}::test_a_collection_is_asked_for_by_its_name_and_what_is_wrong_is_said",
    ),
    (
        "rules: true is taken for 1",
        "realtime/core/access/rules/model.py",
        "Field(None, ge=1, strict=True)",
        "Field(None, ge=1)",
        "tests/core/access/rules/test_text.py::test_unknown_words_are_told_with_their_line",
    ),
    (
        "rules: nobody is warned of rules that let nothing",
        "realtime/access/ruling.py",
        "    if rules.idle:",
        "    if False:",
        "tests/access/test_ruling.py::test_rules_that_let_nothing_are_warned_of",
    ),
    (
        "rules: the check does not warn of rules that let nothing",
        "realtime/commands/rules.py",
        "    if found.idle:",
        "    if False:",
        "tests/commands/test_rules.py::test_rules_that_let_nothing_are_good_and_warned_of",
    ),
    (
        "exchange: written over what somebody wrote in between",
        "realtime/core/mql/writing.py",
        'return merged, {"$and": [part for part in (selector, *same) if part]}',
        "return merged, selector",
        "tests/mongo/test_exchanging.py::test_what_somebody_writes_in_between_is_kept",
    ),
    (
        "exchange: the rule is not in the selector",
        "realtime/core/mql/writing.py",
        'return merged, {"$and": [part for part in (selector, *same) if part]}',
        'return merged, {"$and": same}',
        "tests/mongo/test_exchanging.py::test_the_rule_is_asked_of_the_document_that_the_write_meets",
    ),
    (
        "exchange: a list is held for its element",
        "realtime/core/mql/merging.py",
        '"$type": known, "$not": {"$type": "array"}',
        '"$type": known',
        "tests/mongo/test_exchanging.py::test_what_somebody_writes_in_between_is_kept",
    ),
    (
        "exchange: texts are equal by the collection's collation",
        "realtime/mongo/exchanging.py",
        '{"collation": EXACTLY, "session": known}',
        '{"session": known}',
        "tests/mongo/test_exchanging.py::test_what_somebody_writes_in_between_is_kept",
    ),
    (
        "exchange: every replacement is a transaction",
        "realtime/mongo/ruled_writes.py",
        "await self._selected(session, job) or await self._kept(session, job)",
        "await self._selected(session, job)",
        "tests/mongo/test_exchanging.py::test_what_a_filter_can_hold_is_kept_by_two_commands",
    ),
    (
        "exchanged: what was foreseen is judged again",
        "realtime/core/connection/session.py",
        "query = None if foresight is None else foresight.of(",
        "query = None if foresight is None or policy else foresight.of(",
        "tests/core/connection/test_reconsidered.py::test_what_was_foreseen_is_not_judged_again_and_comes_to_the_same",
    ),
    (
        "exchanged: what was foreseen of other rules counts",
        "realtime/core/connection/foresight.py",
        "if rules is not self._rules or principal is not self._principal:",
        "if principal is not self._principal:",
        f"{OF_AGAIN}::test_what_was_foreseen_of_other_rules_or_of_somebody_else_counts_for_nothing",
    ),
    (
        "exchanged: nothing is judged ahead",
        "realtime/app.py",
        "        await self.foresee_rules(rules)",
        "        pass",
        "tests/access/test_changes.py::test_what_is_open_is_judged_ahead_in_slices",
    ),
    (
        "keys: each who comes with a key looks it up",
        "realtime/access/keyring.py",
        "        if look is None:",
        "        if True:",
        "tests/access/test_keyring.py::test_all_who_come_with_a_key_at_once_share_one_look",
    ),
    (
        "tokens: one that is for something else is taken",
        "realtime/core/access/tokens.py",
        '    if said.lower().removeprefix("application/") not in TYPES:',
        "    if False:",
        "tests/core/access/test_tokens.py::test_a_token_that_is_for_something_else_is_refused",
    ),
    (
        "keys: an address that trickles holds a thread",
        "realtime/access/fetching.py",
        "                one.shutdown(socket.SHUT_RDWR)",
        "                pass",
        "tests/access/test_fetching.py::test_an_address_that_trickles_holds_nobody",
    ),
    (
        "audit: a line for each refusal of a flood",
        "realtime/core/access/thinning.py",
        "return window.seen <= MOST_ALIKE",
        "return True",
        "tests/access/test_audit.py::test_a_flood_of_refusals_is_some_lines_and_a_number_and_the_first_of_a_kind_is_there",
    ),
    (
        "audit: what had no line is counted nowhere",
        "realtime/access/audit.py",
        '            self._put(Entry("refused", address=place or None, reason=reason, count=count))',
        "            pass",
        "tests/access/test_audit.py::test_the_number_comes_when_nothing_else_does",
    ),
    (
        "embedded: rules that the application gives anew are checked and not taken",
        "realtime/app.py",
        "await self._exchange(ruling.checked(rules, self.collections.names))",
        "ruling.checked(rules, self.collections.names)",
        "tests/web/test_embedded_rules.py::test_the_sample_obeys_its_rules_and_other_ones_when_they_are_taken",
    ),
]
