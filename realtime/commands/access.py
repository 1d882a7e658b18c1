"""`realtime token`, `key` and `revoke`: who may come in, and who no longer."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any

import click

from realtime.access.audit import AuditLog, Entry
from realtime.access.minting import new_key, new_token
from realtime.commands.options import Seconds, guarded, mongodb_options, named_mongodb, settings_of
from realtime.core.access.keys import MAX_KEY_NAME, KeyRecord, hashed
from realtime.core.access.principal import MAX_TOKEN_BYTES
from realtime.core.access.revoked import Revocation, revocation_of
from realtime.core.access.tokens import MAX_NAME
from realtime.errors import ConfigurationError, NotFoundError, ServiceError
from realtime.mongo import client as clients
from realtime.mongo.access import MongoKeys, MongoRevocations, known
from realtime.mongo.client import Database
from realtime.mongo.faults import Gate

_SECONDS = 5.0
_ANOTHER = "If it serves another database, name that with --database NAME or REALTIME_DATABASE"
SPAN = Seconds()


@click.command("token")
@click.option("--sub", required=True, help="who it is for")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="a role; may be given again")
@click.option("--claims", default="{}", metavar="JSON", help="more claims, as a JSON object")
@click.option("--expires", type=SPAN, default="1h", show_default=True, help="how long it is good: 90s, 15m, 1h, 30d")
@guarded
def token(sub: str, roles: tuple[str, ...], claims: str, expires: float) -> None:
    """Print a token, signed with the configured secret, to try things or for a program.

    Secret, issuer, audience and the claim of the roles are those of the service: REALTIME_JWT_SECRET,
    REALTIME_JWT_SECRET_FILE, REALTIME_JWT_ISSUER, REALTIME_JWT_AUDIENCE, REALTIME_ROLES_CLAIM.
    """
    settings = settings_of({"auth": "jwt"})
    made = new_token(settings, sub=sub, roles=roles, claims=_claims(claims), now=time.time(), seconds=expires)
    click.echo(made)


@click.group("key")
def key() -> None:
    """Keys for programs: create one, list them, revoke one."""


@key.command("create")
@click.argument("name")
@click.option("--sub", default=None, help="who asks by it (default: key:NAME)")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="a role; may be given again")
@click.option("--claims", default="{}", metavar="JSON", help="claims, as a JSON object")
@click.option("--expires", type=SPAN, default=None, help="how long it is good: 1h, 90d (default: until it is revoked)")
@mongodb_options
@guarded
def create(
    name: str, sub: str | None, roles: tuple[str, ...], claims: str, expires: float | None, **where: Any
) -> None:
    """Create a key by this NAME and print it. It is shown this once: what is stored is a hash."""
    now, secret = time.time(), new_key()
    record = KeyRecord(
        hash=hashed(secret),
        name=_short(name, "NAME", MAX_KEY_NAME),
        sub=_short(sub or f"key:{name}", "--sub", MAX_NAME),
        created=now,
        roles=frozenset(_short(role, "--role", MAX_NAME) for role in roles),
        claims=MappingProxyType(_claims(claims)),
        expires=None if expires is None else now + expires,
    )
    place, _ = _with(where, lambda database, gate: MongoKeys(database, gate).create(record))
    _note(where, Entry("key", operation="create", key=record.id))
    click.echo(secret)
    click.echo(f"key {record.name}, id {record.id}, sub {record.sub}, in {place}: it is not shown again", err=True)


@key.command("list")
@mongodb_options
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
@guarded
def listed(as_json: bool, **where: Any) -> None:
    """List keys by name: id, sub, roles, when they were made, last used, and end. Never a key itself."""
    now = time.time()
    place, found = _with(where, lambda database, gate: MongoKeys(database, gate).listed())
    click.echo(f"keys of {place}: {len(found) or 'none'}", err=True)
    for record in found:
        click.echo(json.dumps(_fields(record)) if as_json else _line(record, now))


@key.command("revoke")
@click.argument("named", metavar="NAME|ID")
@mongodb_options
@guarded
def revoke_key(named: str, **where: Any) -> None:
    """Revoke a key, by its name or id: connections by it end on all nodes, and it lets nobody in again."""

    async def work(database: Database, gate: Gate) -> KeyRecord:
        found = await MongoKeys(database, gate).revoke(named, time.time())
        await MongoRevocations(database, gate).write(Revocation("key", found.id, time.time()))
        return found

    place, found = _with(where, work)
    _note(where, Entry("key", operation="revoke", key=found.id))
    click.echo(f"key {found.name}, id {found.id}, of {place}: revoked")


@click.command("revoke")
@click.option("--sub", default=None, help="everything of a user that was issued before now")
@click.option("--jti", default=None, help="one token, by its jti")
@click.option("--key", "key_id", default=None, metavar="ID", help="a key, by its id (realtime key list)")
@click.option(
    "--keep", type=SPAN, default=None, help="forget it after this long, if no token lives longer (default: never)"
)
@mongodb_options
@guarded
def revoke(sub: str | None, jti: str | None, key_id: str | None, keep: float | None, **where: Any) -> None:
    """End a user's connections, a token or a key on all nodes, now and from now on.

    A user may come in again with a token that is issued after this.
    """
    now = time.time()
    revocation = revocation_of(now, sub=sub, jti=jti, key=key_id)
    if revocation is None:
        raise ConfigurationError("whom? Name one of --sub SUB, --jti JTI and --key ID")
    until = None if keep is None else now + keep

    async def work(database: Database, gate: Gate) -> None:
        if revocation.kind == "key":
            await MongoKeys(database, gate).check_id(revocation.value)
        await MongoRevocations(database, gate).write(revocation, until)

    place, _ = _with(where, work)
    _note(where, Entry("revoke", operation=revocation.kind, key=revocation.value))
    click.echo(f"{revocation.kind} {revocation.value}, in {place}: revoked as of {_date(now)}")


# ------------------------------------------------------------------------------------------------------------- inside


def _with(where: dict[str, Any], work: Callable[[Database, Gate], Awaitable[Any]]) -> tuple[str, Any]:
    """The database that is named, in words, and what this does with it. A refusal of MongoDB's is one line.

    It is said where there was no key, revocation or ticket in it: a service of another database hears of nothing here.
    """
    settings, uri = named_mongodb(where)
    place = f"database {settings.database}"

    async def run() -> Any:
        client, database = clients.open_database(uri, settings.database, app="realtime-access")
        try:
            if not await known(database, Gate(_SECONDS)):
                click.echo(f"realtime: nothing of a service's was in {place} before this. {_ANOTHER}", err=True)
            return await work(database, Gate(_SECONDS))
        except NotFoundError as error:
            raise ConfigurationError(f"{error.message}. This is {place}") from None
        except ServiceError as error:
            raise ConfigurationError(error.message) from None
        finally:
            clients.close(client)

    return place, asyncio.run(run())


def _note(where: dict[str, Any], entry: Entry) -> None:
    """A line of the audit log, of what is done already: that it cannot be written is only said."""
    log = AuditLog(settings_of(where).audit_log)
    try:
        log.begin()
    except OSError as error:
        click.echo(f"realtime: REALTIME_AUDIT_LOG cannot be written: {error.strerror}", err=True)
        return
    log.record(entry)
    log.close()


def _claims(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or len(text) > MAX_TOKEN_BYTES:
        raise ConfigurationError(
            f'--claims takes a JSON object of at most {MAX_TOKEN_BYTES} bytes, as \'{{"team": "a"}}\''
        )
    return found


def _short(text: str, what: str, most: int) -> str:
    if not 1 <= len(text) <= most:
        raise ConfigurationError(f"{what} has 1 to {most} characters")
    return text


def _fields(record: KeyRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "id": record.id,
        "sub": record.sub,
        "roles": sorted(record.roles),
        "created": _date(record.created),
        "used": _date(record.used),
        "expires": _date(record.expires),
        "revoked": _date(record.revoked),
    }


def _line(record: KeyRecord, now: float) -> str:
    fields = _fields(record)
    if record.revoked is not None:
        state = f"revoked {fields['revoked']}"
    elif record.expires is not None:
        state = f"{'expired' if record.expires <= now else 'until'} {fields['expires']}"
    else:
        state = "good"
    roles = ",".join(fields["roles"]) or "-"
    return f"{record.name:20} {record.id}  {record.sub:24} {roles:20} used {fields['used'] or 'never'}  {state}"


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
