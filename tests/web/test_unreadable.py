"""What stands in a catalogue or a reply and no driver reads: nobody is kept from the rest, and a refusal stays one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument

from realtime.core.bson.stored import decode
from realtime.mongo import snapshot
from realtime.mongo.client import RAW
from tests.e2e.test_process import run
from tests.exact.raw_bson import Value, array, binary, document, element, fields, int32, number, sub, text
from tests.mongo.commands import Documents
from tests.replica_set import ReplicaSet
from tests.serving import Service
from tests.wire import wired

NAME = b"caf\xe9"
ODD = binary(2, int32(99) + b"abc")
"""Of the old subtype, with a length that is not that of its data."""


def create(database: Documents, name: bytes, rule: bytes | None = None) -> None:
    """A collection of this name, whose field `a` is not what `rule` says."""
    options = b"" if rule is None else element(b"validator", sub(fields(a=sub(rule))))
    made = RawBSONDocument(document(element(b"create", text(name)), options))
    # The driver takes a command by its name, which has to be text; inside of another one it is bytes.
    database.client.admin.command({"applyOps": [{"op": "c", "ns": f"{database.name}.$cmd", "o": made}]})


def store(database: Documents, name: bytes, *documents: bytes) -> None:
    for one in documents:
        database[name.decode()].insert_one(RawBSONDocument(one))


RULES = {
    "binary": fields(**{"$ne": ODD}),
    "text": fields(**{"$ne": text(b"\xff")}),
    "name": document(element(b"$ne", sub(document(element(b"\xff", text(b"x")))))),
}


@pytest.mark.parametrize("rule", RULES)
async def test_the_list_of_collections_and_the_doctor_come_past_what_no_driver_reads(
    service: Service, replica_set: ReplicaSet, tmp_path: Path, rule: str
) -> None:
    """One name that was no UTF-8, or one validator, and nobody saw any collection; the doctor ended in a traceback."""
    service.database.create_collection("orders")
    create(service.database, NAME)
    create(service.database, b"ruled", RULES[rule])
    listed = await service.http.get(service.path("/v1/collections"))
    assert listed.status_code == 200, listed.text
    assert [one["name"] for one in listed.json()["collections"]] == ["orders", "ruled"]
    arguments = ("doctor", "--uri", replica_set.uri, "--database", service.database.name)
    ended = await asyncio.to_thread(run, *arguments, home=tmp_path)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "caf\ufffd (a name that is no UTF-8)" in ended.stdout
    switched = await asyncio.to_thread(run, "images", "enable", "ruled", *arguments[1:], home=tmp_path)
    assert (switched.returncode, switched.stderr) == (0, "")


async def test_a_catalogue_of_several_batches_is_listed_whole(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"c{number}" for number in range(7)]
    for name in names:
        service.database.create_collection(name)
    monkeypatch.setattr(snapshot, "_CHUNK", 2)
    listed = await service.http.get(service.path("/v1/collections"))
    assert [one["name"] for one in listed.json()["collections"]] == names


@pytest.mark.parametrize("rule", RULES)
async def test_a_validator_that_no_driver_reads_refuses_all_the_same(service: Service, rule: str) -> None:
    """It was `invalid_request`, "not storable as BSON": the reply quotes the validator."""
    create(service.database, b"orders", RULES[rule].replace(b"$ne", b"$eq"))
    told = [
        (await service.http.post(service.documents, json={"a": 1})).json(),
        (await service.http.post(service.documents, json=[{"a": 1}])).json(),
        (await service.http.put(f"{service.documents}/k?upsert=true", json={"a": 1})).json(),
    ]
    async with wired(service.url) as wire:
        told.append(await wire.ask(type="insert", collection="orders", document={"a": 1}))
        told.append(await wire.ask(type="replace", collection="orders", key=1, document={"a": 1}, upsert=True))
    assert [(one["code"], one["retry"]) for one in told] == [("validation_failed", False)] * 5
    assert all(one["details"]["reason"] for one in told)
    assert not any("Plan executor" in str(one) for one in told)
    assert service.database.orders.count_documents({}) == 0


async def test_a_duplicate_that_no_driver_reads_is_a_duplicate(service: Service) -> None:
    service.database.orders.create_index("u", unique=True, sparse=True)
    key = {"one": text(b"one"), "two": text(b"two")}
    store(service.database, b"orders", fields(_id=key["one"], u=ODD), fields(_id=key["two"], v=ODD, n=text(b"n")))
    rename = {"$rename": {"v": "u"}}
    told = [(await service.http.patch(f"{service.documents}/two", json=rename)).json()]
    async with wired(service.url) as wire:
        to: dict[str, Any] = {"collection": "orders", "key": "two", "update": rename}
        told += [await wire.ask(type="update", **to, **more) for more in ({}, {"where": {"n": "n"}}, {"upsert": True})]
    assert [(one["code"], one["details"]) for one in told] == [("duplicate_key", {"fields": ["u"]})] * 4
    (left,) = service.database.orders.with_options(codec_options=RAW).find({"_id": "two"})
    assert set(decode(left.raw)) == {"_id", "v", "n"}


TWO_OF_ONE_LOOK = {
    "broken-text": (text(b"\xff"), text(b"\xfe")),
    "repeated-name": tuple(sub(document(element(b"a", number(1)), element(b"a", number(last)))) for last in (2, 3)),
    "array-names": tuple(array(number(1), names=iter([name])) for name in (b"0", b"7")),
    "integers": (number(1), Value(0x12, (1).to_bytes(8, "little"))),
}


@pytest.mark.parametrize("pair", TWO_OF_ONE_LOOK)
async def test_a_tag_is_of_what_is_stored_and_if_match_keeps_what_json_cannot_tell_apart(
    service: Service, pair: str
) -> None:
    """Another program had written in between, and the write went through."""
    read, changed = (fields(_id=text(b"k"), v=value) for value in TWO_OF_ONE_LOOK[pair])
    path = f"{service.documents}/k"
    store(service.database, b"orders", read)
    first = await service.http.get(path)
    service.database.orders.delete_one({"_id": "k"})
    store(service.database, b"orders", changed)
    second = await service.http.get(path)
    assert (first.status_code, first.content) == (200, second.content), "what is shown is one and the same"
    assert first.headers["etag"] != second.headers["etag"]
    for method, body in (("PUT", {"n": 1}), ("PATCH", {"$set": {"n": 1}}), ("DELETE", None)):
        answer = await service.http.request(method, path, json=body, headers={"If-Match": first.headers["etag"]})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    for tag, status in ((first.headers["etag"], 200), (second.headers["etag"], 304)):
        assert (await service.http.get(path, headers={"If-None-Match": tag})).status_code == status
    set_n = {"$set": {"n": 1}}
    done = await service.http.patch(path, json=set_n, headers={"If-Match": second.headers["etag"]})
    assert done.headers["etag"] == (await service.http.get(path)).headers["etag"]
