"""The models' writer: no way of writing goes past it. What it does is told by tests/web/socket/test_collections.py."""

from __future__ import annotations

from realtime.mongo.checked import CheckedWriter
from realtime.mongo.writes import MongoWriter
from realtime.ports import Writer

ELSEWHERE = {"update": "_apply", "delete": None}
"""Where the models have their say about a write that is not the model's own method; None: nothing is stored."""


def methods(of: type) -> set[str]:
    return {name for name, value in vars(of).items() if callable(value) and not name.startswith("_")}


def test_every_write_that_stores_a_document_asks_the_model() -> None:
    writes = methods(MongoWriter)
    assert writes == methods(Writer)
    assert len(writes) >= 4
    for name in writes:
        through = ELSEWHERE.get(name, name)
        assert through is None or through in vars(CheckedWriter), f"{name} stores what no model has seen"
