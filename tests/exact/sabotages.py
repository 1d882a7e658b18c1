"""Rows of `make sabotage` for what shows windows and groups: name, file, line, what stands there instead, test."""

from __future__ import annotations

STATIC = "realtime/web/static"
CLIENT = f"{STATIC}/realtime"
BOTH = "tests/exact/test_windows_clients.py"
NODE = "tests/js/test_client.py::test_the_client_does_as_its_tests_say[query.test.mjs]"
RULES = "tests/js/test_page_modules.py"
DASHBOARD = "tests/e2e/test_dashboard.py::test_bars_follow_a_live_aggregate_and_keep_themselves_sorted"
SHOP = "tests/e2e/test_page.py::test_the_shops_leaderboard_and_sales_are_what_mongodb_has_at_their_position"
ORDERED = "tests/e2e/test_page.py::test_sorted_and_limited_documents_stand_in_the_order_of_the_window"
STREAM = "tests/web/http/test_sse.py"
TAIL = "tests/e2e/test_tail.py::test_a_window_is_printed_in_its_order_with_places_and_groups_as_rows"
WRITER = "tests/demo/test_shop.py"

SHOWN: list[tuple[str, str, str, str, str]] = [
    ("shown: a hidden move is no change", f"{CLIENT}/view.js", " || change.index !== undefined)", ")", NODE),
    ("shown: a new order alone is no news", f"{CLIENT}/query.js", " || effect.moved)", ")", NODE),
    ("shown: writes are foreseen in groups", f"{CLIENT}/optimistic.js", "if (this.#derived) return false;", "", NODE),
    (
        "shown: index is the end",
        f"{CLIENT}/view.js",
        "order.splice(index ?? order.length,",
        "order.splice(order.length,",
        BOTH,
    ),
    (
        "shown: stale is empty",
        f"{CLIENT}/view.js",
        "    this.live = false;\n    this.#liveFrom = null;",
        "    this.live = false;\n    this.rows = new Map();\n    this.#liveFrom = null;",
        NODE,
    ),
    (
        "shown: python has no order",
        "realtime/client/folds.py",
        "Rows(ordered=is_ordered(self.asked))",
        "Rows(ordered=False)",
        BOTH,
    ),
    (
        "shown: no group over event streams",
        "realtime/web/http/listing.py",
        'group=parameter(group, "group"),',
        "group=None,",
        f"{STREAM}::test_rows_of_groups_come_and_go",
    ),
    (
        "shown: no sort over event streams",
        "realtime/web/http/listing.py",
        "            sort=sort_parameter(sort),",
        "            sort=None,",
        f"{STREAM}::test_a_window_comes_with_its_order_and_begins_afresh_after_a_reconnect",
    ),
    (
        "shown: a window is recovered",
        "realtime/core/live/asked.py",
        "return alone and self.sort is None and self.grouping is None",
        "return True",
        f"{STREAM}::test_a_window_comes_with_its_order_and_begins_afresh_after_a_reconnect",
    ),
    ("shown: tail sorts upwards", "realtime/commands/tail.py", '-1 if name.startswith("-") else 1', "1", TAIL),
    (
        "shown: the table sorts for itself",
        f"{STATIC}/explorer.js",
        ": rows.slice(0, most);",
        ": rows.slice(0, most).sort((a, b) => (a.id < b.id ? -1 : 1));",
        ORDERED,
    ),
    ("shown: bars in any order", f"{STATIC}/groups.js", "rank(other) - rank(one) ||", "0 ||", DASHBOARD),
    ("shown: a group that is gone keeps its bar", f"{STATIC}/chart.js", "      row.remove();", "", DASHBOARD),
    ("shown: the board is nineteen", f"{STATIC}/shop.js", "limit: 20 }", "limit: 19 }", SHOP),
    ("shown: the board is upside down", f"{STATIC}/shop.js", '[["total", -1]]', '[["total", 1]]', SHOP),
    ("shown: sales are an average", f"{STATIC}/shop.js", 'sum: ["total"] }', 'avg: ["total"] }', SHOP),
    ("shown: the shop's writer never stops", f"{STATIC}/shop.js", "silent > SILENT ? silent : null", "null", SHOP),
    ("shown: the shop grows for ever", "realtime/demo/shop.py", "step.deletes.append(key)", "pass", WRITER),
    (
        "shown: the shop clears others' orders",
        "realtime/demo/shop.py",
        "self._orders.find(OWN,",
        "self._orders.find({},",
        WRITER,
    ),
]
