"""What is known of a change event that cannot be decoded or sent: which collection it concerns, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.raw_bson import RawBSONDocument

from realtime.core.live.events import STEPPED_OVER, ChangeEvent, to_time
from realtime.core.live.stepping import EVERY, mark


def marks(document: RawBSONDocument, latest: int, op: str = STEPPED_OVER) -> list[ChangeEvent]:
    """Marks of the kind `op` in the place of a change stream document; it happened at or before `latest`.

    Its names and its time are read, and nothing that they stand beside. Where even those cannot be read it may have
    been any collection, and counts as what happened last.
    """
    try:
        time = to_time(document["clusterTime"])
        names = [_name(document, field) for field in ("ns", "to")]
    except Exception:  # noqa: BLE001 - whatever keeps it from being read, it says nothing
        return [mark(EVERY, latest, op)]
    return [mark(name, time, op) for name in names if name is not None] or [mark(EVERY, time, op)]


def _name(document: Mapping[str, Any], field: str) -> str | None:
    namespace = document.get(field)
    return None if namespace is None else namespace.get("coll")
