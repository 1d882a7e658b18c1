"""One frozen `Settings`: every option of the command line, and `REALTIME_…` in the environment. Read nowhere else."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from realtime.errors import ConfigurationError, worded

ENV_PREFIX = "REALTIME_"
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""MongoDB's own bound of one document."""

OPTIONS = (
    "mongodb_uri",
    "database",
    "collections",
    "host",
    "port",
    "admin_port",
    "tls_cert",
    "tls_key",
    "workers",
    "data_dir",
    "read_only",
    "auth",
    "rules",
    "insecure",
    "nats",
    "nats_creds",
    "nats_ca",
    "nats_cert",
    "nats_key",
    "allow_sharded",
    "log_level",
)
"""The fields that the command line has an option for; the others are environment variables alone."""

OTHERS = re.compile(r"TOKEN|TEST_.*")
"""After the prefix: what is read elsewhere, by `realtime tail` and by the tests."""
KUBERNETES = re.compile(
    r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""After the prefix: what every container is given for a Service whose name begins with `realtime`."""
KUBERNETES_PORT = re.compile(r"(?:.+_)?PORT"), re.compile(r"(?:tcp|udp|sctp)://.*")
"""The same, where the value alone tells it from a setting."""

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-fA-F:.]+\]|[^/?#\s@:]+)(?::\d{1,5})?")
VERIFIERS = ("jwt_secret", "jwt_secret_file", "jwt_public_key", "jwks_url")
"""Where the key that tokens are verified by may be; one of them is."""
SECRETS = frozenset({"mongodb_uri", "jwt_secret", "nats"})
"""Whose values are in no message."""

Names = Annotated[tuple[str, ...], NoDecode]


def default_data_dir() -> Path:
    """`~/.local/share/realtime`: where the embedded MongoDB keeps its data unless told otherwise."""
    return Path.home() / ".local" / "share" / "realtime"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _of_kubernetes(name: str, value: str) -> bool:
    """Whether a variable tells of a Service, and is nobody's setting: `REALTIME_PORT=tcp://10.0.0.7:8000`."""
    upper = name.upper()
    if not upper.startswith(ENV_PREFIX):
        return False
    rest, (port, address) = upper.removeprefix(ENV_PREFIX), KUBERNETES_PORT
    return bool(KUBERNETES.fullmatch(rest) or (port.fullmatch(rest) and address.fullmatch(value)))


SHAPES = {
    "database": 'must have none of / \\ . " $, no space and no NUL character',
    "epoch": "must be 8 digits of 0 to 9 and A to F, in upper case",
}
"""What is said of a value that its pattern does not match."""


class Settings(BaseSettings):
    """What can be set; units are in the names. Out of range or unknown: `load` raises one clear line."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    mongodb_uri: SecretStr | None = Field(
        None, description="MongoDB replica set to serve; without it an embedded one is started"
    )
    database: str = Field(
        "realtime", min_length=1, max_length=63, pattern=r'^[^/\\. "$\x00]+$', description="database to serve"
    )
    collections: Names = Field((), description="collections to serve, comma separated; without any, all of them")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="second port, for page, docs, metrics and /v1; the other one then has no more than clients need",
    )
    admin_host: str = Field("127.0.0.1", min_length=1, description="address that the second port listens on")
    tls_cert: Path | None = Field(None, description="certificate chain in PEM, to serve TLS; goes with the key")
    tls_key: Path | None = Field(None, description="private key of the certificate in PEM")
    trusted_proxies: Names = Field(
        (),
        description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma "
        "separated",
    )
    workers: int = Field(1, ge=1, le=64, description="processes that serve the port together, each with its own stream")
    data_dir: Path = Field(default_factory=default_data_dir, description="where the embedded MongoDB keeps its data")
    read_only: bool = Field(False, description="refuse every write")
    auth: Literal["none", "jwt", "keys", "jwt,keys"] = Field(
        "none", description="how it is known who asks: by tokens, by keys, by either; none: everybody is anonymous"
    )
    rules: Path | None = Field(
        None, description="YAML file with the rules: what each role may see and write; none: everybody everything"
    )
    membership_values: int = Field(
        1000, ge=1, le=10_000, description="values that a rule may take from another collection"
    )
    insecure: bool = Field(
        False,
        description="allow an address other than loopback where nobody is authenticated, and NATS there in plain text",
    )
    nats: SecretStr | None = Field(
        None, description="NATS servers with the relay's stream, as tls://nats1:4222, comma separated; none: no relay"
    )
    nats_creds: Path | None = Field(None, description="credentials file of the NATS user, as nsc writes it")
    nats_ca: Path | None = Field(None, description="CA certificates in PEM that NATS is known by; none: the system's")
    nats_cert: Path | None = Field(None, description="client certificate for NATS in PEM; goes with its key")
    nats_key: Path | None = Field(None, description="private key of the client certificate for NATS in PEM")
    nats_replicas: int = Field(1, ge=1, le=5, description="NATS servers that each keep the relay's stream")
    nats_age_seconds: float = Field(
        3600, ge=60, le=7 * 86_400, description="age up to which the relay's stream keeps what it was told"
    )
    nats_bytes: int = Field(
        2 * 1024 * 1024 * 1024, ge=64 * 1024 * 1024, description="bytes that the relay's stream keeps, on each replica"
    )
    allow_sharded: bool = Field(False, description="accept a mongos, for which exactness is not promised")
    mongod: Path | None = Field(None, description="mongod binary for the embedded MongoDB")
    allowed_origins: Names = Field(
        (), description="origins besides the service's own whose pages may connect, as https://host, comma separated"
    )
    allow_credentials: bool = Field(
        False, description="let pages of the allowed origins send cookies, for an application's own sessions"
    )
    allowed_hosts: Names = Field(
        (), description="host names under which the service is reached, comma separated; localhost and addresses always"
    )
    epoch: str | None = Field(
        None, pattern=r"^[0-9A-F]{8}$", description="8 upper-case hex digits naming the deployment's history"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="lines for people, or JSON")

    jwt_secret: SecretStr | None = Field(
        None, description="secret of at least 32 bytes that tokens are signed with, HS256"
    )
    jwt_secret_file: Path | None = Field(None, description="file with that secret, in place of it")
    jwt_public_key: Path | None = Field(
        None, description="PEM file with the public key that verifies tokens: RS256, ES256 or EdDSA, by what it is"
    )
    jwks_url: str | None = Field(None, description="address of the identity provider's JWK Set, https")
    jwks_keep_seconds: float = Field(
        86_400, ge=300, le=30 * 86_400, description="age up to which the last JWK Set is used while its address is away"
    )
    jwt_issuer: str | None = Field(None, min_length=1, description="iss that every token must have")
    jwt_audience: str | None = Field(None, min_length=1, description="aud that every token must have or hold")
    roles_claim: str = Field(
        "roles", min_length=1, description="claim with the roles, dots between the parts of its path"
    )
    recheck_seconds: float = Field(
        60, ge=1, le=86_400, description="time between two questions of the embedding application about a connection"
    )
    audit_log: Path | None = Field(None, description="file for the audit log, JSON lines; - is stderr")

    connections_per_principal: int = Field(1000, ge=1, description="connections one principal may hold")
    connections_per_address: int = Field(10_000, ge=1, description="connections one address may hold")
    connects_per_second: int = Field(500, ge=1, description="connections one address may open in a second")
    unauthenticated_sockets: int = Field(1000, ge=1, description="sockets that have not yet said who they are")
    unauthenticated_per_address: int = Field(100, ge=1, description="of those, sockets of one address")
    frames_per_second: int = Field(1000, ge=1, description="frames one connection may send in a second")
    writes_per_second: int = Field(1000, ge=1, description="documents one principal may write in a second")
    requests_per_second: int = Field(1000, ge=1, description="HTTP requests one principal may send in a second")
    in_flight_bytes: int = Field(
        128 * 1024 * 1024, ge=1024, description="bytes of requests under way that one principal may have"
    )

    heartbeat_seconds: float = Field(20, ge=0.2, le=300, description="time between heartbeats")
    request_timeout_seconds: float = Field(5, ge=0.5, le=60, description="longest wait for MongoDB in one request")
    grace_seconds: float = Field(
        0, ge=0, le=300, description="time after SIGTERM in which /readyz fails and everything else goes on"
    )
    # Longer than a request: one that waits for MongoDB when the drain begins has its answer, also where that is 503.
    drain_seconds: float = Field(
        7, ge=0, le=600, description="time after that in which connections are sent away and requests finished"
    )

    frame_bytes: int = Field(1024 * 1024, ge=4096, le=MAX_DOCUMENT_BYTES, description="largest frame, either way")
    document_bytes: int = Field(
        MAX_DOCUMENT_BYTES, ge=1024, le=MAX_DOCUMENT_BYTES, description="largest body of an HTTP request"
    )
    subscriptions: int = Field(1000, ge=1, le=100_000, description="subscriptions one connection may hold")
    documents: int = Field(10_000, ge=1, le=1_000_000, description="documents a live query may hold")
    group_bytes: int = Field(64 * 1024 * 1024, ge=4096, description="bytes of documents that a live query keeps")
    group_documents: int = Field(100_000, ge=1, description="documents that a live query keeps")
    all_groups_bytes: int = Field(
        512 * 1024 * 1024, ge=4096, description="bytes of documents that all live queries keep together"
    )
    linger_seconds: float = Field(
        30, ge=0, le=3600, description="time that a live query stays ready after its last subscriber"
    )
    pending_writes: int = Field(64, ge=1, le=10_000, description="writes of one connection that may wait")
    outbox_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="bytes that wait for one slow connection")
    filter_depth: int = Field(16, ge=1, le=64, description="nesting of a filter")
    filter_nodes: int = Field(1000, ge=1, le=100_000, description="conditions and list elements of a filter")

    feed_batch_size: int = Field(1000, ge=1, le=10_000, description="change events asked for at once")
    feed_await_ms: int = Field(1000, ge=10, le=1000, description="wait of the change stream for the next event")
    transaction_bytes: int = Field(
        64 * 1024 * 1024, ge=4096, description="bytes held of one transaction until its end is known"
    )
    journal_seconds: float = Field(300, ge=0, description="age of the history kept in memory for resuming")
    journal_bytes: int = Field(64 * 1024 * 1024, ge=0, description="bytes of the history kept in memory")
    catch_up_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="bytes of changes read back from the oplog for those who resume"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment, without what Kubernetes put there."""
        if isinstance(env_settings, EnvSettingsSource):
            given = env_settings.env_vars.items()
            env_settings.env_vars = {name: value for name, value in given if not _of_kubernetes(name, value or "")}
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"there is no setting {name}{_nearest(name, list(cls.model_fields))}")
        return given

    @field_validator("collections", "allowed_origins", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is no origin: https://host or https://host:port, without a path")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"{network!r} is no address and no network such as 10.0.0.0/8") from None
        return value

    @model_validator(mode="after")
    def _two_and_two(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both --tls-cert (REALTIME_TLS_CERT) and --tls-key (REALTIME_TLS_KEY)")
        if (self.nats_cert is None) != (self.nats_key is None):
            raise ValueError("a client certificate for NATS needs both REALTIME_NATS_CERT and REALTIME_NATS_KEY")
        return self

    @model_validator(mode="after")
    def _two_ports(self) -> Settings:
        if self.admin_port and self.admin_port == self.port:
            raise ValueError(f"--admin-port (REALTIME_ADMIN_PORT) is {self.port}, as --port is: choose another one")
        return self

    @field_validator("auth", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        """A key is told from a token by its looks, so the order of the two says nothing."""
        if isinstance(value, str):
            parts = sorted(part.strip() for part in value.split(",") if part.strip())
            return ",".join(parts)
        return value

    @model_validator(mode="after")
    def _loopback_or_insecure(self) -> Settings:
        hosts = [self.host] if self.admin_port is None else [self.host, self.admin_host]
        far = next((host for host in hosts if not is_loopback(host)), None)
        if self.auth == "none" and not self.insecure and far is not None:
            raise ValueError(
                f"host {far} can be reached from other machines and nobody is authenticated: choose how it is "
                "known who asks (--auth / REALTIME_AUTH: jwt, keys or jwt,keys; docs/access.md), listen on 127.0.0.1, "
                "or say --insecure (REALTIME_INSECURE=true) where the network protects it"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_verify(self) -> Settings:
        named = [f"{ENV_PREFIX}{name.upper()}" for name in VERIFIERS if getattr(self, name) is not None]
        if "jwt" in self.authenticators and len(named) != 1:
            found = " and ".join(named) or "none of them"
            raise ValueError(
                "REALTIME_AUTH=jwt wants one key that tokens are verified by: set one of REALTIME_JWT_SECRET, "
                f"REALTIME_JWT_SECRET_FILE, REALTIME_JWT_PUBLIC_KEY and REALTIME_JWKS_URL (set: {found})"
            )
        return self

    @field_validator("jwks_url")
    @classmethod
    def _by_https(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if not parts.hostname or parts.scheme not in {"https", "http"}:
            raise ValueError("must be an address, as https://login.example/.well-known/jwks.json")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must begin with https://: by http anybody on the way could hand out keys")
        return value

    @property
    def authenticators(self) -> frozenset[str]:
        """The ways by which it is known who asks; none where everybody is anonymous."""
        return frozenset(self.auth.split(",")) - {"none"}


class RelaySettings(Settings):
    """Those of a relay, which serves nobody: how others are served is no matter there, in an environment of both.

    Its second port takes nothing and shows no document, so it may listen wherever it is asked.
    """

    @model_validator(mode="after")
    def _two_ports(self) -> RelaySettings:
        return self

    @model_validator(mode="after")
    def _loopback_or_insecure(self) -> RelaySettings:
        return self

    @model_validator(mode="after")
    def _one_way_to_verify(self) -> RelaySettings:
        return self


def _nearest(name: str, known: list[str]) -> str:
    bare = {one.removeprefix(ENV_PREFIX): one for one in known}
    found = difflib.get_close_matches(name.removeprefix(ENV_PREFIX), bare, n=1)
    return f" (did you mean {bare[found[0]]}?)" if found else ""


def _strays() -> list[str]:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    return [
        name
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
        and OTHERS.fullmatch(name.upper().removeprefix(ENV_PREFIX)) is None
        and not _of_kubernetes(name, value)
    ]


def stray_variables() -> str | None:
    """One line about the variables that look like settings and are none, each with the nearest name; or None."""
    known = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]
    told = [f"{name}{_nearest(name.upper(), known)}" for name in _strays()]
    if not told:
        return None
    verb = "is no setting and does" if len(told) == 1 else "are no settings and do"
    return f"{', '.join(told)} {verb} nothing; `realtime serve --help` and docs/settings.md have those there are"


def process_environment(**more: str) -> dict[str, str]:
    """The environment of a child process: this one's, and `more`. What is no setting was told here, and stays here."""
    strays = set(_strays())
    return {**{name: value for name, value in os.environ.items() if name not in strays}, **more}


def load(kind: type[Settings] = Settings, /, **given: Any) -> Settings:
    """Settings from the environment, overridden by `given` (None: not given); for a relay of the kind `RelaySettings`.

    Raises `ConfigurationError` with one line that names option, value and bound.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        raise ConfigurationError(describe(invalid)) from None


def describe(invalid: ValidationError) -> str:
    """The first thing wrong, as one line for an operator."""
    error = invalid.errors(include_url=False)[0]
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    reason = SHAPES[name] if error["type"] == "string_pattern_mismatch" else worded(error)
    shown = "" if name in SECRETS else f" (got {error['input']!r})"
    option = f"--{name.replace('_', '-')} / " if name in OPTIONS else ""
    return f"{option}{ENV_PREFIX}{name.upper()}: {reason}{shown}"
