"""An answer to a request that fits into a frame fits into one, whatever it quotes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from realtime.errors import TOLD, InvalidRequestError
from tests.serving import Service

USUAL = 1 << 20
LONG = "x" * (USUAL // 2 + 20_000)
REFUSED: dict[str, dict[str, Any]] = {
    "a name in a document": {"type": "insert", "collection": "orders", "document": {"a": {f"${LONG}": 1}}},
    "an operator": {"type": "subscribe", "collection": "orders", "filter": {"a": {f"${LONG}": 1}}},
    "an operator of an update": {"type": "update", "collection": "orders", "key": 1, "update": {f"${LONG}": {}}},
    "an expression": {"type": "subscribe", "collection": "orders", "projection": {"a": {f"${LONG}": 1}}},
    "a path": {"type": "subscribe", "collection": "orders", "sort": [[f"{LONG}.", 1]]},
    "a field": {"type": "subscribe", "collection": "orders", LONG: 1},
    "a collection": {"type": "subscribe", "collection": LONG},
    "a type": {"type": LONG},
    "a position": {"type": "ping", "position": LONG},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused_is_answered_within_the_usual_frame(service: Service, fields: dict[str, Any]) -> None:
    """The answer quoted it twice: plain `connect()` ended with 1009, and again after each reconnect."""
    async with connect(service.url.replace("http", "ws") + "/v1/ws") as socket:
        await socket.send(json.dumps({**fields, "id": "long"}))
        while True:
            text = await socket.recv()
            answer = json.loads(text)
            if answer["type"] == "error":
                break
        assert answer["id"] == "long"
        assert answer["retry"] is False
        assert len(text) < 4 * TOLD
        await socket.send(json.dumps({"type": "ping", "id": "p"}))
        while json.loads(await socket.recv())["type"] != "pong":
            pass


def test_a_long_text_is_told_from_its_beginning_and_its_end_and_a_key_whole() -> None:
    error = InvalidRequestError("a" * 9000 + "mend", details={"path": LONG, "key": LONG, "count": 5})
    assert error.message == str(error)
    assert error.message.startswith("aaa")
    assert error.message.endswith("mend")
    assert error.details is not None
    assert [len(str(one)) <= TOLD for one in (error.message, *error.details.values())] == [True, True, False, True]
    assert error.details["key"] == LONG
