"""JSON Web Tokens before they are verified, and what their claims say after. Pure; signatures are checked elsewhere.

Sources: RFC 7515 (compact serialization, `crit`), RFC 7519 (claims), RFC 8725 (current practices).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from realtime.core.access.principal import MAX_TOKEN_BYTES, Principal
from realtime.errors import UnauthenticatedError

LEEWAY_SECONDS = 5.0
MAX_DEPTH = 16
MAX_NAME, MAX_ROLES = 256, 100
"""Characters of a `sub`, a `jti`, a `kid` and a role; roles of one principal."""
TYPES = frozenset({"jwt", "at+jwt"})
"""What the header of an access token may say of its type: nothing, or one of these (RFC 7519, 5.1; RFC 9068, 2.1)."""
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of its signature. Nothing of it is to be believed: it only finds the key."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class Demands:
    """What a token must be for, and where its roles are: the path of a claim, or a name with dots in it."""

    issuer: str | None = None
    audience: str | None = None
    roles_claim: str = "roles"


def refused(reason: str, message: str) -> UnauthenticatedError:
    """A token that nobody is let in by."""
    return UnauthenticatedError(message, reason=reason)


def check_size(token: str) -> None:
    """Refuse what is too long to be looked into, or no ASCII."""
    if len(token) > MAX_TOKEN_BYTES:
        raise refused("too_large", f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if not token.isascii():
        raise refused("malformed", "the token is not one: it has characters that are not ASCII")


def header_of(token: str) -> Header:
    """The header of a token whose size was checked. `UnauthenticatedError` where it is no JWT at all."""
    if _SHAPE.fullmatch(token) is None:
        raise refused("malformed", "the token is no JWT: three parts of base64url, with dots between them")
    head, payload, _ = token.split(".")
    fields = _object(head, "header")
    _object(payload, "payload")
    algorithm, kid = fields.get("alg"), fields.get("kid")
    if not isinstance(algorithm, str):
        raise refused("malformed", "the token's header has no alg")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_NAME):
        raise refused("malformed", f"the token's kid is no text of at most {MAX_NAME} characters")
    _check_type(fields.get("typ"))
    if "crit" in fields or "b64" in fields:
        raise refused("malformed", "the token has a header that must be understood and is not (crit)")
    return Header(algorithm, kid)


def _check_type(said: Any) -> None:
    """RFC 8725, 3.11: a token that says what it is for, as `logout+jwt` and `dpop+jwt` do, is for nothing else."""
    if said is None:
        return
    if not isinstance(said, str):
        raise refused("malformed", "the token's typ is no text")
    if said.lower().removeprefix("application/") not in TYPES:
        raise refused("wrong_type", "the token is of another kind (typ): access tokens are JWT or at+jwt")


def principal_of(payload: bytes, demands: Demands, now: float) -> Principal:
    """Who a verified token says that its bearer is. `now` is in unix seconds. `UnauthenticatedError` for what is over.

    `sub` and `exp` are required. `iat` may not be in the future: a token that were issued then would outlive the
    revocation of its `sub`.
    """
    claims = _loaded(payload, "payload")
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    not_before = _seconds(claims, "nbf")
    if expires is None:
        raise refused("bad_claims", "the token has no exp: one that never ends is not taken")
    if now >= expires + LEEWAY_SECONDS:
        raise refused("expired", "the token has expired")
    if max(not_before or 0.0, issued or 0.0) > now + LEEWAY_SECONDS:
        raise refused("not_yet_valid", "the token is not valid yet (nbf or iat)")
    if demands.issuer is not None and claims.get("iss") != demands.issuer:
        raise refused("wrong_issuer", "the token is of another issuer (iss)")
    _check_audience(claims.get("aud"), demands.audience)
    sub = _name(claims, "sub")
    if sub is None:
        raise refused("bad_claims", "the token has no sub")
    return Principal(
        sub,
        _roles(claims, demands.roles_claim),
        MappingProxyType(claims),
        # Whoever was let in within the leeway is not sent away before it ends.
        expires=expires if expires > now else expires + LEEWAY_SECONDS,
        issued=issued,
        jti=_name(claims, "jti"),
    )


def _check_audience(said: Any, wanted: str | None) -> None:
    """RFC 7519, 4.1.3: who is not named in an `aud` that is there must refuse the token."""
    named = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    if said is not None and (wanted is None or wanted not in named):
        mend = "" if wanted is not None else ": set REALTIME_JWT_AUDIENCE to it if it is meant for this service"
        raise refused("wrong_audience", f"the token is for another audience (aud){mend}")
    if wanted is not None and said is None:
        raise refused("wrong_audience", "the token names no audience (aud)")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise refused("bad_claims", f"the token's {name} is no number of seconds since 1970")
    return float(value)


def _name(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise refused("bad_claims", f"the token's {name} is no text of 1 to {MAX_NAME} characters")
    return value


def _roles(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    found: Any = claims
    if path in claims:
        # Claims that are named by an address have dots in their names.
        found = claims[path]
    else:
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return frozenset()
    # OAuth 2 has them as one text with blanks between (RFC 6749, 3.3).
    named = found.split() if isinstance(found, str) else found
    if not isinstance(named, list) or len(named) > MAX_ROLES:
        raise refused("bad_claims", f"the token's {path} is no list of at most {MAX_ROLES} roles")
    if not all(isinstance(one, str) and 1 <= len(one) <= MAX_NAME for one in named):
        raise refused("bad_claims", f"the token's {path} holds something that is no role")
    return frozenset(named)


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        text = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refused("malformed", f"the token's {what} is no base64url") from None
    return _loaded(text, what)


def _loaded(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise refused("malformed", f"the token's {what} is no JSON") from None
    if not isinstance(value, dict):
        raise refused("malformed", f"the token's {what} is no JSON object")
    if _deeper(value, MAX_DEPTH):
        raise refused("malformed", f"the token's {what} is nested deeper than {MAX_DEPTH}")
    return value


def _deeper(value: Any, most: int) -> bool:
    """Whether objects and lists are nested deeper; looks at one level more than that at most."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
