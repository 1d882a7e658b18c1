"""Documents with names like numbers, as MongoDB has them before and after the browser client has had them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.js.conftest import run
from tests.serving import Service

MOST = 0.1
"""Of what an ordinary frame costs from text to rows, for the look for names like numbers.

3 to 5 in a hundred, by machine; to read the text with its names marked, as would be done without the look, takes more
than the rest together.
"""


def text(document: object) -> str:
    """A document as JSON, in its own order."""
    return json.dumps(document, separators=(",", ":"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"1": 1, "2": 2}, {"2": 2, "1": 1}),
        ({"a": 1, "1": 2}, {"1": 2, "a": 1}),
        ({"a": {"10": 1, "9": 1}}, {"a": {"9": 1, "10": 1}}),
        ({"__proto__": {"1": 1, "0": 1}}, {"__proto__": {"0": 1, "1": 1}}),
    ],
    ids=["numbers", "a-number-and-a-name", "inside", "under-proto"],
)
async def test_of_two_keys_that_differ_in_order_one_is_deleted_and_the_other_is_written_as_it_was(
    service: Service, workshop: Path, one: dict[str, object], other: dict[str, object]
) -> None:
    more = {"7": 7, "x": 1, "3": 3, "__proto__": {"2": 2, "1": 1}}
    orders = service.database.orders
    orders.insert_many([{"_id": one, "name": "kept", "more": more}, {"_id": other, "name": "second"}])
    told = json.loads(await asyncio.to_thread(run, ["node", "names.mjs", service.url], workshop))
    assert sorted(told["ids"]) == sorted([text(one), text(other)])
    assert (told["refused"], told["left"]) == ("invalid_request", [text(one)])
    (left,) = list(orders.find())
    edited = {**more, "__proto__": {**more, "last": 1}}
    assert text(left) == text({"_id": one, "name": "kept", "more": edited, "seen": True})
    assert told["shown"] == text(left)


@pytest.mark.alone("compares times of one process")
def test_the_look_for_such_names_costs_little_of_an_ordinary_frame(workshop: Path) -> None:
    told = json.loads(run(["node", "names_cost.mjs"], workshop))
    assert told["characters"] > 1_000_000
    assert 0 < told["look"] < MOST * told["whole"], told
