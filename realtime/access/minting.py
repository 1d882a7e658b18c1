"""Tokens and keys made here: for trying things out, and for programs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
import orjson

from realtime.access.access import demands_of, key_of
from realtime.core.access.keys import SECRET_BYTES, made
from realtime.core.access.tokens import check_size, principal_of
from realtime.errors import ConfigurationError, UnauthenticatedError
from realtime.settings import Settings

_RESERVED = frozenset({"sub", "exp", "iat", "nbf", "iss", "aud", "jti"})


def new_key() -> str:
    """A new key for a program; it is shown once and stored as a hash."""
    return made(secrets.token_bytes(SECRET_BYTES))


def new_token(
    settings: Settings, *, sub: str, roles: Sequence[str], claims: Mapping[str, Any], now: float, seconds: float
) -> str:
    """A token that this service takes, signed with the configured secret. `ConfigurationError` where there is none."""
    if settings.jwt_secret is None and settings.jwt_secret_file is None:
        raise ConfigurationError(
            "a token is signed with REALTIME_JWT_SECRET or REALTIME_JWT_SECRET_FILE, and neither is set: with a public "
            "key or a key set tokens come from the identity provider"
        )
    if wrong := sorted(_RESERVED & claims.keys()):
        raise ConfigurationError(f"--claims: {wrong[0]} is set by an option or by the settings")
    key = key_of(settings)
    fields: dict[str, Any] = {**claims, "sub": sub, "iat": int(now), "exp": int(now + seconds)}
    fields["jti"] = secrets.token_hex(8)
    if settings.jwt_issuer is not None:
        fields["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        fields["aud"] = settings.jwt_audience
    _put(fields, settings.roles_claim.split("."), sorted(roles))
    token = jwt.encode(fields, key.material if key is not None else b"", algorithm="HS256")
    try:
        # Nothing is handed out that would be refused.
        check_size(token)
        principal_of(orjson.dumps(fields), demands_of(settings), now)
    except UnauthenticatedError as error:
        raise ConfigurationError(f"no such token would be taken: {error.message}") from None
    return token


def _put(fields: dict[str, Any], path: Sequence[str], roles: list[str]) -> None:
    """Roles where REALTIME_ROLES_CLAIM has them."""
    if not roles:
        return
    for part in path[:-1]:
        inner = fields.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"--claims: {part} is no object, and the roles are in it (REALTIME_ROLES_CLAIM)")
        fields = inner
    fields[path[-1]] = roles
