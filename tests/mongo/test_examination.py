"""`realtime doctor` and `realtime images`, as processes, against real deployments that are well, ill, or shut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_process import run
from tests.mongo.commands import Client, Documents, mongod, until
from tests.replica_set import ReplicaSet

NOBODY = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500"
PASSWORD = "pa55word"


@pytest.fixture(scope="module")
def replica_set(own_uri: str) -> ReplicaSet:
    """A young one: the shared one's oplog may be full by now, which the doctor would rightly warn of."""
    return ReplicaSet(own_uri, "embedded", can_fail_commands=True)


async def examined(home: Path, uri: str, *more: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the findings by their check."""
    ended = await asyncio.to_thread(run, "doctor", "--uri", uri, "--json", *more, home=home, **environment)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len({one["check"] for one in found}) == len(found)
    return ended.returncode, {one["check"]: one for one in found}


async def test_a_healthy_set_is_ok_line_by_line(tmp_path: Path, replica_set: ReplicaSet, database: Documents) -> None:
    database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    database.create_collection("items")
    code, found = await examined(tmp_path, replica_set.uri, "--database", database.name)
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


async def test_warnings_end_with_1_and_name_their_mend(
    tmp_path: Path, replica_set: ReplicaSet, database: Documents
) -> None:
    database.create_collection("orders")
    database.create_collection("shown", viewOn="orders")
    code, found = await examined(tmp_path, replica_set.uri, "--database", database.name, REALTIME_EPOCH="0123ABCD")
    assert code == 1
    assert sorted(one["check"] for one in found.values() if one["level"] == "warning") == ["not live"]
    assert found["epoch"]["text"].startswith("0123ABCD")


async def test_a_standalone_server_is_an_error_with_the_way_to_a_replica_set(tmp_path: Path) -> None:
    async with mongod(tmp_path) as address:
        code, found = await examined(tmp_path, f"mongodb://{address}/")
        named = await examined(tmp_path, f"mongodb://{address}/?replicaSet=rs0&serverSelectionTimeoutMS=500")
    assert code == 2
    assert list(found) == ["deployment"]
    assert "--replSet" in found["deployment"]["mend"]
    assert named[0] == 2
    assert "--replSet" in named[1]["deployment"]["mend"]


async def test_a_set_without_a_primary_says_why(tmp_path: Path) -> None:
    async with mongod(tmp_path, "--replSet", "rs0") as address:
        uri = f"mongodb://{address}/?replicaSet=rs0&serverSelectionTimeoutMS=500"
        never = await examined(tmp_path, uri)
        with Client(f"mongodb://{address}/?directConnection=true") as client:
            members = [{"_id": 0, "host": address}, {"_id": 1, "host": "127.0.0.1:1"}]
            client.admin.command({"replSetInitiate": {"_id": "rs0", "members": members[:1]}})
            await until(lambda: client.admin.command("hello")["isWritablePrimary"])
            config = client.admin.command("replSetGetConfig")["config"]
            config["version"] += 1
            config["members"].append(members[1])
            client.admin.command("replSetReconfig", config, force=True)
            await until(lambda: not client.admin.command("hello")["isWritablePrimary"], seconds=30)
        alone = await examined(tmp_path, uri)
    assert (never[0], alone[0]) == (2, 2)
    assert "rs.initiate()" in never[1]["primary"]["mend"]
    assert "rs0 has no primary" in alone[1]["primary"]["text"]


async def test_nobody_there_is_one_error_and_a_bad_uri_one_line(tmp_path: Path) -> None:
    code, found = await examined(tmp_path, NOBODY)
    assert code == 2
    assert "no MongoDB answers" in found["primary"]["text"]
    for arguments, line in (((), "which MongoDB"), (("--uri", "http://one"), "REALTIME_MONGODB_URI cannot be used")):
        ended = await asyncio.to_thread(run, "doctor", *arguments, home=tmp_path, REALTIME_MONGODB_URI="")
        assert ended.returncode == 2
        assert ended.stderr.startswith("realtime: ")
        assert line in ended.stderr


# ------------------------------------------------------------------------------------------------- accounts and rights


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[str]:
    """HOST:PORT of a set that asks for accounts: `root`, `reader` of shop, `writer` of shop, `stranger`."""
    key = tmp_path / "key"
    key.write_text("c2VjcmV0c2VjcmV0")
    key.chmod(0o600)
    async with mongod(tmp_path, "--replSet", "rs0", "--keyFile", str(key)) as address:
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


async def test_restricted_accounts_are_told_what_to_be_granted(tmp_path: Path, guarded: str) -> None:
    shop = ("--database", "shop")
    root = await examined(tmp_path, account("root", guarded), *shop)
    reader = await examined(tmp_path, account("reader", guarded), *shop, REALTIME_EPOCH="0123ABCD")
    writer = await examined(tmp_path, account("writer", guarded), *shop)
    stranger = await examined(tmp_path, account("stranger", guarded), *shop)
    wrong = await asyncio.to_thread(run, "doctor", "--uri", account("root", guarded, "wrong"), home=tmp_path)

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
    assert wrong.returncode == 2
    assert "password" in wrong.stderr


async def test_images_are_enabled_and_disabled_with_their_cost(
    tmp_path: Path, replica_set: ReplicaSet, database: Documents, guarded: str
) -> None:
    database.create_collection("orders")

    def kept() -> Any:
        (found,) = database.list_collections(filter={"name": "orders"})
        return found["options"].get("changeStreamPreAndPostImages", {}).get("enabled", False)

    def switch(word: str, collection: str = "orders", uri: str = replica_set.uri, name: str = database.name) -> Any:
        return run("images", word, collection, "--uri", uri, "--database", name, home=tmp_path)

    enabled = [await asyncio.to_thread(switch, "enable"), await asyncio.to_thread(switch, "enable")]
    assert kept() is True
    with database["orders"].watch(full_document_before_change="whenAvailable") as stream:
        database["orders"].insert_one({"_id": 1, "n": 1})
        database["orders"].update_one({"_id": 1}, {"$set": {"n": 2}})
        changes = [stream.next(), stream.next()]
    disabled = await asyncio.to_thread(switch, "disable")
    assert kept() is False
    assert changes[1]["fullDocumentBeforeChange"] == {"_id": 1, "n": 1}
    assert [one.returncode for one in [*enabled, disabled]] == [0, 0, 0]
    assert f"{database.name}.orders: images enabled. " in enabled[0].stdout
    assert "images enabled already. " in enabled[1].stdout
    assert "twice the writes" in enabled[0].stdout
    assert "images disabled. " in disabled.stdout
    refused = [
        (await asyncio.to_thread(switch, "enable", "missing"), "there is no collection missing"),
        (await asyncio.to_thread(switch, "enable", "orders", account("writer", guarded), "shop"), "dbAdmin on shop"),
        (await asyncio.to_thread(switch, "enable", "orders", NOBODY), "no MongoDB answers"),
    ]
    for ended, line in refused:
        assert ended.returncode == 2
        assert line in ended.stderr
        assert "Traceback" not in ended.stderr
