"""Rows of `make sabotage` for expressions: what constants decide, and edges of numbers and dates."""

from __future__ import annotations

from tests.mongo.sabotages_expressions import CALENDAR, COMPILED, CORNERS, HEADINGS, HERE, Row

DECIDED: list[Row] = [
    (
        "expression: what is not looked into is rearranged",
        f"{HERE}/compiling.py",
        "or compiler.as_written or all(",
        "or all(",
        CORNERS,
    ),
    (
        "expression: $and decides by its constants where nobody looks",
        f"{HERE}/booleans.py",
        "    if not compiler.as_written and any(",
        "    if any(",
        f"{HEADINGS}::test_a_failure_is_one_and_names_its_operator",
    ),
    (
        "expression: what MongoDB keeps is a constant",
        f"{HERE}/compiling.py",
        "if found.constant else found",
        "if False else found",
        CORNERS,
    ),
    (
        "expression: $setField is looked into",
        f"{HERE}/objects.py",
        '        value = compiler.compile(given.get("value", "$$REMOVE")',
        '    value = compiler.compile(given.get("value", "$$REMOVE")',
        CORNERS,
    ),
    (
        "expression: the upper part of a long is added first",
        f"{HERE}/summing.py",
        "        self.add_double(float(low))\n        if low != value:\n",
        "        self.add_double(float(value - low))\n        value = low + low\n        if low != value:\n",
        CORNERS,
    ),
    (
        "expression: a constant in $ifNull is no constant",
        f"{HERE}/conditional.py",
        "        if part.constant and not nullish(part.value):\n            return kept\n",
        "",
        CORNERS,
    ),
    (
        "expression: a condition that is a constant is asked of each document",
        f"{HERE}/conditional.py",
        "    if parts[0].constant and not compiler.as_written:",
        "    if parts[0].constant and compiler.as_written:",
        CORNERS,
    ),
    (
        "expression: a case that is true ends nothing",
        f"{HERE}/conditional.py",
        "        elif truthy(case.value):",
        "        elif case is then:",
        CORNERS,
    ),
    (
        "expression: a double of the least long is too far away",
        f"{HERE}/arithmetic.py",
        "        fits = -(2.0**63) <= number < 2.0**63",
        "        fits = -(2.0**63) < number < 2.0**63",
        CORNERS,
    ),
    (
        "expression: minutes hang on no zone",
        f"{HERE}/datemath.py",
        "        if (one - start) % SHORT[unit] or (other - end) % SHORT[unit]:",
        "        if one is other:",
        f"{CALENDAR}::test_minutes_apart_are_not_certain_where_clocks_were_apart_by_seconds",
    ),
    (
        "expression: milliseconds of any number",
        f"{HERE}/dates.py",
        "abs(number) > _MOST_MILLISECONDS",
        "abs(number) < 0",
        f"{HEADINGS}::test_a_failure_is_one_and_names_its_operator",
    ),
    (
        "expression: the second of the least date can be had",
        f"{HERE}/datemath.py",
        'or (unit != "millisecond" and not fits_long(moved // 1000 * 1000))',
        "",
        f"{HEADINGS}::test_a_failure_is_one_and_names_its_operator",
    ),
    (
        "expression: there is no type 0",
        f"{HERE}/types.py",
        "    if code == 0:",
        "    if code is wanted:",
        CORNERS,
    ),
    (
        "expression: a NaN that signals has no sign and is quiet",
        f"{HERE}/arithmetic.py",
        "Decimal128(exact) if exact.is_snan() else decimal128(exact)",
        "decimal128(exact)",
        f"{HEADINGS}::test_a_failure_is_one_and_names_its_operator",
    ),
    (
        "expression: the text of a NaN is certain",
        f"{HERE}/texts.py",
        "        if math.isnan(value):",
        "        if value is None:",
        f"{HEADINGS}::test_what_is_not_certain_is_said",
    ),
    (
        "expression: $setEquals takes constants that are no arrays",
        f"{HERE}/sets.py",
        "if any(type(part.value) is not list for part in constants):",
        "if constants is None:",
        f"{COMPILED}::test_what_mongodb_refuses_is_refused_by_its_place",
    ),
]
