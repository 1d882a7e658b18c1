"""`realtime rules`: whether a file with rules is good, and what they let somebody do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from realtime.access import ruling
from realtime.access.access import tokens_of
from realtime.access.rules_file import RulesFile
from realtime.commands.options import guarded, settings_of
from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.rules.explaining import Let, explained
from realtime.core.access.rules.model import OPERATIONS, Rules
from realtime.core.access.rules.reading import reading
from realtime.core.bson import ejson
from realtime.errors import ConfigurationError, ServiceError

MAX_DOCUMENT = 16 * 1024 * 1024
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group("rules")
def rules() -> None:
    """Rules: check a file, and explain what they let somebody do."""


@rules.command("check")
@_FILE
@guarded
def check(file: Path | None) -> None:
    """Check FILE, or that of REALTIME_RULES: each problem with its line, and exit 2 where there is one.

    Rules that let nothing, as an empty file, are good, and warned of.
    """
    found, path = _rules(file)
    count = sum(len(grants) for grants in found.collections.values())
    click.echo(f"{path}: good, {count} grant{'' if count == 1 else 's'}")
    if found.idle:
        click.echo(f"{path}: warning: {ruling.IDLE}")


@rules.command("explain")
@_FILE
@click.option("--as", "token", default=None, metavar="TOKEN", help="a token of who it is about (default: nobody's)")
@click.option("--collection", required=True, help="the collection")
@click.option(
    "--document", default=None, type=click.Path(path_type=Path), help="a file with a document: is it seen, and how?"
)
@guarded
def explain(file: Path | None, token: str | None, collection: str, document: Path | None) -> None:
    """Say what the rules of FILE, or of REALTIME_RULES, let the bearer of a token do with a collection.

    The token is verified as the service would; without one it is about anonymous.
    """
    found, _ = _rules(file)
    principal = ANONYMOUS if token is None else asyncio.run(_who(token))
    click.echo(f"{principal.sub}, roles: {', '.join(sorted(principal.roles)) or 'none'}, in {collection}:")
    for line in lines(found, principal, collection):
        click.echo(line)
    if document is not None:
        click.echo(f"document: {_seen(found, principal, collection, _document(document))}")


def lines(found: Rules, principal: Principal, collection: str) -> list[str]:
    """What each operation is let do, a line for each grant that lets it."""
    lets = list(explained(found, principal, collection))
    told = []
    for operation in OPERATIONS:
        mine = [let for let in lets if let.operation == operation]
        told += [f"{operation}: {_rows(let)}{_fields(let)}" for let in mine] or [f"{operation}: forbidden"]
    return told


def _rows(let: Let) -> str:
    if let.rows is None:
        return "no document"
    return ejson.encode(let.shown).decode() if let.rows else "every document"


def _fields(let: Let) -> str:
    if let.operation == "read":
        cut = let.grant.cut
        if cut.show is not None:
            return f"; shown: {', '.join(('_id', *cut.show))}"
        return f"; hidden: {', '.join(cut.hide)}" if cut.hide else ""
    if let.operation == "delete":
        return ""
    paths = ", ".join(sorted(let.fields.paths))
    written = "" if let.fields.everything else f"; not written: {paths}" if let.fields.but else f"; written: {paths}"
    return f"{written}; _id by the server" if let.operation == "insert" and let.grant.keys == "server" else written


def _seen(found: Rules, principal: Principal, collection: str, document: dict[str, Any]) -> str:
    vision = reading(found, principal, collection)
    try:
        shown = vision.shown(document)
    except ServiceError as error:
        return error.message
    # What a set has is not asked here; with it more is seen than without, never less.
    others = ", ".join(sorted({asked.collection for asked in vision.sets}))
    if shown is None:
        return f"not seen, unless by what is in {others}" if others else "not seen"
    return ejson.encode(shown).decode() + (f", and perhaps more by what is in {others}" if others else "")


def _rules(file: Path | None) -> tuple[Rules, Path]:
    settings = settings_of({})
    path = file or settings.rules
    if path is None:
        raise ConfigurationError("which rules? Name a FILE, or set REALTIME_RULES")
    return ruling.read(RulesFile(path), frozenset(settings.collections) or None), path


async def _who(token: str) -> Principal:
    authenticator = tokens_of(settings_of({"auth": "jwt"}))
    try:
        return await authenticator.authenticate(token)
    except ServiceError as error:
        raise ConfigurationError(f"--as: {error.message}") from None
    finally:
        await authenticator.close()


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise ConfigurationError(f"--document: {path} cannot be read: {error.strerror}") from None
    try:
        decoded = ejson.decode(data) if len(data) <= MAX_DOCUMENT else None
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise ConfigurationError(f"--document: {path} holds no object in Extended JSON of at most 16 MiB")
    return decoded
