"""A schema for whoever uses one: compiled, with the paths that it reads."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.paths import Predicate
from realtime.core.mql.schemas import arrays, logic, objects, scalars
from realtime.core.mql.schemas.compiling import Around, Schema, Site

FILES = (objects, arrays, scalars, logic)
"""The files of keywords, each of which has put its own into the registry."""


def compile_schema(source: Any, here: str, around: Around) -> tuple[Predicate, frozenset[str]]:
    """What a schema says of a document, and the paths that it reads.

    Raises `InvalidFilterError` or `UnsupportedOperatorError`; `details` names the place.
    """
    reads: set[str] = set()
    matches = Schema(source, here, Site(whole=True, reads=reads), around).compiled()
    return matches, frozenset(reads)
