"""AsyncAPI 3 for the WebSocket, made from the frames' models (https://www.asyncapi.com/docs/reference/specification)."""

from __future__ import annotations

from typing import Any

from realtime import __version__
from realtime.core.connection.cutting import LEAST_FRAME
from realtime.core.wire.closing import CLOSINGS
from realtime.core.wire.protocol import CLIENT_FRAMES, PROTOCOL_VERSION
from realtime.core.wire.schema import frame_schemas, server_frames
from realtime.errors import every_kind
from realtime.web.http.examples import FRAMES

SOCKET = "/v1/ws"
_CHANNEL = {"$ref": "#/channels/socket"}
_ANSWERS = {
    "subscribe": ["subscribed", "error"],
    "unsubscribe": ["unsubscribed", "error"],
    "insert": ["result", "error"],
    "replace": ["result", "error"],
    "update": ["result", "error"],
    "delete": ["result", "error"],
    "auth": ["authenticated", "error"],
    "ping": ["pong", "error"],
}
"""What answers a client's frame, under the same `id`."""

_MAX_FRAME = {
    "type": "integer",
    "minimum": LEAST_FRAME,
    "description": "Bytes of the largest frame that the client takes; an entry beyond it ends its subscription.",
}

_SECURITY: dict[str, dict[str, str]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token or a key, in the handshake's header."},
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": "`realtime.v1, bearer.` and the token as base64url, for pages, which can set no header.",
    },
}


def asyncapi(host: str, pathname: str, *, secure: bool) -> dict[str, Any]:
    """The document; `pathname` is the prefix under which the service is reached, "" or "/live"."""
    kinds = {**CLIENT_FRAMES, **server_frames()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "realtime",
            "version": __version__,
            "description": "Live MongoDB queries over a WebSocket: one JSON object in each text frame. "
            "`x-error-codes` and `x-close-codes` list how it says no.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": host,
                "pathname": pathname,
                "protocol": "wss" if secure else "ws",
                # Where the service asks who its clients are; an `auth` frame serves as well.
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
            }
        },
        "channels": {
            "socket": {
                "address": SOCKET,
                "description": f"The wire protocol, version {PROTOCOL_VERSION}.",
                "servers": [{"$ref": "#/servers/this"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in kinds},
                "bindings": {"ws": {"query": {"type": "object", "properties": {"max_frame": _MAX_FRAME}}}},
            }
        },
        "operations": _operations(),
        "components": {
            "messages": {name: _message(name, kind) for name, kind in kinds.items()},
            "schemas": frame_schemas("#/components/schemas/{model}"),
            "securitySchemes": _SECURITY,
        },
        "x-error-codes": {
            kind.code: {"http": kind.status, "retry": kind.retry, "meaning": _line(kind)} for kind in every_kind()
        },
        "x-close-codes": {
            str(code): {"meaning": meaning, "retry": retry} for code, (meaning, retry) in CLOSINGS.items()
        },
    }


def _operations() -> dict[str, Any]:
    """As the service sees them: it receives the frames of clients, and sends its own."""
    sent = server_frames()
    receive = {
        f"receive_{name}": {
            "action": "receive",
            "channel": _CHANNEL,
            "summary": _line(CLIENT_FRAMES[name]),
            "messages": _messages([name]),
            "reply": {"channel": _CHANNEL, "messages": _messages(_ANSWERS[name])},
        }
        for name in CLIENT_FRAMES
    }
    send = {
        f"send_{name}": {
            "action": "send",
            "channel": _CHANNEL,
            "summary": _line(sent[name]),
            "messages": _messages([name]),
        }
        for name in sent
    }
    return {**receive, **send}


def _message(name: str, kind: type) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": _line(kind),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": [{"payload": example} for example in FRAMES[name]],
    }


def _messages(names: list[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/socket/messages/{name}"} for name in names]


def _line(kind: type) -> str:
    """The first sentence of a docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]
