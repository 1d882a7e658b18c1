"""What a connection makes of a write: what is started, and every refusal before MongoDB is asked."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.connection.session import Limits, StartWrite
from realtime.core.mql.filters import Bounds
from tests.core.connection.sessions import WRITES, answer, receive, session


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_is_started(kind: str) -> None:
    one = session()
    (effect,) = receive(one, type=kind, collection="items", **WRITES[kind])
    assert isinstance(effect, StartWrite)
    assert effect.request.type == kind
    assert one.pending_writes == 1


@pytest.mark.parametrize("kind", WRITES)
def test_a_read_only_service_forbids_every_write(kind: str) -> None:
    limits = Limits(1000, 3, 50, 2, Bounds(), read_only=True)
    one = session(limits)
    assert answer(receive(one, type=kind, collection="items", **WRITES[kind]))["code"] == "forbidden"
    assert one.pending_writes == 0


def test_more_writes_than_may_wait_are_rate_limited_until_one_is_answered() -> None:
    one = session()
    for _ in range(2):
        receive(one, type="delete", collection="items", key=1)
    refused = answer(receive(one, type="delete", collection="items", key=1))
    assert (refused["code"], refused["retry"], refused["retry_after"]) == ("rate_limited", True, 1.0)
    one.write_ended()
    assert isinstance(receive(one, type="delete", collection="items", key=1)[0], StartWrite)


WRITE_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the service's own collection": (
        {"type": "delete", "collection": "realtime_x", "key": 1},
        "unsupported_collection",
    ),
    "an unknown operator in where": ({"type": "delete", "key": 1, "where": {"$where": "1"}}, "unsupported_operator"),
    "an invalid where": ({"type": "update", "key": 1, "update": {"$set": {}}, "where": {"$or": []}}, "invalid_filter"),
    "a where over the depth": (
        {"type": "delete", "key": 1, "where": {"a": {"$not": {"$not": {"$not": {"$not": {"$not": {"$eq": 1}}}}}}}},
        "invalid_filter",
    ),
    "operators in a document": ({"type": "insert", "document": {"a": {"$gt": 1}}}, "invalid_request"),
    "operators in a replacement": ({"type": "replace", "key": 1, "document": {"$set": {}}}, "invalid_request"),
    "an update without operators": ({"type": "update", "key": 1, "update": {"a": 1}}, "invalid_update"),
    "an unknown update operator": ({"type": "update", "key": 1, "update": {"$x": {}}}, "unsupported_operator"),
    "another key in the replacement": ({"type": "replace", "key": 1, "document": {"_id": 2}}, "invalid_request"),
    "a key of another type in the replacement": (
        {"type": "replace", "key": 1, "document": {"_id": "1"}},
        "invalid_request",
    ),
}


@pytest.mark.parametrize(("fields", "code"), WRITE_REFUSED.values(), ids=WRITE_REFUSED.keys())
def test_a_write_that_cannot_be_carried_out_is_refused_before_mongodb_is_asked(
    fields: dict[str, Any], code: str
) -> None:
    one = session()
    refused = answer(receive(one, **{"collection": "items", **fields}))
    assert (refused["id"], refused["code"]) == ("x", code)
    assert one.pending_writes == 0
