"""Pipelines of the matrix, and its group: what they are to make of documents as their reader sees them.

Hidden fields are cut before the first stage: whatever names no field, such as `$$ROOT`, `$objectToArray` and
`$getField`, meets the cut document. Nothing of `realtime` is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.rules.ruled import matches
from tests.truth import Document

FEW: Document = {"qty": {"$lt": 8}}
STAGES: list[dict[str, Any]] = [
    {"$match": FEW},
    {
        "$set": {
            "names": {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}},
            "got": {"$getField": {"field": "margin", "input": "$$ROOT"}},
            "inner": {"$objectToArray": "$notes"},
            "skus": "$lines.sku",
            "whole": "$$ROOT",
        }
    },
]
"""Of each document what is in it."""
ROWS: list[dict[str, Any]] = [
    {"$set": {"names": {"$size": {"$objectToArray": {"$mergeObjects": ["$$ROOT", "$notes"]}}}}},
    {
        "$group": {
            "_id": "$status",
            "count": {"$sum": 1},
            "most": {"$max": "$margin"},
            "pays": {"$addToSet": {"$getField": "pay"}},
            "names": {"$sum": "$names"},
        }
    },
]
"""Of all that may be seen: what hidden fields would be the most, in a set, or counted."""


def staged(documents: Sequence[Document]) -> list[Document]:
    """What `STAGES` makes of documents that are cut."""
    return [_staged(one) for one in documents if matches(one, FEW)]


def _staged(one: Document) -> Document:
    got = {"got": one["margin"]} if "margin" in one else {}
    inner = [{"k": name, "v": value} for name, value in one["notes"].items()] if "notes" in one else None
    skus = {"skus": [line["sku"] for line in one["lines"] if "sku" in line]} if "lines" in one else {}
    return {**one, **got, **skus, "names": list(one), "inner": inner, "whole": one}


def rows(documents: Sequence[Document]) -> list[Document]:
    """What `ROWS` does."""
    groups: dict[str, list[Document]] = {}
    for one in documents:
        groups.setdefault(one["status"], []).append(one)
    return [
        {
            "_id": status,
            "count": len(those),
            "most": max((one["margin"] for one in those if "margin" in one), default=None),
            "pays": sorted({one["pay"] for one in those if "pay" in one}),
            "names": sum(len({**one, **one.get("notes", {})}) for one in those),
        }
        for status, those in groups.items()
    ]


def grouped(documents: Sequence[Document]) -> list[Document]:
    """What the matrix's `group` does, which is no pipeline."""
    groups: dict[str, list[Document]] = {}
    for one in documents:
        groups.setdefault(one["status"], []).append(one)
    return [
        {
            "_id": {"status": status},
            "count": len(those),
            "sum": {"qty": sum(one["qty"] for one in those)},
            "max": {"title": max(one["title"] for one in those)},
        }
        for status, those in groups.items()
    ]
