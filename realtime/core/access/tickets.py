"""Tickets: what stands in the address of an event stream in place of a token, which a browser cannot send there.

A ticket is an identifier and its signature, and tells nothing of who asks. What was made up is told apart without a
look at anything stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.core.access.principal import Principal
from realtime.core.bson import ejson
from realtime.errors import ForbiddenError, UnauthenticatedError

IDENTIFIER_BYTES = SIGNATURE_BYTES = 16
KEY_BYTES = 32
OPEN_SECONDS = 60.0
"""From when a ticket is given until its stream has to be opened."""
LONGEST_SECONDS = 24 * 3600.0
"""How long it serves whose principal has no end."""
MAX_CLAIMS_BYTES = 64 * 1024
"""Of the claims that are kept for a ticket, as text."""
NOT_TO_A_STREAM = frozenset({"ticket", "position"})
"""Parameters of an address that make no other stream."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """As it is given out; `opens_until` in unix seconds."""

    text: str
    opens_until: float


def signed(identifier: bytes, key: bytes) -> str:
    """The ticket of this identifier."""
    return base64.urlsafe_b64encode(identifier + _signature(identifier, key)).decode().rstrip("=")


def identifier_of(text: str, key: bytes) -> bytes:
    """The identifier of a ticket that this service gave out; `UnauthenticatedError` for any other text."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    identifier, signature = raw[:IDENTIFIER_BYTES], raw[IDENTIFIER_BYTES:]
    if not hmac.compare_digest(_signature(identifier, key), signature):
        raise UnauthenticatedError("this is no ticket: POST /v1/tickets gives one", reason="bad_ticket")
    return identifier


def _signature(identifier: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"ticket" + identifier, hashlib.sha256).digest()[:SIGNATURE_BYTES]


def stream_of(path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The name of the stream at an address, whatever its position and its ticket."""
    told = sorted((name, value) for name, value in parameters if name not in NOT_TO_A_STREAM)
    return hashlib.sha256(json.dumps([path, told]).encode()).hexdigest()


def last_second(principal: Principal, now: float) -> float:
    """Until when a ticket of theirs serves."""
    longest = now + LONGEST_SECONDS
    return longest if principal.expires is None else min(principal.expires, longest)


def told_of(principal: Principal) -> dict[str, Any]:
    """Who asks, as plain values; `ForbiddenError` where their claims cannot be kept.

    Claims go as text, for their names may be any: as JSON, or where that has no word for one (a date, a UUID, an
    ObjectId: an application's claims are its own) as Extended JSON.
    """
    extended = False
    try:
        try:
            claims = json.dumps(dict(principal.claims))
        except (TypeError, ValueError):
            claims, extended = ejson.encode_strictly(dict(principal.claims)).decode(), True
            ejson.decode_frame(claims)
    except (TypeError, ValueError, RecursionError) as error:
        raise ForbiddenError(
            f"who asks has claims that a ticket cannot carry ({error}): give out principals with claims of JSON's types"
        ) from None
    if len(claims.encode()) > MAX_CLAIMS_BYTES:
        raise ForbiddenError(f"who asks has claims of over {MAX_CLAIMS_BYTES} bytes, which a ticket cannot carry")
    return {
        "sub": principal.sub,
        "roles": sorted(principal.roles),
        "claims": claims,
        "extended": extended,
        "until": principal.expires,
        "issued": principal.issued,
        "jti": principal.jti,
        "key": principal.key,
    }


def principal_of(told: Mapping[str, Any]) -> Principal:
    """Back from `told_of`, also as it was before claims could be Extended JSON."""
    return Principal(
        sub=told["sub"],
        roles=frozenset(told["roles"]),
        claims=ejson.decode_frame(told["claims"]) if told.get("extended") else json.loads(told["claims"]),
        expires=told["until"],
        issued=told["issued"],
        jti=told["jti"],
        key=told["key"],
    )
