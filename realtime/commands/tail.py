"""`realtime tail`: what happens in a collection, or a live query, line by line; and where to go on from."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click

from realtime.client import Client, Event, Status, connect
from realtime.client.client import DEFAULT_URL
from realtime.core.bson.ejson import EjsonError, decode, encode
from realtime.errors import HistoryLostError, ServiceError, UnauthenticatedError

FAILED_EXIT, HISTORY_LOST_EXIT = 1, 3
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 2.0
"""Until an address that says nothing at all is told of."""
OPERATIONS = ("insert", "update", "replace", "delete", "drop", "rename", "dropDatabase")
COLOURS = {"insert": "green", "enter": "green", "update": "yellow", "replace": "yellow", "row": "cyan"}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class JsonObject(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """A JSON object on the command line, Extended JSON included."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        try:
            decoded = decode(value)
        except EjsonError as error:
            self.fail(f'{error}; write it as \'{{"status": "open"}}\'', param, ctx)
        if not isinstance(decoded, dict):
            self.fail("not a JSON object", param, ctx)
        return decoded


class Since(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """A date, or how long ago."""

    name = "DATE|AGO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        ago = re.fullmatch(r"(\d{1,9})([smhd])", value)
        try:
            if ago is not None:
                return dt.datetime.now(dt.UTC) - dt.timedelta(**{UNITS[ago[2]]: int(ago[1])})
            return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a date (2026-05-04T03:02:01Z) nor an age (90s, 5m, 2h, 1d)", param, ctx)


class SortKeys(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """Keys to sort by, as JSON or as names with a minus for descending."""

    name = "KEYS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[tuple[str, int]]:
        if not value.lstrip().startswith(("{", "[")):
            names = [name.strip() for name in value.split(",")]
            return [(name.removeprefix("-"), -1 if name.startswith("-") else 1) for name in names]
        try:
            given = decode(value)
            return [(path, direction) for path, direction in (given.items() if isinstance(given, dict) else given)]
        except (EjsonError, TypeError, ValueError):
            self.fail(f"{value!r} is no sort: write it as -total,name or '[[\"total\", -1]]'", param, ctx)


class Stages(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """A pipeline: a JSON list of stages."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[dict[str, Any]]:
        try:
            decoded = decode(value)
        except EjsonError as error:
            self.fail(f'{error}; write it as \'[{{"$sortByCount": "$status"}}]\'', param, ctx)
        if not isinstance(decoded, list) or not all(isinstance(stage, dict) for stage in decoded):
            self.fail("not a JSON list of stages", param, ctx)
        return decoded


class Last(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """A path, and how long ago its date may be."""

    name = "PATH=AGO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        found = re.fullmatch(r"(.+)=(\d{1,9})([smhd]?)", value)
        if found is None:
            self.fail(f"{value!r} is no path with an age: write it as created_at=15m, or in seconds, at=90", param, ctx)
        age = dt.timedelta(**{UNITS[found[3] or "s"]: int(found[2])})
        return {"path": found[1], "seconds": int(age.total_seconds())}


class Group(JsonObject):
    """A `group`, as JSON or as the names of what to count by."""

    name = "FIELDS|JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if value.lstrip().startswith("{"):
            return super().convert(value, param, ctx)
        return {"by": [name.strip() for name in value.split(",") if name.strip()], "count": True}


class Operations(click.ParamType):  # type: ignore[type-arg]  # reason: generic since click 8.4 only
    """Names of operations, comma separated."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = [name.strip() for name in value.split(",") if name.strip()]
        wrong = [name for name in names if name not in OPERATIONS]
        if wrong or not names:
            self.fail(f"{', '.join(wrong) or 'nothing'}: choose of {', '.join(OPERATIONS)}", param, ctx)
        return names


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for."""

    collection: str
    url: str
    token: str | None
    filter: dict[str, Any] | None
    last: dict[str, Any] | None
    projection: dict[str, Any] | None
    operations: list[str] | None
    since: dt.datetime | None
    position: str | None
    query: bool
    sort: list[tuple[str, int]] | None
    limit: int | None
    group: dict[str, Any] | None
    pipeline: list[dict[str, Any]] | None
    json: bool

    def again(self, position: str) -> str:
        """The command that goes on: events after a position, a query with what is there then.

        It has no token: that is nothing to print.
        """
        words = ["realtime", "tail", self.collection]
        if self.url != DEFAULT_URL:
            words += ["--url", self.url]
        sort = None if self.sort is None else [list(key) for key in self.sort]
        options: dict[str, Any] = {"filter": self.filter, "projection": self.projection, "sort": sort}
        options |= {"group": self.group, "pipeline": self.pipeline}
        for name, value in options.items():
            if value is not None:
                words += [f"--{name}", encode(value).decode()]
        if self.last is not None:
            words += ["--last", f"{self.last['path']}={self.last['seconds']}"]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        if self.operations is not None:
            words += ["--operations", ",".join(self.operations)]
        words += ["--json"] if self.json else []
        return shlex.join([*words, *(["--query"] if self.query else ["--position", position])])


@click.command()
@click.argument("collection")
@click.option("--url", default=DEFAULT_URL, metavar="URL", show_default=True, help="address of the service")
@click.option("--filter", type=JsonObject(), help='only what matches, as for find: \'{"status": "open"}\'')
@click.option(
    "--last", type=Last(), help="with --query: of which the date at PATH is of the last 90s, 5m, 2h, 1d; at=15m"
)
@click.option("--projection", type=JsonObject(), help="fields to show: '{\"status\": 1}'")
@click.option("--operations", type=Operations(), help=f"only these, comma separated: {', '.join(OPERATIONS)}")
@click.option("--since", type=Since(), help="begin in the past: a date, or 90s, 5m, 2h, 1d ago")
@click.option("--position", metavar="POSITION", help="go on after this position, as an interrupted tail printed it")
@click.option("--query", is_flag=True, help="show the documents that match, then how the result changes")
@click.option(
    "--sort", type=SortKeys(), help='with --query: in this order; -total,name or \'[["total", -1], ["name", 1]]\''
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="with --query: the first N, kept true")
@click.option(
    "--group",
    type=Group(),
    help='with --query: rows of groups; status counts, or \'{"by": ["status"], "sum": ["total"]}\'',
)
@click.option(
    "--pipeline",
    type=Stages(),
    help='with --query: what stages make of the documents; \'[{"$sortByCount": "$status"}]\'',
)
@click.option("--json", is_flag=True, help="one JSON object a line; its `resume` is what --position takes")
@click.option("--token", envvar="REALTIME_TOKEN", help="for a service that asks for one [REALTIME_TOKEN]")
def tail(**options: Any) -> None:
    """Print what happens in COLLECTION as it happens; '*' is every collection.

    When the connection is lost it goes on from where it was, without gap or repeat. When interrupted it prints the
    command that goes on from there.

    \b
    Exit codes:
      0    whoever read the output through a pipe has left
      1    the service is not there, or refused
      2    the command line is wrong
      3    --position or --since lies before what MongoDB still has
      130  interrupted by Ctrl-C; 143 by SIGTERM
    """
    wanted = Wanted(**options)
    if wanted.query and (wanted.since or wanted.position or wanted.operations):
        raise click.UsageError("--query shows what is there now: leave out --since, --position and --operations")
    rows = wanted.group is not None or wanted.pipeline is not None
    if not wanted.query and (wanted.sort or wanted.limit or wanted.last or rows):
        raise click.UsageError("--sort, --limit, --last, --group and --pipeline are of a live query: add --query")
    if wanted.since and wanted.position:
        raise click.UsageError("--since and --position both say where to begin: give one of them")
    sys.exit(asyncio.run(Tail(wanted).run()))


class Tail:
    """One run of the command: prints, and knows how far it has come."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.position: Callable[[], str | None] = lambda: wanted.position
        self._tty = sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns
        self._lost = False
        self._signal: signal.Signals | None = None

    async def run(self) -> int:
        """Until it is interrupted or cannot go on; the exit code."""
        self._take_signals()
        looking = asyncio.create_task(self._look())
        try:
            async with connect(self.wanted.url, token=self.wanted.token, connect_timeout=CONNECT_SECONDS) as rt:
                looking.cancel()
                rt.on_status(self._note)
                await (self._query(rt) if self.wanted.query else self._events(rt))
        except asyncio.CancelledError:
            if self._signal is None:
                raise
            self._say_where()
            return 128 + self._signal
        except BrokenPipeError:
            # Whoever read has gone; the interpreter's own last flush must not fail on it either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except HistoryLostError as error:
            oldest = (error.details or {}).get("oldest")
            back = f"--since {oldest.isoformat()}" if isinstance(oldest, dt.datetime) else "a later --since"
            click.echo(f"realtime: {error.message}: begin with {back}, or without either to go on from now", err=True)
            return HISTORY_LOST_EXIT
        except ServiceError as error:
            click.echo(f"realtime: {error.message}", err=True)
            if isinstance(error, UnauthenticatedError):
                click.echo("realtime: give a token or a key that is good now as REALTIME_TOKEN (or --token)", err=True)
                self._say_where()
            return FAILED_EXIT
        finally:
            looking.cancel()
        return 0

    async def _look(self) -> None:
        """Say at once that nobody answers. The client goes on trying, and knows better what is wrong at last."""
        address = urlsplit(self.wanted.url)
        try:
            port = address.port or (443 if address.scheme in {"https", "wss"} else 80)
            async with asyncio.timeout(SILENT_SECONDS):
                _, writer = await asyncio.open_connection(address.hostname or "", port)
        except ValueError:
            return  # no port
        except OSError as error:
            why = str(error) or f"no answer in {SILENT_SECONDS:g} s"
            text = f"nobody answers at {self.wanted.url} yet ({why}): trying for {CONNECT_SECONDS:g} s"
            click.echo(f"realtime: {text}", err=True)
        else:
            writer.close()

    def _take_signals(self) -> None:
        this = asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            self._signal = number
            if this is not None:
                this.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)

    def _say_where(self) -> None:
        position = self.position()
        if position is not None:
            what = "to watch it again" if self.wanted.query else "to go on from here"
            click.echo(f"realtime: {what}: {self.wanted.again(position)}", err=True)

    def _note(self, status: Status) -> None:
        if status.link == "connecting" and not self._lost:
            click.echo(f"realtime: connection lost ({status.reason}); trying again", err=True)
        elif status.link == "connected" and self._lost:
            click.echo("realtime: connected again", err=True)
        self._lost = status.link == "connecting"

    # -------------------------------------------------------------------------------------------------------- lines

    async def _events(self, rt: Client) -> None:
        asked = self.wanted
        events = rt.events(
            asked.collection,
            filter=asked.filter,
            operations=asked.operations,
            projection=asked.projection,
            since=asked.since,
            position=asked.position,
        )
        self.position = lambda: events.position
        async for event in events:
            if asked.json:
                given = {name: getattr(event, name) for name in Event.__slots__}
                told = {name: value for name, value in given.items() if value not in (None, (), False) or name == "key"}
                self._json({**told, "resume": events.position})
            else:
                self._event(event)

    def _event(self, event: Event) -> None:
        when = (
            event.wall_time.astimezone() if isinstance(event.wall_time, dt.datetime) else dt.datetime.now().astimezone()
        )
        place = f"{event.collection}  " if self.wanted.collection == "*" else ""
        paths = [*event.updated, *(f"-{path}" for path in event.removed)]
        shown = event.document if event.document is not None else {"to": event.to} if event.to else None
        text = "(gone since)" if event.partial else "" if shown is None else encode(shown).decode()
        changed = f"{', '.join(paths)}  " if paths else ""
        self._line(when, event.op, f"{place}{encode(event.key).decode()}  {changed}{text}")

    async def _query(self, rt: Client) -> None:
        asked = self.wanted
        view = rt.query(
            asked.collection,
            filter=asked.filter,
            projection=asked.projection,
            sort=asked.sort,
            last=asked.last,
            limit=asked.limit,
            group=asked.group,
            pipeline=asked.pipeline,
        )
        async with view:
            self.position = lambda: view.position
            position = view.position
            for place, document in enumerate(view.documents):
                self._row("row", document.get("_id"), document, position, place if view.ordered else None)
            async for moment in view:
                for change in moment.changes:
                    self._row(change.op, change.key, change.document, moment.position, change.index)

    def _row(self, op: str, key: Any, document: dict[str, Any] | None, position: str | None, index: int | None) -> None:
        """A line; `index` is the place in a window, which people count from 1."""
        if self.wanted.json:
            shown = {} if document is None else {"document": document}
            place = {} if index is None else {"index": index}
            self._json({"op": op, "key": key, **shown, **place, "position": position})
        else:
            text = "" if document is None else encode(document).decode()
            place_text = "" if index is None else f"{index + 1:>3}.  "
            self._line(dt.datetime.now().astimezone(), op, f"{place_text}{encode(key).decode()}  {text}")

    def _json(self, fields: dict[str, Any]) -> None:
        self._print(encode(fields).decode())

    def _line(self, when: dt.datetime, op: str, rest: str) -> None:
        line = f"{when:%H:%M:%S}.{when.microsecond // 1000:03}  {op:<8}  {rest.rstrip()}"
        if self._tty:
            line = line if len(line) <= self._width else line[: self._width - 1] + "…"
            line = f"{line[:14]}{click.style(line[14:22], fg=COLOURS.get(op, 'red'))}{line[22:]}"
        self._print(line)

    def _print(self, line: str) -> None:
        # The client's own printing: click.echo looks at the stream anew for every line.
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
