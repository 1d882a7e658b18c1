"""Rows of `make sabotage` for `$jsonSchema`: what its keywords mean, and how it is bounded."""

from __future__ import annotations

Row = tuple[str, str, str, str, str]
HERE = "realtime/core/mql/schemas"
FIND = "tests/mongo/test_schema_differential.py::test_compiled_schemas_match_what_find_finds[whole]"
CORNERS = "tests/core/mql/schemas/test_corners.py::test_a_corner_is_decided_as_mongodb_decides_it"
COMPILED = "tests/core/mql/schemas/test_compiling.py"

SCHEMAS: list[Row] = [
    (
        "schema: the order of fields counts in enum",
        f"{HERE}/values.py",
        "in sorted(fields(value), key=_FIRST):",
        "in fields(value):",
        FIND,
    ),
    (
        "schema: text is as long as its bytes",
        f"{HERE}/values.py",
        "return test(len(value))",
        "return test(len(value.encode()))",
        FIND,
    ),
    (
        "schema: additionalProperties forgets the patterns",
        f"{HERE}/objects.py",
        "if not tests and name not in named:",
        "if name not in named:",
        FIND,
    ),
    (
        "schema: of names that stand twice one is looked at",
        f"{HERE}/objects.py",
        "for name, value in fields(around):",
        "for name, value in around.items():",
        CORNERS,
    ),
    (
        "schema: a keyword is about every type",
        f"{HERE}/compiling.py",
        "return lambda value: type_code(value) not in codes or test(value)",
        "return test",
        FIND,
    ),
    (
        "schema: additionalItems from the first element on",
        f"{HERE}/arrays.py",
        "return _all_from(schema, len(first), test)",
        "return _all_from(schema, 0, test)",
        FIND,
    ),
    (
        "schema: oneOf takes several",
        f"{HERE}/logic.py",
        "sum([test(handed) for test in tests]) == 1",
        "sum([test(handed) for test in tests]) >= 1",
        FIND,
    ),
    (
        "schema: patterns of names go by characters",
        f"{HERE}/objects.py",
        "bytewise=True",
        "bytewise=False",
        "tests/mongo/test_schema_differential.py::test_patterns_look_at_the_bytes_of_names[whole]",
    ),
    (
        "schema: nested without a bound",
        f"{HERE}/compiling.py",
        "if level > DEPTH:",
        "if False:",
        f"{COMPILED}::test_schemas_may_be_nested_to_a_bound_and_no_deeper",
    ),
    (
        "schema: its list of values counts for nothing",
        f"{HERE}/logic.py",
        "schema.around.count(here, len(value))",
        "schema.around.count(here)",
        f"{COMPILED}::test_a_schema_counts_in_the_conditions_of_its_filter[enum]",
    ),
    (
        "schema: what enum looks at is not read",
        f"{HERE}/logic.py",
        "schema.site.read(WHOLE)",
        "pass",
        f"{COMPILED}::test_a_schema_says_which_paths_it_reads",
    ),
]
