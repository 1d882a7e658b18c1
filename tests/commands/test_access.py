"""`realtime token`, `key` and `revoke`, as typed: what they print, what they store, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import jwt
import pytest

from realtime.commands.options import Seconds
from realtime.core.access.keys import hashed, well_formed
from tests.access.issuer import SECRET
from tests.access.test_service import KEYED, ended, told_of, who
from tests.mongo.commands import Documents, plain
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

MORE = pytest.mark.long("one more command, a process each")


@pytest.fixture
def database(replica_set: ReplicaSet) -> Any:
    with plain(replica_set.uri) as found:
        yield found


@pytest.fixture
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    async with serving(replica_set, **KEYED) as running:
        yield running


def typed(*arguments: str, uri: str = "", database: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`realtime …` in a process of its own."""
    given = {f"REALTIME_{name.upper()}": value for name, value in environment.items()}
    where = ["--uri", uri, "--database", database] if uri else []
    command = [sys.executable, "-m", "realtime", *arguments, *where]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **given})


def claims_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(text, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    return found


# --------------------------------------------------------------------------------------------------------------- token


def test_a_token_is_printed_with_what_was_asked_for_and_nothing_beside_it() -> None:
    roles, more = ("--role", "staff", "--role", "admin"), ("--expires", "15m", "--claims", '{"team":"a"}')
    done = typed("token", "--sub", "ann", *roles, *more, jwt_secret=SECRET, jwt_audience="shop", jwt_issuer="us")
    assert done.returncode == 0
    claims = claims_of(done.stdout.strip())
    assert (claims["sub"], claims["roles"], claims["team"]) == ("ann", ["admin", "staff"], "a")
    assert (claims["aud"], claims["iss"], claims["exp"] - claims["iat"]) == ("shop", "us", 900)
    assert done.stdout.count("\n") == 1
    plain_one = claims_of(typed("token", "--sub", "bob", jwt_secret=SECRET).stdout.strip())
    assert plain_one["exp"] - plain_one["iat"] == 3600
    assert "roles" not in plain_one


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--sub", "ann"], {}, "REALTIME_JWT_SECRET"),
        (["--sub", "ann"], {"jwt_secret": "short"}, "openssl rand"),
        (["--sub", "ann"], {"jwks_url": "https://login.example/"}, "identity provider"),
        (["--sub", "ann", "--claims", "[]"], {"jwt_secret": SECRET}, "JSON object"),
        (["--sub", "ann", "--claims", "{"], {"jwt_secret": SECRET}, "JSON object"),
        (["--sub", "ann", "--claims", '{"exp": 1}'], {"jwt_secret": SECRET}, "exp is set"),
        (["--sub", "x" * 300], {"jwt_secret": SECRET}, "sub is no text"),
        (["--sub", "ann", "--expires", "soon"], {"jwt_secret": SECRET}, "1h or 30d"),
        ([], {"jwt_secret": SECRET}, "--sub"),
    ],
)
def test_what_makes_no_token_is_one_line_and_exit_2(
    arguments: list[str], environment: dict[str, str], words: str
) -> None:
    done = typed("token", *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000)])
def test_a_span_is_written_as_people_do(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds
    assert Seconds().convert(seconds * 1.0, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "1w", "-1h", "1.5h", "999999999d", "1h "])
def test_what_is_no_span_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write it as"):
        Seconds().convert(text, None, None)


# ----------------------------------------------------------------------------------------------------------------- key


def test_a_key_is_shown_once_and_stored_as_a_hash(replica_set: ReplicaSet, database: Documents) -> None:
    where = {"uri": replica_set.uri, "database": database.name}
    asked = ("--role", "staff", "--claims", '{"team":"a"}', "--expires", "30d")
    made = typed("key", "create", "importer", *asked, **where)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert well_formed(key)
    assert key not in made.stderr
    (stored,) = database.realtime_keys.find()
    assert (stored["_id"], stored["name"], stored["roles"]) == (hashed(key), "importer", ["staff"])
    assert key not in str(stored)
    listed = typed("key", "list", **where)
    assert "importer" in listed.stdout
    assert key not in listed.stdout
    (told,) = [json.loads(line) for line in typed("key", "list", "--json", **where).stdout.splitlines()]
    assert (told["id"], told["sub"], told["used"], told["revoked"]) == (hashed(key)[:12], "key:importer", None, None)
    assert f"in database {database.name}" in made.stderr
    assert listed.stderr.splitlines()[-1] == f"keys of database {database.name}: 1"
    again = typed("key", "create", "importer", **where)
    assert (again.returncode, again.stdout) == (2, "")
    assert "another name" in again.stderr


