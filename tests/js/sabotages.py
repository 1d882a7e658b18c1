"""Rows of `make sabotage` for the browser client: name, file, line, what stands there instead, test."""

from __future__ import annotations

STATIC = "realtime/web/static"
CLIENT = f"{STATIC}/realtime"
NODE = "tests/js/test_client.py::test_the_client_does_as_its_tests_say"
NAMES = f"{NODE}[names.test.mjs]"
ORDER = (
    "tests/js/test_names.py::"
    "test_of_two_keys_that_differ_in_order_one_is_deleted_and_the_other_is_written_as_it_was[numbers]"
)
EDITOR = (
    "tests/e2e/test_dashboard.py::"
    "test_documents_that_differ_in_the_order_of_names_like_numbers_are_edited_and_deleted_apart"
)

COST = "tests/js/test_names.py::test_the_look_for_such_names_costs_little_of_an_ordinary_frame"

LINK = f"{NODE}[link.test.mjs]"
READS = f"{NODE}[reads.test.mjs]"
REACT = f"{NODE}[react.test.mjs]"
TYPES = "tests/js/test_package.py::test_the_types_take_what_is_right_and_refuse_what_is_wrong"
CODES = "tests/js/test_package.py::test_the_codes_of_the_types_are_those_of_the_protocol"
ASKED = "tests/web/socket/test_asked.py"
ONCE = "tests/client/test_reads.py"

