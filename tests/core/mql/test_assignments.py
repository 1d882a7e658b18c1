"""What an update writes to, by which operator."""

from __future__ import annotations

from realtime.core.mql.assignments import Assignment, assignments
from realtime.core.mql.updates import OPERATORS, check_update


def test_every_operator_of_the_allow_list_is_told_with_its_paths() -> None:
    operands = {
        "$pull": {"a": 1},
        "$pullAll": {"a": [1]},
        "$bit": {"a": {"or": 1}},
        "$currentDate": {"a": True},
        "$rename": {"a": "b.c"},
    }
    update = {name: operands.get(name, {"a": 1}) for name in sorted(OPERATORS)}
    check_update(update)
    found = assignments(update)
    assert {one.operator for one in found} == OPERATORS
    assert {one.path for one in found} == {"a", "b.c"}
    assert [one.path for one in found if one.operator == "$rename"] == ["a", "b.c"]


def test_only_what_sets_or_removes_a_field_is_blind() -> None:
    assert {name for name in OPERATORS if Assignment(name, "a").blind} == {"$set", "$unset"}


def test_a_new_name_that_is_none_is_mongodbs_to_refuse() -> None:
    assert assignments({"$rename": {"a": 5}}) == (Assignment("$rename", "a"),)
