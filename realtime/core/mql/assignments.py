"""What an update writes: at which paths, by which operator. For updates that `check_update` has taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BLIND = frozenset({"$set", "$unset"})
RENAME = "$rename"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One path that an update may write to, and by which operator."""

    operator: str
    path: str

    @property
    def blind(self) -> bool:
        """Whether what is there afterwards, and what is answered, do not depend on what was there."""
        return self.operator in _BLIND


def assignments(update: Mapping[str, Any]) -> tuple[Assignment, ...]:
    """All that an update may write to; a `$rename` takes from one path, and overwrites another."""
    return tuple(
        Assignment(operator, path)
        for operator, fields in update.items()
        for given, operand in fields.items()
        for path in ((given, operand) if operator == RENAME else (given,))
        if isinstance(path, str)  # MongoDB refuses another name
    )
