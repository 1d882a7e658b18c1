"""Rows of `make sabotage` for expressions: what they mean, how they are bounded, and what a failure takes along."""

from __future__ import annotations

Row = tuple[str, str, str, str, str]
HERE = "realtime/core/mql/expressions"
GIVES = "tests/mongo/test_expressions_differential.py::test_expressions_give_what_mongodb_gives[whole]"
COMPILED = "tests/core/mql/expressions/test_compiling.py"
CALENDAR = "tests/core/mql/expressions/test_calendar.py"
MQL = "tests/core/mql"
LIVE = "tests/exact/test_expressions.py"
FAILS = f"{LIVE}::test_a_document_that_fails_ends_the_query_that_meets_it_and_no_other"

EXPRESSIONS: list[Row] = [
    (
        "expression: missing is null in comparisons",
        f"{HERE}/compiling.py",
        "if value is MISSING else order",
        "if False else order",
        GIVES,
    ),
    (
        "expression: a missing element leaves its array",
        f"{HERE}/compiling.py",
        "[None if value is MISSING else value for value in values]",
        "[value for value in values if value is not MISSING]",
        GIVES,
    ),
    (
        "expression: int and long are one type",
        f"{HERE}/numbers.py",
        "return number if -INT32 <= number < INT32 else Int64(number)",
        "return Int64(number)",
        GIVES,
    ),
    (
        "expression: NaN is false",
        f"{HERE}/numbers.py",
        "return not is_number(value) or value != 0",
        "return not is_number(value) or abs(value) > 0",
        GIVES,
    ),
    (
        "expression: $mod has the sign of the divisor",
        f"{HERE}/arithmetic.py",
        "rest = -rest if one < 0 else rest",
        "rest = rest",
        GIVES,
    ),
    ("expression: $abs of the least long", f"{HERE}/arithmetic.py", "if value == -INT64:", "if False:", GIVES),
    (
        "expression: $round half up",
        f"{HERE}/arithmetic.py",
        '_to_place("$round", decimal.ROUND_HALF_EVEN)',
        '_to_place("$round", decimal.ROUND_HALF_UP)',
        GIVES,
    ),
    (
        "expression: $arrayElemAt past the end is null",
        f"{HERE}/arrays.py",
        "< len(elements) else MISSING",
        "< len(elements) else None",
        GIVES,
    ),
    (
        "expression: $size of missing is 0",
        f"{HERE}/arrays.py",
        'return len(array("$size", value))',
        'return len(array("$size", value)) if value is not None else 0',
        GIVES,
    ),
    ("expression: $slice from the end", f"{HERE}/arrays.py", "else elements[start:]", "else elements[:-start]", GIVES),
    (
        "expression: $setUnion unsorted",
        f"{HERE}/sets.py",
        "return [found[key] for key in sorted(found)]",
        "return list(found.values())",
        GIVES,
    ),
    (
        "expression: $strLenCP in bytes",
        f"{HERE}/strings.py",
        'return len(text("$strLenCP", value))',
        'return len(text("$strLenCP", value).encode())',
        GIVES,
    ),
    (
        "expression: $toLower beyond ASCII",
        f"{HERE}/strings.py",
        'coerced("$toLower", value).translate(_LOWER)',
        'coerced("$toLower", value).lower()',
        GIVES,
    ),
    ("expression: $convert rounds", f"{HERE}/types.py", "number = int(exact)", "number = round(exact)", GIVES),
    (
        "expression: $max of nulls",
        f"{HERE}/accumulators.py",
        "            if nullish(value):\n                continue\n            here",
        "            if value is None:\n                return None\n            here",
        GIVES,
    ),
    (
        "expression: months end on the same day",
        f"{HERE}/datemath.py",
        "short = max(0, day - length_of(*_month_after(parts_of(local), by)))",
        "short = 0",
        GIVES,
    ),
    (
        "expression: weeks begin where the year 2000 does",
        f"{HERE}/datemath.py",
        "begin += (first_day - weekday(_REFERENCE)) % 7",
        "begin += 0",
        GIVES,
    ),
    (
        "expression: $cond evaluates both",
        f"{HERE}/conditional.py",
        "lambda scope: then(scope) if truthy(condition(scope)) else otherwise(scope)",
        "lambda scope: (then(scope), otherwise(scope))[not truthy(condition(scope))]",
        GIVES,
    ),
    (
        "expression: constants stay where they are",
        f"{HERE}/compiling.py",
        'if shape.folds == "ordered":',
        "if True:",
        f"{COMPILED}::test_constants_are_gathered_behind_the_rest_as_mongodb_does",
    ),
    (
        "expression: numbers pick elements",
        f"{HERE}/scope.py",
        "[at(one, parts, index) for one in node if isinstance(one, dict)]",
        "[at(one, parts, index) for one in node]",
        f"{COMPILED}::test_paths_go_through_arrays_by_objects_and_never_by_number",
    ),
    (
        "expression: steps are not counted",
        f"{HERE}/scope.py",
        "self.steps -= steps",
        "self.steps -= 0",
        f"{COMPILED}::test_what_a_document_may_cost_is_bounded",
    ),
    (
        "expression: bytes are not counted",
        f"{HERE}/scope.py",
        "if size > self.bytes:",
        "if False:",
        f"{COMPILED}::test_what_a_document_may_cost_is_bounded",
    ),
    (
        "expression: loops are not bounded",
        f"{HERE}/compiling.py",
        "if self.loops > self.bounds.loops:",
        "if False:",
        f"{COMPILED}::test_parts_depth_and_loops_are_bounded",
    ),
    (
        "expression: a clock turned on",
        f"{HERE}/timezones.py",
        "return local - 1000 * before",
        "return local - 1000 * after",
        f"{CALENDAR}::test_a_zone_around_its_changes",
    ),
    (
        "expression: a leap year each century",
        f"{HERE}/calendar.py",
        "year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
        "year % 4 == 0",
        f"{CALENDAR}::test_months_go_on_beyond_their_year_and_far_years_are_no_text",
    ),
    (
        "expression: the plain conditions come last",
        "realtime/core/mql/filters.py",
        "return every([*parts, *self.conditions(rest, at, level, inside=inside)])",
        "return every([*self.conditions(rest, at, level, inside=inside), *parts])",
        f"{MQL}/test_filters.py::test_an_expression_is_asked_after_what_is_plain",
    ),
    (
        "expression: a failure is no match",
        f"{HERE}/evaluation.py",
        "            told(outcome, document)",
        "            return False",
        FAILS,
    ),
    (
        "expression: events go on after a failure",
        "realtime/hub/teller.py",
        "refused = (Ended(group, error),)",
        "refused = ()",
        FAILS,
    ),
    (
        "expression: the server's failure is a bug",
        "realtime/mongo/faults.py",
        "    if _AT_A_DOCUMENT.match(message) and",
        "    if False and",
        FAILS,
    ),
    (
        "expression: a zone is never asked",
        "realtime/hub/loading.py",
        "        if names:",
        "        if not names:",
        f"{LIVE}::test_a_time_zone_is_the_servers",
    ),
    (
        "expression: updates of what is computed of are not shown",
        "realtime/core/mql/projection.py",
        "stems = frozenset(map(stem, paths)) | read",
        "stems = frozenset(map(stem, paths))",
        f"{MQL}/test_projection.py::test_what_is_computed_is_seen_through_what_it_reads",
    ),
    (
        "expression: its paths are not read",
        "realtime/core/mql/filters.py",
        "self.paths |= compiled.paths",
        "self.paths |= set()",
        f"{MQL}/test_filters.py::test_an_expression_stands_at_the_top_and_in_branches_alone",
    ),
]