BROWSER: list[tuple[str, str, str, str, str]] = [
    (
        "browser: frames are read by JSON.parse",
        f"{CLIENT}/names.js",
        "(suspect(text) ? readMarked(text) : JSON.parse(text))",
        "JSON.parse(text)",
        ORDER,
    ),
    (
        "browser: what is no data is written as what is inside of it",
        f"{CLIENT}/ejson.js",
        '  if (tag !== "Object") throw',
        "  if (false) throw",
        f"{NODE}[ejson.test.mjs]",
    ),
    (
        "browser: an object with toJSON is written as what is inside of it",
        f"{CLIENT}/ejson.js",
        '  if (typeof value.toJSON === "function") throw',
        "  if (false) throw",
        f"{NODE}[ejson.test.mjs]",
    ),
    (
        "browser: of what is no document an empty one is inserted",
        f"{CLIENT}/ejson.js",
        '  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("a document',
        '  if (false) throw new TypeError("a document',
        f"{NODE}[writes.test.mjs]",
    ),
    (
        "browser: an insert of a Map is empty",
        f"{CLIENT}/client.js",
        "const { _id: given, ...fields } = encodeDocument(document);",
        "const { _id: given, ...fields } = document;",
        f"{NODE}[writes.test.mjs]",
    ),
    (
        "browser: every name of a frame is looked at",
        f"{CLIENT}/names.js",
        "(text) => SUSPECT.test(text);",
        "(text) => [...text.matchAll(STRINGS)].some((found) => found[2] && LIKE_NUMBER.test(found[1]));",
        COST,
    ),
    (
        "browser: frames are written by JSON.stringify",
        f"{CLIENT}/client.js",
        "const text = write(frame);",
        "const text = JSON.stringify(frame);",
        ORDER,
    ),
    (
        "browser: ids forget the order",
        f"{CLIENT}/view.js",
        '(typeof key === "object" ? write(key) : JSON.stringify(key))',
        "JSON.stringify(key)",
        NAMES,
    ),
    ("browser: a key in any order", f"{CLIENT}/client.js", "requireOrder(frame.key);", "", NAMES),
    (
        "browser: a lost order is written back",
        f"{CLIENT}/client.js",
        "if (found !== null) throw lostOrder(",
        "if (false) throw lostOrder(",
        ORDER,
    ),
    (
        "browser: a new order is no change",
        f"{CLIENT}/ejson.js",
        "const names = namesOf(one);\n  const others = namesOf(other);",
        "const names = Object.keys(one);\n  const others = Object.keys(other);",
        NAMES,
    ),
    (
        "browser: a name sets the prototype",
        f"{CLIENT}/optimistic.js",
        "else put(copy, name, ",
        "else copy[name] = (",
        NAMES,
    ),
    (
        "browser: what is typed is in JavaScript's order",
        f"{CLIENT}/ejson.js",
        "return readMarked(text.replace(",
        "return JSON.parse(text.replace(",
        EDITOR,
    ),
    (
        "browser: sorted in JavaScript's order",
        f"{CLIENT}/query.js",
        "if (unsure(this.#request.sort))",
        "if (false)",
        NAMES,
    ),
    (
        "browser: a refused handshake is tried again",
        f"{CLIENT}/link.js",
        "if (refused === null ||",
        "if (true ||",
        LINK,
    ),
    (
        "browser: digits beyond 64 bits are rounded",
        f"{CLIENT}/ejson.js",
        "if (whole !== BigInt(double)) throw lost();",
        "if (whole === null) throw lost();",
        f"{NODE}[ejson.test.mjs]",
    ),
    (
        "browser: a busy service is a refusal",
        f"{CLIENT}/refusal.js",
        "if (!FINAL.has(answer.status)) return null;",
        "if (!FINAL.has(answer.status)) return { code: 'forbidden', message: '' };",
        LINK,
    ),
    ("browser: what waits for a refused client waits on", f"{CLIENT}/client.js", "this.#writes.fail(error);", "", LINK),
    (
        "refused: the page's own origin is not looked at",
        "realtime/web/socket/asked.py",
        "None if origin is None else refused_origin(origin, request, live.settings)",
        "None",
        f"{ASKED}::test_who_would_not_may_read_why_and_the_mend[page]",
    ),
    (
        "refused: a page may not read why",
        "realtime/web/entrance/problems.py",
        "            answer.headers.update(READABLE)\n            return answer",
        "            return answer",
        f"{ASKED}::test_who_would_not_may_read_why_and_the_mend[header]",
    ),
    (
        "refused: a wrong path is a wrong origin",
        "realtime/app.py",
        "    answer_unknown_sockets(app)\n",
        "",
        f"{ASKED}::test_a_path_that_is_not_there_is_404_for_both[/wrong]",
    ),
    (
        "browser: a read does not wait for what was written",
        f"{CLIENT}/client.js",
        'this.#settle(this.#written ?? "", among)',
        'this.#settle("", among)',
        READS,
    ),
    ("browser: a read stays subscribed", f"{CLIENT}/reads.js", "      query.close();\n", "", READS),
    ("browser: a read shows what is foreseen", f"{CLIENT}/reads.js", "  foresee() {}\n", "", READS),
    ("browser: all reads at once", f"{CLIENT}/reads.js", "if (this.#running <= AT_ONCE)", "if (true)", READS),
    (
        "browser: writes of another history are waited for",
        f"{CLIENT}/client.js",
        "this.#written?.slice(0, EPOCH)) this.#written = null;",
        "this.#written?.slice(0, EPOCH)) void 0;",
        READS,
    ),
    (
        "client: a read does not wait for what was written",
        "realtime/client/client.py",
        "reached[:EPOCH] == written[:EPOCH] and reached < written",
        "reached < written < reached",
        f"{ONCE}::test_a_view_that_is_older_than_an_own_write_is_waited_for",
    ),
    (
        "client: writes of another history are waited for",
        "realtime/client/client.py",
        "reached[:EPOCH] == written[:EPOCH] and reached < written",
        "reached < written",
        f"{ONCE}::test_a_write_of_another_history_is_not_waited_for",
    ),
    (
        "client: all reads at once",
        "realtime/client/client.py",
        "async with asyncio.timeout(seconds), self._reads:",
        "async with asyncio.timeout(seconds):",
        f"{ONCE}::test_a_hundred_reads_at_once_are_asked_a_few_at_a_time",
    ),
    (
        "hooks: every render's own callback is the first's",
        f"{CLIENT}/react.js",
        "    latest.current = onEvent;",
        "    void onEvent;",
        REACT,
    ),
    ("hooks: all events are kept", f"{CLIENT}/react.js", ".slice(-keep)", "", REACT),
    (
        "types: any field may be filtered by",
        f"{CLIENT}/documents.d.ts",
        "export type Filter<T = Document> = {",
        "export type Filter<T = Document> = { readonly [name: string]: any } | {",
        TYPES,
    ),
    (
        "types: no expression in a filter",
        f"{CLIENT}/documents.d.ts",
        "readonly $expr?: Expression | number | boolean | null;",
        "",
        TYPES,
    ),
    (
        "types: a projection that cannot compute",
        f"{CLIENT}/documents.d.ts",
        "0 | 1 | boolean | Expression };",
        "0 | 1 | boolean };",
        TYPES,
    ),
    (
        "types: the package may go to the registry",
        f"{CLIENT}/package.json",
        '"private": true,',
        "",
        "tests/js/test_package.py::test_the_package_says_of_itself_what_the_project_does",
    ),
    ("types: a code too many", f"{CLIENT}/realtime.d.ts", '| "rate_limited"', '| "rate_limited" | "gone"', CODES),
]
