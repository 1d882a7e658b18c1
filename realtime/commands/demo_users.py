"""Two users of `realtime demo --with-users`: a service that asks who it is, and a link to its page for each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from realtime.access.minting import new_token
from realtime.commands.options import settings_of
from realtime.errors import ConfigurationError
from realtime.settings import VERIFIERS, Settings

USERS = {"ann": ("admin",), "bob": ("viewer",)}
"""Their roles, by who they are."""
ROLES_DO_NOTHING = "roles are shown and decide nothing yet: both users see and write everything"
"""Said below the links, or somebody takes `viewer` for a promise."""
SECONDS = 12 * 3600.0
"""How long their tokens are good."""
_SECRET_BYTES = 32


def settings_with_users(options: dict[str, Any]) -> Settings:
    """The settings with tokens asked for. Where no key is configured it is a secret of this run, told to nobody."""
    bare = settings_of({**options, "auth": "none", "insecure": True})
    configured = any(getattr(bare, name) is not None for name in VERIFIERS)
    secret = {} if configured else {"jwt_secret": secrets.token_urlsafe(_SECRET_BYTES)}
    asked = settings_of({**options, **secret, "insecure": True}).auth
    settings = settings_of({**options, **secret, "auth": "jwt" if asked == "none" else asked})
    if "jwt" not in settings.authenticators:
        raise ConfigurationError("--with-users makes tokens: leave out --auth, or let it have jwt (jwt or jwt,keys)")
    # What keeps them from being made is said now, and not when everything runs.
    list(links(settings, ""))
    return settings


def links(settings: Settings, address: str) -> Iterator[str]:
    """A line for each user. The token is in the fragment, which no browser sends, and which the page takes out."""
    for sub, roles in USERS.items():
        token = new_token(settings, sub=sub, roles=roles, claims={}, now=time.time(), seconds=SECONDS)
        yield f"sign in as {sub} ({', '.join(roles)}): {address}#token={quote(token)}"
