"""Rows of `make sabotage` for the filter language: each must turn a differential test, or the live one, red."""

from __future__ import annotations

from itertools import starmap

Row = tuple[str, str, str, str, str]
FIND = "tests/mongo/test_filters_differential.py::test_compiled_filters_match_what_find_finds"
REFUSES = "tests/mongo/test_filters_differential.py::test_what_mongodb_refuses_is_refused_and_nothing_else"
REGEX = "tests/mongo/test_regex_differential.py::test_patterns_find_what_mongodb_finds"
SORT = "tests/mongo/test_sort_differential.py::test_documents_are_sorted_as_find_sorts_them"
SHOWN = "tests/mongo/test_projection_differential.py::test_compiled_projections_show_what_find_shows"
ALONE = "tests/exact/test_filters.py::test_a_view_that_shares_its_collection_with_none_is_as_exact"
OPERATORS, FILTERS_FILE = "realtime/core/mql/operators.py", "realtime/core/mql/filters.py"
PATHS, RE2 = "realtime/core/mql/paths.py", "realtime/core/mql/regex.py"

_ROWS = [
    (
        "$eq of null forgets what is missing",
        OPERATORS,
        "value is None or value is MISSING",
        "value is None",
        FIND,
    ),
    (
        "$ne is not negated",
        FILTERS_FILE,
        "return Negated(Leaf(self.equal(operand",
        "return (Leaf(self.equal(operand",
        FIND,
    ),
    (
        "$gt takes the value itself",
        OPERATORS,
        '"$gt": operator.gt',
        '"$gt": operator.ge',
        FIND,
    ),
    (
        "$lte crosses types",
        OPERATORS,
        "rank_of(value) == rank and test(",
        "test(",
        FIND,
    ),
    (
        "NaN is below every number",
        OPERATORS,
        "and not is_nan(value) and test(",
        "and test(",
        FIND,
    ),
    (
        "$in forgets its regular expressions",
        FILTERS_FILE,
        "some([equal, *expressions]) if",
        "equal if",
        FIND,
    ),
    (
        "$nin is $in",
        FILTERS_FILE,
        'return found if name == "$in" else Negated(found)',
        "return found",
        FIND,
    ),
    (
        "$not is forgotten",
        FILTERS_FILE,
        "Negated(self.operators(operand",
        "(self.operators(operand",
        FIND,
    ),
    (
        "$exists takes null for missing",
        OPERATORS,
        "value is not MISSING, enter",
        "value not in (None, MISSING), enter",
        FIND,
    ),
    (
        "$type array looks at elements alone",
        OPERATORS,
        "    list: 4,\n",
        "",
        FIND,
    ),
    (
        "$mod has Python's sign",
        OPERATORS,
        "-(-whole % by)",
        "whole % by",
        FIND,
    ),
    (
        "$size takes longer arrays",
        OPERATORS,
        "len(value) == length",
        "len(value) >= length",
        FIND,
    ),
    (
        "$all looks at its first value alone",
        FILTERS_FILE,
        "Every(tuple(self.condition(element, where, level) for where, element in elements))",
        "self.condition(elements[0][1], here, level)",
        FIND,
    ),
    (
        "$elemMatch sees no inner arrays",
        PATHS,
        "    if type(value) is list:\n        return {",
        "    if False:\n        return {",
        FIND,
    ),
    (
        "$bitsAnyClear is $bitsAllClear",
        OPERATORS,
        "all_of is not negated else 1",
        "all_of else 1",
        FIND,
    ),
    (
        "$nor is $or",
        FILTERS_FILE,
        'anyone if name == "$or" else negate(anyone)',
        "anyone",
        FIND,
    ),
    (
        "an array is not looked at as a whole",
        PATHS,
        "        return predicate(value)\n\n    return matches\n\n\ndef _at",
        "        return type(value) is not list and predicate(value)\n\n    return matches\n\n\ndef _at",
        FIND,
    ),
    (
        "a number in a path is a name alone",
        PATHS,
        "if place == picked:",
        "if False:",
        FIND,
    ),
    ("$regex: $ is RE2's own", RE2, 'return _Part(r"(?:\\n?\\z)", 0', 'return _Part(r"\\z", 0', REGEX),
    ("$regex: \\s is RE2's own", RE2, '"s": f"[{_SPACE}]", "S"', '"s": r"\\s", "S"', REGEX),
    ("$regex: the option s is forgotten", RE2, 'for letter in "is" if', 'for letter in "i" if', REGEX),
    ("$size takes fractions", OPERATORS, "number != int(number) or not", "not", REFUSES),
    (
        "an empty array sorts as null",
        "realtime/core/mql/sorting.py",
        "(UNDEFINED, 0) if value is _EMPTY",
        "order(None) if value is _EMPTY",
        SORT,
    ),
    (
        "falling arrays sort by their least",
        "realtime/core/mql/sorting.py",
        "return min(map(placed",
        "return max(map(placed",
        SORT,
    ),
    (
        "an inclusion keeps what is no object",
        "realtime/core/mql/projection.py",
        "        elif isinstance(value, list):\n            shown.append(_include_array(value, tree))\n",
        "        else:\n            shown.append(value)\n",
        SHOWN,
    ),
    (
        "the filter reads nothing",
        FILTERS_FILE,
        "                    self.paths.add(stem(name))",
        "                    pass",
        ALONE,
    ),
    (
        "a projection hides every update",
        "realtime/core/live/result.py",
        "and self._projection.shows(touched)",
        "and not self._projection.source",
        ALONE,
    ),
]


def _named(name: str, *row: str) -> Row:
    file, line, instead, test = row
    return f"filter: {name}", file, line, instead, test


FILTERS: list[Row] = list(starmap(_named, _ROWS))
