"""Fields that a rule hides, taken out by MongoDB before a client's stages, so that nothing tells that they were there.

MongoDB keeps the place of a field that `$project` takes out. One of the same name that a later stage sets stands in
that place, and at the end of a document that had no such field. A document that is made anew keeps no places at its
top; what lies inside its fields is not made anew, so there nobody may set a name that is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from realtime.core.mql.cut import Cut
from realtime.core.mql.pipelines.pipeline import Stage
from realtime.errors import ForbiddenError

ANEW: Stage = {"$replaceWith": {"$mergeObjects": ["$$ROOT"]}}
_BY_TEXT = frozenset({"field", "includeArrayIndex"})
"""Where the name of a field that is set stands as a value, not as a name."""


def taken_out(cut: Cut, stages: Sequence[Stage]) -> list[Stage]:
    """What stands before a client's stages. `ForbiddenError` where one may set a name that is hidden inside a field."""
    if cut.whole:
        return []
    inside = {path.rpartition(".")[2] for path in cut.hide if "." in path}
    named = sorted(inside.intersection(_names(stages)))
    if named:
        raise ForbiddenError(
            f"pipeline: {named[0]} is hidden inside a field: set another name, or ask for it as a live query",
            details={"field": named[0]},
        )
    return [{"$project": cut.projection.source}, ANEW]


def _names(value: Any, *, text: bool = False) -> Iterator[str]:
    """Every name that a stage may give to a field, part by part of a path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from name.split(".")
            yield from _names(inner, text=text or name in _BY_TEXT)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner, text=text)
    elif text and isinstance(value, str):
        yield from value.split(".")
