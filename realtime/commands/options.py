"""Options of commands, made from the settings; and what a command makes of them."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import click

from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.settings import ENV_PREFIX, OPTIONS, Settings, load, stray_variables

CONFIGURATION_EXIT = 2

if TYPE_CHECKING:
    _Spans = click.ParamType[float]
else:
    _Spans = click.ParamType  # older ones cannot be said what they are of


RELAYS = {
    "mongodb_uri": "MongoDB replica set whose changes are published",
    "database": "database whose changes are published",
    "collections": "collections to publish, comma separated; without any, all of them",
    "admin_port": "port for /healthz, /readyz and /metrics; none: it listens nowhere",
    "insecure": "allow NATS beyond this machine in plain text, or as nobody",
}
"""What counts for a relay as well and means something else there than where clients are served."""


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `Settings`, with their descriptions, bounds and environment variables as help."""
    return _options(command, OPTIONS)


def relay_options(command: Callable[..., None]) -> Callable[..., None]:
    """Those that count for a relay, which serves nobody."""
    also = ("allow_sharded", "log_level")
    return _options(command, [name for name in OPTIONS if name.startswith("nats") or name in {*RELAYS, *also}], RELAYS)


def nats_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where NATS is and as whom it is asked, for what only asks."""
    return _options(command, [name for name in OPTIONS if name.startswith("nats") or name == "insecure"])


def _options(
    command: Callable[..., None], names: Sequence[str], texts: Mapping[str, str] = MappingProxyType({})
) -> Callable[..., None]:
    """`texts`: said in place of a field's own description."""
    for name in reversed(names):
        field = Settings.model_fields[name]
        flags = [f"--{name.replace('_', '-')}"]
        if name == "mongodb_uri":
            flags.append("--uri")  # as the commands have it that only ask
        text = f"{texts.get(name, field.description)} [{ENV_PREFIX}{name.upper()}]"
        if field.annotation is bool:
            option = click.option(*flags, name, is_flag=True, default=None, help=text)
        else:
            # None, an empty list and what is made on the spot are said by the description, where they are to be.
            named = field.default_factory is None and (field.default or field.default == 0)
            shown = f" (default {field.default})" if named else ""
            metavar = name.split("_")[-1].upper()
            option = click.option(*flags, name, default=None, metavar=metavar, help=text + shown)
        command = option(command)
    return command


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """A configuration that cannot work: one clear line, exit 2."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
        except ConfigurationError as error:
            click.echo(f"realtime: {error}", err=True)
            sys.exit(CONFIGURATION_EXIT)

    return run


def mongodb_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which MongoDB, for what only asks or changes it."""
    database = f"database [{ENV_PREFIX}DATABASE]"
    uri = f"MongoDB replica set [{ENV_PREFIX}MONGODB_URI]"
    option = click.option("--uri", "--mongodb-uri", "mongodb_uri", default=None, metavar="URI", help=uri)
    return option(click.option("--database", default=None, metavar="DATABASE", help=database)(command))


def named_mongodb(options: dict[str, Any], kind: type[Settings] = Settings) -> tuple[Settings, str]:
    """Settings and URI for what serves nobody; `ConfigurationError` where no MongoDB is named."""
    settings = settings_of(options, kind)
    if (stray := stray_variables()) is not None:
        click.echo(f"realtime: {stray}", err=True)
    if settings.mongodb_uri is None:
        raise ConfigurationError(
            "which MongoDB? Name it with --uri URI or REALTIME_MONGODB_URI "
            "(`realtime serve` says the address of an embedded one in its log)"
        )
    return settings, settings.mongodb_uri.get_secret_value()


def settings_of(options: dict[str, Any], kind: type[Settings] = Settings) -> Settings:
    """The settings by options and environment."""
    settings = load(kind, **options)
    uri = settings.mongodb_uri
    named = clients.database_in(uri.get_secret_value()) if uri is not None else None
    if named and "database" not in settings.model_fields_set:
        # The URI names its database; the option, where given, wins.
        settings = load(kind, **{**options, "database": named})
    return settings


class Seconds(_Spans):
    """A time span as people write it: `90s`, `15m`, `1h`, `30d`; gives seconds."""

    name = "span"
    _units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    _most = 100 * 365 * 86_400

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds; a click error that shows how to write it."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        seconds = int(found[1]) * self._units[found[2]] if found is not None else 0
        if not 0 < seconds <= self._most:
            self.fail(
                f"{value!r} is no span of time: write it as 90s, 15m, 1h or 30d, up to a hundred years", param, ctx
            )
        return float(seconds)
