"""One connection's protocol state: what each frame leads to, and every refusal that it decides by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.core.connection.session import Fence
from realtime.core.live.events import format_position
from realtime.core.wire import protocol
from tests.core.connection.sessions import WRITES, answer, receive, session, subscribe
from tests.core.examples import EPOCH


def test_welcome_names_session_position_and_limits() -> None:
    assert json.loads(session().welcome(77, 20)) == {
        "type": "welcome",
        "protocol": 1,
        "session": "session-1",
        "position": format_position(EPOCH, 77),
        "heartbeat": 20.0,
        "principal": "anonymous",
        "requires_auth": False,
        "limits": {
            "frame_bytes": 1000,
            "subscriptions": 3,
            "documents": 50,
            "pending_writes": 2,
            "filter_depth": 4,
            "filter_nodes": 20,
        },
    }


def test_ping_waits_for_its_position_or_for_nothing() -> None:
    assert receive(session(), type="ping") == [Fence("x", 0)]
    assert receive(session(), type="ping", position=format_position(EPOCH, 99)) == [Fence("x", 99)]


def test_ping_with_a_position_of_another_deployment_is_invalid_position() -> None:
    refused = answer(receive(session(), type="ping", position=format_position("FFFFFFFF", 1)))
    assert (refused["code"], refused["retry"]) == ("invalid_position", False)


def test_auth_is_refused_while_there_is_no_authentication() -> None:
    assert answer(receive(session(), type="auth", token="t"))["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("text", "code", "request_id"),
    [
        ("{", "malformed_frame", None),
        ("[" * 100_000, "malformed_frame", None),
        ('{"type":"nothing","id":"x"}', "unknown_type", "x"),
        ('{"type":"ping","id":"x","more":1}', "invalid_request", "x"),
        ('{"type":"ping","id":""}', "invalid_request", None),
    ],
)
def test_a_frame_that_cannot_be_parsed_is_answered_and_changes_nothing(
    text: str, code: str, request_id: str | None
) -> None:
    one = session()
    subscribe(one, id="mine")
    refused = answer(one.receive(text))
    assert (refused["code"], refused.get("id")) == (code, request_id)
    assert (one.subscriptions, one.pending_writes) == ({"mine": None}, 0)


def test_every_client_frame_has_a_handler() -> None:
    samples: dict[str, dict[str, Any]] = {
        **{kind: {"collection": "items", **fields} for kind, fields in WRITES.items()},
        "subscribe": {"collection": "items"},
        "unsubscribe": {},
        "auth": {"token": "t"},
        "ping": {},
    }
    assert samples.keys() == protocol.CLIENT_FRAMES.keys()
    assert all(receive(session(), type=kind, **fields) for kind, fields in samples.items())
