"""Rows of `make sabotage` for pipelines: what stages and groups mean, what is refused, and what is sent to MongoDB."""

from __future__ import annotations

Row = tuple[str, str, str, str, str]
HERE = "realtime/core/mql/pipelines"
GIVES = "tests/mongo/test_pipelines_differential.py::test_pipelines_give_what_mongodb_gives"
TESTS = "tests/core/mql/pipelines"
STAGES = f"{TESTS}/test_stages.py"
MAKES = f"{STAGES}::test_a_stage_makes_of_a_document_what_mongodb_makes"
KEPT = f"{STAGES}::test_a_field_that_comes_back_stands_where_it_was"
REFUSED = f"{TESTS}/test_refused.py::test_what_cannot_be_followed_is_refused_by_place_with_the_mend"
BOUNDED = f"{STAGES}::test_what_becomes_of_one_document_is_bounded"
PARTS = f"{TESTS}/test_pipeline.py"

PIPELINES: list[Row] = [
    (
        "pipeline: $set does not go into arrays",
        f"{HERE}/trees.py",
        "return [put_in(one, branch, scope) for one in value]",
        "return put({}, branch, scope)",
        MAKES,
    ),
    (
        "pipeline: what comes back stands at the end",
        f"{HERE}/places.py",
        "step.holes.update(holes & step.takes)",
        "step.holes.update(set())",
        KEPT,
    ),
    (
        "pipeline: a document is read with the places that are kept",
        f"{HERE}/steps.py",
        "scope.root = solid(row) if step.clean else row",
        "scope.root = row",
        KEPT,
    ),
    (
        "pipeline: parts of what was set are shown at the place that it had",
        f"{HERE}/places.py",
        "            if not self._whole & {path, WHOLE}:",
        "            if not self._whole & {path, WHOLE} and not step:",
        REFUSED,
    ),
    (
        "pipeline: what MongoDB may leave out is read",
        f"{HERE}/places.py",
        '_PERHAPS = frozenset({"$and", "$let", "$literal", "$or", "$switch"})',
        '_PERHAPS = frozenset({"$let", "$literal"})',
        "tests/mongo/test_pipelines_differential.py::test_of_what_is_read_in_parts_alone_no_place_is_told",
    ),
    (
        "pipeline: an inclusion of parts is refused whatever is read",
        f"{HERE}/places.py",
        "        self._whole.update(_whole(step))",
        "        self._whole.update(())",
        "tests/mongo/test_pipelines_differential.py::test_what_is_read_as_a_whole_keeps_its_place_for_parts_of_it",
    ),
    (
        "pipeline: $unwind counts in 32 bits",
        f"{HERE}/stages.py",
        "Int64(place)",
        "int(place)",
        f"{STAGES}::test_an_array_becomes_rows",
    ),
    (
        "pipeline: one field to group by tells missing from null",
        f"{HERE}/grouping.py",
        "return lambda scope: {name: get(scope)}",
        "return _several_keys(((name, evaluate),))",
        GIVES,
    ),
    (
        "pipeline: a bucket has its upper boundary",
        f"{HERE}/grouping.py",
        "return values[bisect_right(places, place) - 1]",
        "return values[bisect_right(places, place) - 1 - (place in places[1:])]",
        GIVES,
    ),
    (
        "pipeline: $top goes by arrays as the other version",
        f"{HERE}/grouping.py",
        'flat = self.context.says("top_enters_arrays")',
        'flat = not self.context.says("top_enters_arrays")',
        GIVES,
    ),
    (
        "pipeline: of tied bottoms the last stay",
        f"{HERE}/pipeline.py",
        "(*ordered[start : start + end - cut], *ordered[end:])",
        "ordered[cut:]",
        f"{TESTS}/test_groups.py::test_of_one_place_those_that_came_first_stay",
    ),
    (
        "pipeline: a sort by the key enters arrays",
        "realtime/core/mql/sorting.py",
        'if [path for path, _ in pattern] == ["_id"]:',
        "if not pattern:",
        "tests/core/mql/test_sorting.py::test_by_the_key_alone_an_array_is_one_value",
    ),
    (
        "pipeline: a changed key is taken",
        f"{HERE}/compiling.py",
        "if step.keeps or (not keyed",
        "if step.name or (not keyed",
        REFUSED,
    ),
    (
        "pipeline: $unwind without a group is taken",
        f"{HERE}/compiling.py",
        'if step.name == "$unwind":',
        'if step.name == "$nothing":',
        REFUSED,
    ),
    (
        "pipeline: $top behind another key is taken",
        f"{HERE}/grouping.py",
        "if not self.keeps:",
        "if self.keeps is None:",
        REFUSED,
    ),
    (
        "pipeline: a condition that tells null from missing is taken of a key",
        f"{HERE}/compiling.py",
        "if found.copied and step.asks and any(",
        "if found.copied and not step.name and any(",
        REFUSED,
    ),
    (
        "pipeline: a copy in an array may be asked",
        f"{HERE}/stages.py",
        "copies=found.copies,\n        keeps",
        "copies=frozenset(),\n        keeps",
        REFUSED,
    ),
    (
        "pipeline: nothing stands between a rule and what was asked",
        f"{HERE}/pipeline.py",
        '*([{"$limit": EVERY}] if match or rest else [])',
        "*[]",
        f"{PARTS}::test_the_rule_comes_first_and_stands_apart",
    ),
    (
        "pipeline: hidden fields are cut behind the client's stages",
        f"{HERE}/pipeline.py",
        "rest = [*cut, *self._beyond()]",
        "rest = [*self._beyond(), *cut]",
        f"{PARTS}::test_the_rule_comes_first_and_stands_apart",
    ),
    (
        "pipeline: a shown part reads the whole document",
        f"{HERE}/compiling.py",
        "paths=paths if self.closed and WHOLE not in paths else None,",
        "paths=None,",
        f"{PARTS}::test_what_is_read_of_a_document",
    ),
    (
        "pipeline: one document makes any number of rows",
        f"{HERE}/steps.py",
        "if len(made) > self.bounds.rows:",
        "if len(made) > 10 * self.bounds.rows:",
        f"{BOUNDED}[rows]",
    ),
    (
        "pipeline: one document may cost anything",
        f"{HERE}/steps.py",
        "scope.step(step.name, step.cost)",
        "scope.step(step.name, 0)",
        f"{BOUNDED}[steps]",
    ),
    (
        "pipeline: a document may be of any depth",
        f"{HERE}/context.py",
        "if depth > MAX_DEPTH:",
        "if depth > 10 * MAX_DEPTH:",
        f"{BOUNDED}[levels]",
    ),
]
