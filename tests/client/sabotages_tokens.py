"""Rows of `make sabotage` for tokens in the hands of clients, and for the page's sign-in."""

from __future__ import annotations

BEARER_TEST, RENEWAL_TEST = "tests/client/test_bearer.py", "tests/client/test_renewal.py"
BEARER, RENEWAL = "realtime/client/bearer.py", "realtime/client/renewal.py"
LINK, FAILURES = "realtime/client/link.py", "realtime/client/failures.py"
STATIC = "realtime/web/static"
TOKEN_JS, LINK_JS = f"{STATIC}/realtime/token.js", f"{STATIC}/realtime/link.js"
NODE = "tests/js/test_client.py::test_the_client_does_as_its_tests_say[token.test.mjs]"
LIVE = "tests/exact/test_renewed.py::test_nothing_is_missed_by_clients_whose_tokens_end_every_three_seconds"
LIVE_JS = "tests/js/test_renewed.py::test_nothing_is_missed_by_a_client_whose_tokens_end_every_three_seconds"
PAGE = "tests/e2e/test_signin.py"
IDENTITY = f"{STATIC}/identity.js"

TOKENS: list[tuple[str, str, str, str, str]] = [
    (
        "token: asked for by each who wants it",
        BEARER,
        "if self._asking is None:",
        "if True:",
        f"{BEARER_TEST}::test_whoever_asks_while_a_token_is_on_its_way_gets_that_one",
    ),
    (
        "token: renewed when it has ended",
        BEARER,
        "0.7 + 0.15 * chance",
        "1.2 + 0.15 * chance",
        f"{RENEWAL_TEST}::test_the_token_is_renewed_in_place_before_its_end_again_and_again",
    ),
    ("token: renewed when it has ended, at the service", BEARER, "0.7 + 0.15 * chance", "4.0 + 0.15 * chance", LIVE),
    (
        "token: white space goes into the header",
        BEARER,
        "if not _VISIBLE.fullmatch(text) or",
        "if",
        f"{BEARER_TEST}::test_what_cannot_stand_in_a_header_is_refused_without_being_shown",
    ),
    (
        "token: a refused one is sent again",
        BEARER,
        "self._refused[0] == token",
        "False",
        f"{RENEWAL_TEST}::test_a_refused_token_ends_the_client_with_what_the_service_said_unless_there_is_another",
    ),
    (
        "token: new ones that are refused are sent for ever",
        BEARER,
        "if not self.renewable or self._refused is not None:",
        "if not self.renewable:",
        f"{BEARER_TEST}::test_a_refused_token_is_known_again_another_is_tried_and_two_in_a_row_are_the_end",
    ),
    (
        "token: a refusal is the end though there is another",
        LINK,
        "return self._bearer.refuse(final) if code in ABOUT_TOKENS and final is not None else final",
        "return final",
        f"{RENEWAL_TEST}::test_another_token_is_tried_after_a_refusal_and_two_refusals_in_a_row_are_the_end",
    ),
    (
        "token: what the service said is not told",
        LINK,
        'self._told = str(frame.get("message", ""))[:TOLD]',
        'self._told = ""',
        f"{RENEWAL_TEST}::test_a_refused_token_ends_the_client_with_what_the_service_said_unless_there_is_another",
    ),
    (
        "token: the one in use is shown once more",
        RENEWAL,
        "if token is None or token == bearer.used:",
        "if token is None:",
        f"{RENEWAL_TEST}::test_a_newer_token_that_is_refused_or_the_same_leaves_the_old_one_and_is_tried_again",
    ),
    (
        "token: after 4002 the client stays away",
        FAILURES,
        "if code in FINAL or 4500 <= code <= 4999:",
        "if code in FINAL or 4002 <= code <= 4999:",
        f"{RENEWAL_TEST}::test_after_4002_it_comes_back_by_position_with_another_token",
    ),
    (
        "token: described with the client",
        "realtime/client/options.py",
        "field(repr=False)",
        "field()",
        f"{RENEWAL_TEST}::test_the_token_is_in_no_description_of_the_client",
    ),
    ("token: browser: asked for by each", TOKEN_JS, "this.#asking ??= ", "this.#asking = ", NODE),
    ("token: browser: renewed when it has ended", TOKEN_JS, "0.7 + 0.15 * random()", "4 + 0.15 * random()", NODE),
    (
        "token: browser: renewed when it has ended, at the service",
        TOKEN_JS,
        "0.7 + 0.15 * random()",
        "4 + 0.15 * random()",
        f"{LIVE_JS}[True]",
    ),
    ("token: browser: a refused one is sent again", TOKEN_JS, "this.#refused.token === token", "false", NODE),
    ("token: browser: shown to an inspector", LINK_JS, '{ ...frame, token: "(not shown)" }', "frame", NODE),
    (
        "token: browser: shown to whoever does not ask",
        LINK_JS,
        "if (frame.requires_auth !== true) {",
        "if (frame.requires_auth !== true && this.#token.used === null) {",
        NODE,
    ),
    (
        "page: sign-in: the token stays in the address",
        IDENTITY,
        'history.replaceState(null, "", location.pathname + location.search);',
        "",
        f"{PAGE}::test_a_link_with_a_token_signs_in_and_leaves_it_nowhere",
    ),
    (
        "page: sign-in: kept though nobody asked",
        IDENTITY,
        "(keep && this.token !== null ?",
        "(this.token !== null ?",
        f"{PAGE}::test_one_signs_in_sees_who_one_is_and_signs_out",
    ),
    (
        "page: sign-in: words for programmers",
        "realtime/web/static/status.js",
        'const told = nobody ? "" : name === "closed"',
        'const told = name === "closed"',
        f"{PAGE}::test_one_signs_in_sees_who_one_is_and_signs_out",
    ),
    (
        "page: sign-in: words for programmers are read aloud",
        "realtime/web/static/status.js",
        'const text = nobody ? "Signed out" : name === "live"',
        'const text = name === "live"',
        f"{PAGE}::test_one_signs_in_sees_who_one_is_and_signs_out",
    ),
    (
        "page: sign-in: the demo lets its roles be taken for a promise",
        "realtime/commands/service.py",
        "click.echo(demo_users.ROLES_DO_NOTHING)",
        "pass",
        f"{PAGE}::test_the_demo_prints_a_link_for_each_of_two_users",
    ),
    (
        "page: sign-in: it is not said why",
        IDENTITY,
        'say(find("signin-why"), why(error, shown));',
        "",
        f"{PAGE}::test_a_refused_token_is_said_and_why_and_another_is_taken",
    ),
    (
        "page: sign-out: what was kept stays",
        IDENTITY,
        "      credentials.set(null, false);\n",
        "",
        f"{PAGE}::test_what_is_kept_for_the_tab_outlives_a_reload_and_goes_with_the_sign_out",
    ),
    (
        "page: the list of collections is asked for by nobody",
        f"{STATIC}/counts.js",
        "token === null ? {} : { Authorization: `Bearer ${token}` }",
        "{}",
        f"{PAGE}::test_one_signs_in_sees_who_one_is_and_signs_out",
    ),
    (
        "demo: two users of no token",
        "realtime/commands/demo_users.py",
        "#token={quote(token)}",
        "",
        f"{PAGE}::test_the_demo_prints_a_link_for_each_of_two_users",
    ),
]
