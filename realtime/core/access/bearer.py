"""How a token comes: in `Authorization`, or as a subprotocol of a WebSocket. Never in an address.

A browser lets a page set no header of a handshake, but subprotocols: `realtime.v1, bearer.<base64url of the token>`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from realtime.errors import UnauthenticatedError

SUBPROTOCOL = "realtime.v1"
PREFIX = "bearer."
MAX_HEADER = 16 * 1024
"""Characters of a token as it comes, before it is looked at; what takes tokens has its own bound below that."""
_TOKEN = re.compile(r"[\x21-\x7e]+")


def carries_ours(authorization: Sequence[str], subprotocols: Sequence[str]) -> bool:
    """Whether a request shows something that means to be a token, by either way; it may be several, or none in fact."""
    return any(_scheme(value) == "bearer" for value in authorization) or any(
        one.startswith(PREFIX) for one in subprotocols
    )


def token_of(authorization: Sequence[str], subprotocols: Sequence[str] = ()) -> str | None:
    """The one token that a request carries, or None. `UnauthenticatedError` where it cannot be told which, or what.

    `authorization` are the values of the header of that name. A scheme other than Bearer carries none of ours.
    """
    offered = [one for one in subprotocols if one.startswith(PREFIX)]
    carried = [value for value in authorization if _scheme(value) == "bearer"]
    if len(authorization) > 1 or len(offered) > 1 or (offered and carried):
        raise UnauthenticatedError("one token: this request carries several", reason="several_tokens")
    if carried:
        return checked(carried[0].partition(" ")[2].strip(" "))
    if authorization and not offered:
        raise UnauthenticatedError(
            "Authorization: say Bearer and a token; this is another scheme", reason="another_scheme"
        )
    return checked(_decoded(offered[0].removeprefix(PREFIX))) if offered else None


def _scheme(value: str) -> str:
    return value.partition(" ")[0].lower()


def checked(token: str) -> str:
    """A token that may be looked at: short enough, and of characters that tokens are made of."""
    if len(token) > MAX_HEADER:
        raise UnauthenticatedError(f"the token is longer than {MAX_HEADER} characters", reason="too_large")
    if _TOKEN.fullmatch(token) is None:
        raise UnauthenticatedError("the token is empty, or has characters that none has", reason="malformed")
    return token


def _decoded(text: str) -> str:
    """What a subprotocol says, which has to be base64url, with or without its padding."""
    if len(text) > 2 * MAX_HEADER:
        raise UnauthenticatedError(f"the token is longer than {MAX_HEADER} characters", reason="too_large")
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars="-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise UnauthenticatedError(
            "the subprotocol behind `bearer.` is not the base64url of a token", reason="malformed"
        ) from None


def answered(subprotocols: Sequence[str]) -> str | None:
    """The subprotocol to answer with, which never carries a token."""
    return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None
