"""What stands before a client's stages where a rule hides fields."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.mql.cut import ALL_FIELDS, Cut
from realtime.core.mql.pipelines.hidden import ANEW, taken_out
from realtime.errors import ForbiddenError


def test_where_nothing_is_hidden_nothing_stands_before() -> None:
    assert taken_out(ALL_FIELDS, [{"$set": {"internal": 1}}]) == []


@pytest.mark.parametrize("cut", [Cut(["margin", "notes.internal"]), Cut(show=["a", "notes.text"])])
def test_a_document_is_made_anew_of_what_is_shown(cut: Cut) -> None:
    stages = [{"$set": {"margin": "$notes.internal", "a": ["internal", {"$eq": ["$x", "internal"]}]}}]
    assert taken_out(cut, stages) == [{"$project": cut.projection.source}, ANEW]


@pytest.mark.parametrize(
    "stage",
    [
        {"$set": {"notes.internal": 1}},
        {"$set": {"other": {"internal": 1}}},
        {"$project": {"a": [{"internal.x": 1}]}},
        {"$set": {"a": {"$setField": {"field": "internal", "input": "$notes", "value": 1}}}},
        {"$set": {"a": {"$setField": {"field": {"$literal": "internal"}, "input": "$notes", "value": 1}}}},
        {"$set": {"a": {"$setField": {"field": {"$concat": ["internal", ""]}, "input": "$notes", "value": 1}}}},
        {"$unwind": {"path": "$a", "includeArrayIndex": "notes.internal"}},
    ],
)
def test_nobody_sets_a_name_that_is_hidden_inside_a_field(stage: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError, match="internal is hidden") as refused:
        taken_out(Cut(["notes.internal"]), [{"$match": {"x": 1}}, stage])
    assert refused.value.details == {"field": "internal"}