@MORE
def test_a_key_is_revoked_by_name_or_id(replica_set: ReplicaSet, database: Documents) -> None:
    where = {"uri": replica_set.uri, "database": database.name}
    for name in ("one", "two"):
        assert typed("key", "create", name, **where).returncode == 0
    two = database.realtime_keys.find_one({"name": "two"})
    assert two is not None
    for named in ("one", two["id"]):
        done = typed("key", "revoke", named, **where)
        assert done.returncode == 0
        assert f"of database {database.name}: revoked" in done.stdout
    assert database.realtime_keys.count_documents({"revoked": None}) == 0
    assert database.realtime_revocations.count_documents({"key": two["id"]}) == 1
    missing = typed("key", "revoke", "nobody", **where)
    assert missing.returncode == 2
    assert "key list" in missing.stderr
    assert f"This is database {database.name}" in missing.stderr
    assert typed("key", "list", **where).stdout.count("revoked 20") == 2


def test_what_is_done_to_keys_is_in_the_audit_log(replica_set: ReplicaSet, database: Documents, tmp_path: Path) -> None:
    where = {"uri": replica_set.uri, "database": database.name, "audit_log": str(tmp_path / "audit.log")}
    key = typed("key", "create", "importer", **where).stdout.strip()
    for arguments in (["key", "revoke", "importer"], ["revoke", "--sub", "ann"]):
        assert typed(*arguments, **where).returncode == 0
    text = (tmp_path / "audit.log").read_text()
    told = [json.loads(line) for line in text.splitlines()]
    name = json.dumps(hashed(key)[:12])
    assert [(one["what"], one["operation"], one["key"]) for one in told] == [
        ("key", "create", name),
        ("key", "revoke", name),
        ("revoke", "sub", '"ann"'),
    ]
    assert key not in text
    nowhere = {**where, "audit_log": str(tmp_path / "none" / "audit.log")}
    done = typed("revoke", "--sub", "bob", **nowhere)
    assert done.returncode == 0
    assert "REALTIME_AUDIT_LOG" in done.stderr


@MORE
def test_a_name_that_is_none_is_refused(replica_set: ReplicaSet, database: Documents) -> None:
    where = {"uri": replica_set.uri, "database": database.name}
    for arguments in (["x" * 101], ["x", "--sub", "y" * 300], ["x", "--role", "z" * 300]):
        assert typed("key", "create", *arguments, **where).returncode == 2
    assert database.realtime_keys.count_documents({}) == 0


# -------------------------------------------------------------------------------------------------------------- revoke


async def test_a_user_who_is_revoked_by_the_command_ends_on_a_running_service(
    replica_set: ReplicaSet, service: Service
) -> None:
    from tests.access.test_service import token

    principal = await who(service, token())
    said = await told_of(service)
    name = service.realtime.settings.database
    where = {"uri": replica_set.uri, "database": name}
    done = await asyncio.to_thread(typed, "revoke", "--sub", "ann", **where)
    assert done.returncode == 0, done.stderr
    assert f"ann, in database {name}: revoked" in done.stdout
    await ended(said, principal)


@MORE
def test_a_database_that_no_service_used_is_named_with_the_option_for_another(
    replica_set: ReplicaSet, database: Documents
) -> None:
    """By mistake it is the default one, and nobody is sent away: the first time is said, later ones are not."""
    where = {"uri": replica_set.uri, "database": database.name}
    words = f"nothing of a service's was in database {database.name} before this. If it serves another database, name"
    first, second = (typed("revoke", "--sub", "ann", **where) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert words in first.stderr
    assert "--database NAME or REALTIME_DATABASE" in first.stderr
    assert words not in second.stderr


@MORE
def test_a_key_that_is_not_there_is_not_said_to_be_revoked(replica_set: ReplicaSet, database: Documents) -> None:
    """A name in place of an id neither."""
    where = {"uri": replica_set.uri, "database": database.name}
    assert typed("key", "create", "importer", **where).returncode == 0
    for named in ("importer", "3b1f0a99c2de"):
        done = typed("revoke", "--key", named, **where)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"there is no key with the id {named}: `realtime key list` shows them" in done.stderr
    assert database.realtime_revocations.count_documents({}) == 0
    stored = database.realtime_keys.find_one({"name": "importer"})
    assert stored is not None
    assert typed("revoke", "--key", stored["id"], **where).returncode == 0
    assert database.realtime_revocations.count_documents({"key": stored["id"]}) == 1


@pytest.mark.parametrize("arguments", [[], ["--sub", "a", "--jti", "b"]], ids=["nobody", "two"])
def test_one_is_named(arguments: list[str]) -> None:
    done = typed("revoke", *arguments)
    assert done.returncode == 2
    assert "--sub SUB, --jti JTI and --key ID" in done.stderr


@MORE
def test_where_there_is_no_mongodb_it_is_one_line() -> None:
    done = typed("revoke", "--sub", "ann", uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300", database="x")
    assert done.returncode == 2
    assert "MongoDB" in done.stderr
    assert "Traceback" not in done.stderr
    missing = typed("key", "list")
    assert "REALTIME_MONGODB_URI" in missing.stderr
