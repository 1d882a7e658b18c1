"""Sets of fields: what an update's path may reach of them, where its numbers are places in arrays or names."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.mql.fieldsets import EVERY_FIELD, FieldSet, place, places

BUT = FieldSet(frozenset({"cost", "items.cost", "notes.internal.who", "map.0"}))
ONLY = FieldSet(frozenset({"title", "items.qty", "notes.text"}), but=False)


@pytest.mark.parametrize(
    ("path", "may", "surely", "whole"),
    [
        ("_id", True, True, True),
        ("_id.a", True, True, True),
        ("title", True, True, True),
        ("costs", True, True, True),
        ("cost", False, False, True),
        ("cost.a", False, False, False),
        ("cost.0", False, False, False),
        ("items", False, False, True),
        ("items.cost", False, False, True),
        ("items.qty", True, True, True),
        ("items.0.qty", True, True, True),
        ("items.0.cost", True, False, True),  # an element's cost, or the field of another name
        ("items.0.1.cost", True, False, True),
        ("items.0.cost.a", True, False, False),
        ("items.0", True, False, True),
        ("notes.internal", False, False, True),
        ("notes.0", True, False, True),
        ("map.0", True, False, True),
        ("map.1", True, False, True),
        ("map.x", True, True, True),
        ("map.0.0", True, False, False),
    ],
)
def test_a_path_that_an_update_writes_against_the_fields_that_are_left_out(
    path: str, may: bool, surely: bool, whole: bool
) -> None:
    assert (BUT.may_hold(path), BUT.surely_holds(path), BUT.is_whole(path)) == (may, surely, whole)


@pytest.mark.parametrize(
    ("path", "may", "surely", "whole"),
    [
        ("_id", True, True, True),
        ("title", True, True, True),
        ("title.a.0", True, True, False),
        ("titles", False, False, True),
        ("items", False, False, True),
        ("items.qty", True, True, False),
        ("items.0.qty", True, False, False),
        ("items.0.qty.1.a", True, False, False),
        ("items.0", False, False, False),
        ("items.0.cost", False, False, False),
        ("notes.x", False, False, False),
        ("other", False, False, True),
    ],
)
def test_a_path_that_an_update_writes_against_the_fields_that_are_named(
    path: str, may: bool, surely: bool, whole: bool
) -> None:
    assert (ONLY.may_hold(path), ONLY.surely_holds(path), ONLY.is_whole(path)) == (may, surely, whole)


@pytest.mark.parametrize(
    ("at", "but_holds", "but_misses", "only_holds", "only_misses"),
    [
        ("_id", True, False, True, False),
        ("cost", False, True, False, True),
        ("cost.a", False, True, False, True),
        ("items", False, False, False, False),
        ("items.cost", False, True, False, True),
        ("items.qty", True, False, True, False),
        ("items.qty.x", True, False, True, False),
        ("notes.internal", False, False, False, True),
        ("free", True, False, False, True),
    ],
)
def test_a_place_of_names_is_in_a_set_or_out_of_it_or_in_part(
    at: str, but_holds: bool, but_misses: bool, only_holds: bool, only_misses: bool
) -> None:
    names = tuple(at.split("."))
    assert (BUT.holds(names), BUT.misses(names)) == (but_holds, but_misses)
    assert (ONLY.holds(names), ONLY.misses(names)) == (only_holds, only_misses)


def test_only_the_set_that_leaves_nothing_out_is_everything() -> None:
    assert EVERY_FIELD.everything
    assert not BUT.everything
    assert not ONLY.everything
    assert not FieldSet(frozenset(), but=False).everything


@pytest.mark.parametrize(
    ("document", "path", "names"),
    [
        ({"a": {"b": 1}}, "a.b", "a.b"),
        ({}, "a.b", "a.b"),
        ({}, "a.0", "a.0"),
        ({"a": 5}, "a.b", "a.b"),
        ({"a": [{"b": 1}]}, "a.0.b", "a.b"),
        ({"a": [{"b": 1}]}, "a.0", "a"),
        ({"a": [{"b": 1}]}, "a.1", "a"),  # behind the end: the array becomes longer
        ({"a": [{"b": 1}]}, "a.1.b", "a"),
        ({"a": [{"b": 1}]}, "a.b", "a"),  # MongoDB refuses it
        ({"a": [[{"b": 1}]]}, "a.0.0.b", "a.b"),
        ({"a": {"0": {"b": 1}}}, "a.0.b", "a.0.b"),
    ],
)
def test_the_place_of_a_path_is_told_by_the_document(document: dict[str, Any], path: str, names: str) -> None:
    assert place(document, path) == tuple(names.split("."))


def test_the_places_of_a_value_are_those_of_all_that_it_holds() -> None:
    value = {"a": 1, "b": {"c": 2, "d": {}}, "e": [{"f": 1}, [2], []], "g": []}
    assert {".".join(one) for one in places(value)} == {"a", "b.c", "b.d", "e.f", "e", "g"}
    assert list(places({})) == []
