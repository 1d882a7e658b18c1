"""One frozen `Settings`: every option of the command line, and `REALTIME_…` in the environment. Read nowhere else."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from realtime.errors import ConfigurationError

ENV_PREFIX = "REALTIME_"
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""MongoDB's own bound of one document."""

OPTIONS = (
    "mongodb_uri",
    "database",
    "collections",
    "host",
    "port",
    "workers",
    "data_dir",
    "read_only",
    "insecure",
    "allow_sharded",
    "log_level",
)
"""The fields that the command line has an option for; the others are environment variables alone."""

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


class Settings(BaseSettings):
    """What can be set; units are in the names. Out of range: `load` raises one clear line."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    mongodb_uri: SecretStr | None = Field(
        None, description="MongoDB replica set to serve; without it an embedded one is started"
    )
    database: str = Field(
        "realtime", min_length=1, max_length=63, pattern=r'^[^/\\. "$\x00]+$', description="database to serve"
    )
    collections: Names = Field((), description="collections to serve, comma separated; without any, all of them")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="processes that serve the port together, each with its own stream")
    data_dir: Path = Field(default_factory=default_data_dir, description="where the embedded MongoDB keeps its data")
    read_only: bool = Field(False, description="refuse every write")
    insecure: bool = Field(False, description="allow an address other than loopback although nobody is authenticated")
    allow_sharded: bool = Field(False, description="accept a mongos, for which exactness is not promised")
    mongod: Path | None = Field(None, description="mongod binary for the embedded MongoDB")
    allowed_origins: Names = Field(
        (), description="origins besides the service's own whose pages may connect, as https://host, comma separated"
    )
    allowed_hosts: Names = Field(
        (), description="host names under which the service is reached, comma separated; localhost and addresses always"
    )
    epoch: str | None = Field(
        None, pattern=r"^[0-9A-F]{8}$", description="8 upper-case hex digits naming the deployment's history"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="lines for people, or JSON")

    heartbeat_seconds: float = Field(20, ge=0.2, le=300, description="time between heartbeats")
    request_timeout_seconds: float = Field(5, ge=0.5, le=60, description="longest wait for MongoDB in one request")
    grace_seconds: float = Field(
        0, ge=0, le=300, description="time after SIGTERM in which /readyz fails and everything else goes on"
    )
    drain_seconds: float = Field(
        5, ge=0, le=600, description="time after that in which connections are sent away and requests finished"
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

    @field_validator("collections", "allowed_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _loopback_or_insecure(self) -> Settings:
        if not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and nobody is authenticated yet: "
                "listen on 127.0.0.1, or say --insecure (REALTIME_INSECURE=true) where the network protects it"
            )
        return self


def process_environment(**more: str) -> dict[str, str]:
    """The environment of a child process: this one's, and `more`."""
    return {**os.environ, **more}


def load(**given: Any) -> Settings:
    """Settings from the environment, overridden by `given` (None: not given).

    Raises `ConfigurationError` with one line that names option, value and bound.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        raise ConfigurationError(describe(invalid)) from None


def describe(invalid: ValidationError) -> str:
    """The first thing wrong, as one line for an operator."""
    error = invalid.errors(include_url=False)[0]
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    reason = error["msg"].removeprefix("Value error, ")
    shown = "" if name == "mongodb_uri" else f" (got {error['input']!r})"
    option = f"--{name.replace('_', '-')} / " if name in OPTIONS else ""
    return f"{option}{ENV_PREFIX}{name.upper()}: {reason}{shown}"
