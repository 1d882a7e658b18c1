"""Who is let in, put together from the settings: authenticators, revocations, limits and the audit log of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from realtime.access.audit import AuditLog
from realtime.access.chain import Chain, Closable
from realtime.access.jwks import KeySet
from realtime.access.jwts import JwtAuthenticator, Keys, OneKey
from realtime.access.keyring import KeyAuthenticator, KeyStore
from realtime.access.revocations import FollowedRevocations
from realtime.access.verifying import VerifyingKey, of_pem_file, of_secret, of_secret_file
from realtime.core.access.limits import Allowed, Limiter
from realtime.core.access.tokens import Demands
from realtime.errors import ConfigurationError
from realtime.hub.hub import Hub
from realtime.settings import Settings


class Access:
    """What the connections ask. `authenticator` and `revocations` are None where nobody is asked who they are."""

    def __init__(self, settings: Settings, *, own: bool = False) -> None:
        """Look at keys and files. `own`: the embedding application says who asks. `ConfigurationError` says the mend.

        Nothing runs before `running`.
        """
        self._asks = own or bool(settings.authenticators)
        self._keys = _keys(settings) if "jwt" in settings.authenticators else None
        self._jwt = None if self._keys is None else JwtAuthenticator(self._keys, demands_of(settings))
        self._takes_keys = "keys" in settings.authenticators
        self.limiter = Limiter(allowed(settings))
        self.audit = AuditLog(settings.audit_log)
        self.authenticator: Chain | None = None
        self.revocations: FollowedRevocations | None = None

    @property
    def follows_keys(self) -> bool:
        """Whether keys are fetched from an address."""
        return isinstance(self._keys, KeySet)

    @property
    def keys_age(self) -> float | None:
        """Seconds since they were fetched; None: they were not."""
        return self._keys.age if isinstance(self._keys, KeySet) else None

    @asynccontextmanager
    async def running(self, hub: Hub, keys: KeyStore, fresh: Callable[[], bool]) -> AsyncIterator[None]:
        """Revocations are followed and the audit log is open until the block ends.

        `fresh`: whether the change stream, and so a revocation, is being heard as of now.
        """
        try:
            self.audit.begin()
        except OSError as error:
            raise ConfigurationError(
                f"REALTIME_AUDIT_LOG cannot be opened ({error.strerror}: {error.filename}): name a file in a directory "
                "that the service may write to, or - for stderr"
            ) from None
        try:
            if self._asks:
                self._begin(hub, keys, fresh)
            yield
        finally:
            if self.revocations is not None:
                self.revocations.close()
            if self.authenticator is not None:
                await self.authenticator.close()
            self.audit.close()

    def _begin(self, hub: Hub, keys: KeyStore, fresh: Callable[[], bool]) -> None:
        self.revocations = FollowedRevocations(hub, fresh)
        self.revocations.begin()
        ways: dict[str, Closable] = {}
        if self._jwt is not None:
            self._jwt.begin()
            ways["jwt"] = self._jwt
        if self._takes_keys:
            ways["keys"] = KeyAuthenticator(keys)
        if ways:
            self.authenticator = Chain(ways, self.revocations)


def allowed(settings: Settings) -> Allowed:
    """The limits of the settings."""
    return Allowed(
        connections_per_principal=settings.connections_per_principal,
        connections_per_address=settings.connections_per_address,
        connects_per_second=settings.connects_per_second,
        unauthenticated_sockets=settings.unauthenticated_sockets,
        unauthenticated_per_address=settings.unauthenticated_per_address,
        frames_per_second=settings.frames_per_second,
        writes_per_second=settings.writes_per_second,
        requests_per_second=settings.requests_per_second,
        in_flight_bytes=settings.in_flight_bytes,
    )


def key_of(settings: Settings) -> VerifyingKey | None:
    """The one key that is configured; None where they are at an address. `ConfigurationError` for a bad one."""
    if settings.jwt_secret is not None:
        return of_secret(settings.jwt_secret.get_secret_value())
    if settings.jwt_secret_file is not None:
        return of_secret_file(settings.jwt_secret_file)
    return None if settings.jwt_public_key is None else of_pem_file(settings.jwt_public_key)


def demands_of(settings: Settings) -> Demands:
    """What every token must be for."""
    return Demands(settings.jwt_issuer, settings.jwt_audience, settings.roles_claim)


def tokens_of(settings: Settings) -> JwtAuthenticator:
    """What verifies tokens as a service of these settings does, by itself. Revocations are not asked."""
    return JwtAuthenticator(_keys(settings), demands_of(settings))


def _keys(settings: Settings) -> Keys:
    key = key_of(settings)
    return OneKey(key) if key is not None else KeySet(settings.jwks_url or "", keep_seconds=settings.jwks_keep_seconds)
