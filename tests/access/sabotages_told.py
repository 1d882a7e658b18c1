"""Rows of `make sabotage` for what somebody is told of their own rules: name, file, line, what stands there, test."""

from __future__ import annotations

EXPLAINING, GRANTS = "realtime/core/access/rules/explaining.py", "realtime/web/http/grants.py"
PANEL = "realtime/web/static/access.js"
OF_EXPLAINING, OF_GRANTS = "tests/core/access/rules/test_explaining.py", "tests/web/http/test_grants.py"
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
        "embedded: rules that the application gives anew are checked and not taken",
        "realtime/app.py",
        "self.take_rules(ruling.checked(rules, self.collections.names))",
        "ruling.checked(rules, self.collections.names)",
        "tests/web/test_embedded_rules.py::test_the_sample_obeys_its_rules_and_other_ones_when_they_are_taken",
    ),
]
