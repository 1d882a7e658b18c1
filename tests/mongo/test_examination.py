"""`realtime doctor` and `realtime images` against real deployments that are well, ill, or shut.

Each is once a process of its own, and else called in this one, which saves a second each time.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from realtime.commands.service import examine, images
from realtime.mongo import client as clients
from realtime.mongo import examination
from tests.e2e.test_process import run
from tests.mongo.commands import Client, Documents, mongod, until
from tests.replica_set import ReplicaSet

NOBODY = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500"
PASSWORD = "pa55word"


@pytest.fixture(scope="module")
def replica_set(own_uri: str) -> ReplicaSet:
    """A young one: the shared one's oplog may be full by now, which the doctor would rightly warn of."""
    return ReplicaSet(own_uri, "embedded", can_fail_commands=True)


async def called(command: click.Command, *arguments: str, **environment: str) -> Result:
    """The command in a thread of this process, whose loop is taken."""
    unset = {name: None for name in os.environ if name.startswith("REALTIME_")}
    ended = await asyncio.to_thread(CliRunner().invoke, command, arguments, env={**unset, **environment})
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    assert "Traceback" not in ended.stderr, ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    return ended


async def examined(uri: str, *more: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the findings by their check."""
    ended = await called(examine, "--uri", uri, "--json", *more, **environment)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len({one["check"] for one in found}) == len(found)
    return ended.exit_code, {one["check"]: one for one in found}


async def test_a_healthy_set_is_ok_line_by_line(tmp_path: Path, replica_set: ReplicaSet, database: Documents) -> None:
    database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    database.create_collection("items")
    code, found = await examined(replica_set.uri, "--database", database.name)
    assert code == 0, found
    assert {one["level"] for one in found.values()} == {"ok"}
    assert len(found) >= 13
    assert "kept by orders" in found["images"]["text"]
    assert found["deployment"]["text"].startswith("replica set realtime, primary 127.0.0.1:")
    assert "100 ms" in found["journal"]["text"]
    shown = await asyncio.to_thread(
        run, "doctor", "--database", database.name, home=tmp_path, REALTIME_MONGODB_URI=replica_set.uri
    )
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == len(found)
    assert all(line.startswith("ok ") for line in shown.stdout.splitlines())


@pytest.mark.parametrize("forced", ["true", "false"])
async def test_the_engine_of_a_group_is_found(tmp_path: Path, forced: str) -> None:
    """As it is set; and where that may not be asked, by a `$group` of a collection that exists."""
    setting = ("--setParameter", f"internalQueryForceClassicEngine={forced}")
    async with mongod(tmp_path, "--replSet", "rs0", *setting) as address:
        uri = f"mongodb://{address}/?replicaSet=rs0"
        with Client(f"mongodb://{address}/?directConnection=true") as client:
            client.admin.command({"replSetInitiate": {"_id": "rs0", "members": [{"_id": 0, "host": address}]}})
            await until(lambda: client.admin.command("hello")["isWritablePrimary"])
            client["shop"].create_collection("orders")
            rows = client["shop"]["orders"].database.command(
                {"explain": {"aggregate": "orders", "pipeline": [{"$group": {"_id": "$a"}}], "cursor": {}}}
            )
        found = (await examined(uri, "--database", "shop"))[1]["engine"]
        opened = clients.open_client(uri, app="test")
        try:
            seen = await examination.engine_seen(opened["shop"], [{"name": "v", "type": "view"}, {"name": "orders"}])
            none = await examination.engine_seen(opened["shop"], [])
        finally:
            clients.close(opened)
    by_slots = rows["explainVersion"] == "2"
    assert by_slots is (forced == "false")
    assert found["level"] == "ok"
    assert ("other programs" in found["text"]) is by_slots
    assert (seen, none) == ("slots" if by_slots else "classic", None)


async def test_warnings_end_with_1_and_name_their_mend(replica_set: ReplicaSet, database: Documents) -> None:
    database.create_collection("orders")
    database.create_collection("shown", viewOn="orders")
    code, found = await examined(replica_set.uri, "--database", database.name, REALTIME_EPOCH="0123ABCD")
    assert code == 1
    assert sorted(one["check"] for one in found.values() if one["level"] == "warning") == ["not live"]
    assert found["epoch"]["text"].startswith("0123ABCD")


async def test_a_standalone_server_is_an_error_with_the_way_to_a_replica_set(tmp_path: Path) -> None:
    async with mongod(tmp_path) as address:
        code, found = await examined(f"mongodb://{address}/")
        named = await examined(f"mongodb://{address}/?replicaSet=rs0&serverSelectionTimeoutMS=500")
    assert code == 2
    assert list(found) == ["deployment"]
    assert "--replSet" in found["deployment"]["mend"]
    assert named[0] == 2
    assert "--replSet" in named[1]["deployment"]["mend"]


async def test_a_set_without_a_primary_says_why(tmp_path: Path) -> None:
    async with mongod(tmp_path, "--replSet", "rs0") as address:
        uri = f"mongodb://{address}/?replicaSet=rs0&serverSelectionTimeoutMS=500"
        never = await examined(uri)
        with Client(f"mongodb://{address}/?directConnection=true") as client:
            members = [{"_id": 0, "host": address}, {"_id": 1, "host": "127.0.0.1:1"}]
            client.admin.command({"replSetInitiate": {"_id": "rs0", "members": members[:1]}})
            await until(lambda: client.admin.command("hello")["isWritablePrimary"])
            config = client.admin.command("replSetGetConfig")["config"]
            config["version"] += 1
            config["members"].append(members[1])
            client.admin.command("replSetReconfig", config, force=True)
            await until(lambda: not client.admin.command("hello")["isWritablePrimary"], seconds=30)
        alone = await examined(uri)
    assert (never[0], alone[0]) == (2, 2)
    assert "rs.initiate()" in never[1]["primary"]["mend"]
    assert "rs0 has no primary" in alone[1]["primary"]["text"]


async def test_nobody_there_is_one_error_and_a_bad_uri_one_line() -> None:
    code, found = await examined(NOBODY)
    assert code == 2
    assert "no MongoDB answers" in found["primary"]["text"]
    for arguments, line in (((), "which MongoDB"), (("--uri", "http://one"), "REALTIME_MONGODB_URI cannot be used")):
        ended = await called(examine, *arguments, REALTIME_MONGODB_URI="")
        assert ended.exit_code == 2
        assert ended.stderr.startswith("realtime: ")
        assert line in ended.stderr


# ------------------------------------------------------------------------------------------------- accounts and rights


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """HOST:PORT of a set that asks for accounts: `root`, `reader` of shop, `writer` of shop, `stranger`."""
    home = tmp_path_factory.mktemp("guarded")
    key = home / "key"
    key.write_text("c2VjcmV0c2VjcmV0")
    key.chmod(0o600)
    async with mongod(home, "--replSet", "rs0", "--keyFile", str(key)) as address:
        with Client(f"mongodb://{address}/?directConnection=true") as client:
            client.admin.command({"replSetInitiate": {"_id": "rs0", "members": [{"_id": 0, "host": address}]}})
            await until(lambda: client.admin.command("hello")["isWritablePrimary"])
            client.admin.command({"createUser": "root", "pwd": PASSWORD, "roles": ["root"]})
        with Client(account("root", address)) as client:
            shop = {"db": "shop"}
            for user, role in (("reader", "read"), ("writer", "readWrite")):
                client.admin.command({"createUser": user, "pwd": PASSWORD, "roles": [{"role": role, **shop}]})
            client.admin.command({"createUser": "stranger", "pwd": PASSWORD, "roles": []})
            client["shop"].create_collection("orders")
        yield address


def account(user: str, address: str, password: str = PASSWORD) -> str:
    return f"mongodb://{user}:{password}@{address}/?replicaSet=rs0&authSource=admin"


async def test_restricted_accounts_are_told_what_to_be_granted(guarded: str) -> None:
    shop = ("--database", "shop")
    root = await examined(account("root", guarded), *shop)
    reader = await examined(account("reader", guarded), *shop, REALTIME_EPOCH="0123ABCD")
    writer = await examined(account("writer", guarded), *shop)
    stranger = await examined(account("stranger", guarded), *shop)
    wrong = await called(examine, "--uri", account("root", guarded, "wrong"))

    def levels(found: dict[str, dict[str, Any]], level: str) -> set[str]:
        return {one["check"] for one in found.values() if one["level"] == level}

    assert root[0] == 0, root[1]
    assert reader[0] == 1
    assert levels(reader[1], "warning") == {"members", "oplog", "writes"}
    assert writer[0] == 2
    assert levels(writer[1], "error") == {"epoch"}
    assert "REALTIME_EPOCH" in writer[1]["epoch"]["mend"]
    assert levels(writer[1], "ok") >= {"change stream", "snapshot read", "collections", "writes"}
    assert stranger[0] == 2
    assert levels(stranger[1], "error") >= {"change stream", "snapshot read", "epoch"}
    assert "readWrite" in stranger[1]["change stream"]["mend"]
    assert wrong.exit_code == 2
    assert "password" in wrong.stderr


async def test_images_are_enabled_and_disabled_with_their_cost(
    tmp_path: Path, replica_set: ReplicaSet, database: Documents, guarded: str
) -> None:
    database.create_collection("orders")

    def kept() -> Any:
        (found,) = database.list_collections(filter={"name": "orders"})
        return found["options"].get("changeStreamPreAndPostImages", {}).get("enabled", False)

    async def switch(
        word: str, collection: str = "orders", uri: str = replica_set.uri, name: str = database.name
    ) -> Result:
        return await called(images, word, collection, "--uri", uri, "--database", name)

    first = await asyncio.to_thread(
        run, "images", "enable", "orders", "--uri", replica_set.uri, "--database", database.name, home=tmp_path
    )
    again = await switch("enable")
    assert kept() is True
    with database["orders"].watch(full_document_before_change="whenAvailable") as stream:
        database["orders"].insert_one({"_id": 1, "n": 1})
        database["orders"].update_one({"_id": 1}, {"$set": {"n": 2}})
        changes = [stream.next(), stream.next()]
    disabled = await switch("disable")
    assert kept() is False
    assert changes[1]["fullDocumentBeforeChange"] == {"_id": 1, "n": 1}
    assert [first.returncode, again.exit_code, disabled.exit_code] == [0, 0, 0]
    assert f"{database.name}.orders: images enabled. " in first.stdout
    assert "images enabled already. " in again.stdout
    assert "twice the writes" in first.stdout
    assert "images disabled. " in disabled.stdout
    refused = [
        (await switch("enable", "missing"), "there is no collection missing"),
        (await switch("enable", "orders", account("writer", guarded), "shop"), "dbAdmin on shop"),
        (await switch("enable", "orders", NOBODY), "no MongoDB answers"),
    ]
    for ended, line in refused:
        assert ended.exit_code == 2
        assert line in ended.stderr
