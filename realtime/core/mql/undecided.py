"""Conditions that may fail beside each other: which failure counts."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.paths import Matcher
from realtime.errors import InvalidDocumentError, ServiceError, UnsupportedValueError


def unless_decided(parts: list[Matcher], *, by: bool) -> list[Matcher]:
    """Conditions of an `$and` (`by` False) or an `$or` (True), any of which may fail, as one.

    In which order `find` asks them is its own affair, by kinds of conditions and by indexes. So a failure counts only
    where no other one decides: whatever `find` gives is given, and what is given, `find` gives unless it fails.
    """
    if len(parts) < 2:
        return parts

    def decided(document: Any) -> bool:
        first: ServiceError | None = None
        for part in parts:
            try:
                if part(document) is by:
                    return by
            except (InvalidDocumentError, UnsupportedValueError) as error:
                first = first or error
        if first is not None:
            raise first
        return not by

    return [decided]
