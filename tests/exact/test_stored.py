"""The feed lives, whatever MongoDB stores: each number is named for what was seen.

Sabotage: `make sabotage`, rows "stored".
"""

from __future__ import annotations

import base64
import json
import struct
from functools import partial
from typing import Any

import pytest
from bson.binary import Binary
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from realtime.core.bson import ejson, keys, stored
from realtime.core.bson.stored import UNDEFINED_VALUE, Broken, OddBinary, OddRegex, Pointer, Repeated, Symbol
from realtime.mongo.client import RAW
from tests.exact.ear import Ear, listening
from tests.mongo.differential import raw_of, read
from tests.replica_set import ReplicaSet
from tests.serving import Service, service, serving
from tests.wire import View, key_text, wired

__all__ = ["service"]
pytestmark = pytest.mark.timeout(90)

OID = {"$oid": "5" * 24}
SHORT = {"$binary": {"base64": "MTIzNDU=", "subType": "04"}}
ODD: dict[str, Any] = {
    "binary of the UUID's subtype, five bytes": Binary(b"12345", 4),
    "binary of the old UUID's subtype, five bytes": Binary(b"12345", 3),
    "old binary whose inner length is not so": OddBinary(struct.pack("<i", 7) + b"x"),
    "old binary without an inner length": OddBinary(b"xx"),
    "undefined": UNDEFINED_VALUE,
    "a symbol": Symbol("a"),
    "a pointer": Pointer("db.c", ObjectId("5" * 24)),
    "text that is no UTF-8": Broken("a\udcff"),
    "options out of order": OddRegex("a", "xi"),
    "a name that stands twice": Repeated([("a", 1), ("a", 2)]),
    "a name that is no UTF-8": {"\udcff": 1},
}


def put(service: Service, collection: str, document: dict[str, Any]) -> None:
    """As another driver stores it."""
    raw = service.database.get_collection(collection, codec_options=RAW)
    raw.insert_one(RawBSONDocument(stored.encode(document)))


async def heard(ear: Ear, service: Service, number: int) -> None:
    """A subscriber of another collection hears the next write, and nothing of a fault."""
    news = ear.coming(lambda frame: frame["type"] == "changes" and f'"_id": {number}' in json.dumps(frame))
    service.database.quiet.insert_one({"_id": number})
    await news
    assert not ear.of("status")


# ------------------------------------------------------------------------------------------------------------ number 1


async def test_one_frame_of_any_client_ended_the_feed_for_everybody(replica_set: ReplicaSet) -> None:
    """An `insert` of binary that is no UUID under the UUID's subtype."""
    async with serving(replica_set, feed_await_ms=100, keep=True) as service:
        async with listening(service.url) as other, listening(service.url) as ear:
            await other.subscribe("q", "quiet")
            before = (await ear.subscribe("e", "docs", mode="events"))["position"]
            await ear.subscribe("v", "docs")
            inserted = await ear.ask(type="insert", collection="docs", document={"_id": 1, "u": SHORT})
            assert inserted["type"] == "result", inserted
            await ear.ask(type="ping", position=inserted["position"])
            (told,) = (one for frame in ear.of("events") for one in frame["events"])
            assert told["document"] == {"_id": 1, "u": SHORT}
            await heard(other, service, 1)
        # Over HTTP as well, where it was 422 and `internal`.
        one = await service.http.get(service.path("/v1/collections/docs/documents/%7B%22$numberInt%22:%221%22%7D"))
        page = await service.http.get(service.path("/v1/collections/docs/documents"))
        lines = await service.http.get(
            service.path("/v1/collections/docs/documents"), headers={"Accept": "application/x-ndjson"}
        )
        assert (one.status_code, page.status_code, lines.status_code) == (200, 200, 200)
        assert one.json() == {"_id": 1, "u": SHORT} == page.json()["documents"][0]
        assert [json.loads(line) for line in lines.text.splitlines()] == [{"_id": 1, "u": SHORT}, {"end": True}]
        name = service.database.name
    # A restart did not heal a resume from before it.
    async with serving(replica_set, feed_await_ms=100, database=name) as service, listening(service.url) as ear:
        await ear.subscribe("e", "docs", mode="events", position=before)
        (told,) = (one for frame in ear.of("events") for one in frame["events"])
        assert told["document"] == {"_id": 1, "u": SHORT}
        assert ear.of("subscribed")[0]["recovered"] is True


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
async def test_what_the_driver_does_not_decode_is_shown_by_the_table(service: Service, value: Any) -> None:
    expected = json.loads(keys.shown({"_id": 1, "u": value}))
    async with listening(service.url) as other, wired(service.url) as wire:
        await other.subscribe("q", "quiet")
        events = await wire.subscribe("docs", id="e", mode="events")
        view = await wire.subscribe("docs", id="v", filter={"u": {"$exists": True}})
        put(service, "docs", {"_id": 1, "u": value})
        put(service, "docs", {"_id": 2, "u": 0})
        service.database.docs.update_one({"_id": 2}, {"$set": {"n": 1}})
        service.database.docs.update_one({"_id": 1}, [{"$set": {"n": "$u"}}])
        await wire.when(lambda: "n" in view.documents.get("1", {}))
        both = {**expected, "n": expected["u"]}
        assert view.documents["1"] == both
        assert events.position
        await heard(other, service, 1)
        late = await wire.subscribe("docs", id="late", filter={"u": {"$exists": True}}, projection={"u": 1})
        assert late.documents["1"] == expected
    (told,) = (
        one for frame in wire.of("events") for one in frame["events"] if one["op"] == "insert" and one["key"] == 1
    )
    assert told["document"] == expected
    page = await service.http.get(service.path("/v1/collections/docs/documents"), params={"sort": '[["_id", 1]]'})
    assert page.json()["documents"][0] == both


# ------------------------------------------------------------------------------------------------------------ number 2

TOP = {"_id": 1, "$ref": "top", "$id": 4}


async def test_a_document_with_ref_and_id_at_its_top_ended_the_feed(service: Service) -> None:
    """For a negated filter, a projection, a group and filtered events; and `GET` was a 500."""
    async with listening(service.url) as other, wired(service.url) as wire:
        await other.subscribe("q", "quiet")
        negated = await wire.subscribe("docs", id="negated", filter={"v": {"$ne": 5}})
        shown = await wire.subscribe("docs", id="shown", projection={"$id": 1})
        rows = await wire.subscribe("docs", id="rows", group={"by": ["v"], "count": True})
        await wire.subscribe("docs", id="events", mode="events", filter={"v": {"$ne": 5}})
        put(service, "docs", TOP)
        await wire.when(lambda: bool(negated.documents and shown.documents and rows.documents and wire.of("events")))
        assert negated.documents == {"1": TOP}
        assert shown.documents == {"1": {"_id": 1, "$id": 4}}
        assert list(rows.documents.values()) == [{"_id": {"v": None}, "count": 1}]
        assert wire.of("events")[0]["events"][0]["document"] == TOP
        await heard(other, service, 1)
    one = await service.http.get(service.path("/v1/collections/docs/documents/%7B%22$numberInt%22:%221%22%7D"))
    assert (one.status_code, one.json()) == (200, TOP)


async def test_an_update_that_set_both_fields_ended_the_feed_with_nobody_subscribed(service: Service) -> None:
    async with listening(service.url) as other:
        await other.subscribe("q", "quiet")
        service.database.docs.insert_one({"_id": 1})
        set_both = {"$replaceWith": {"$literal": {"_id": 1, "$ref": "top", "$id": 4}}}
        service.database.docs.update_one({"_id": 1}, [set_both])
        assert list(read(raw_of(service.database.docs).find({}))) == [TOP]
        await heard(other, service, 1)


# ------------------------------------------------------------------------------------------------------------ number 3

FIRST, LAST = {"$ref": "users", "$id": ObjectId("5" * 24)}, {"$id": ObjectId("5" * 24), "$ref": "users"}


def hold(many: int, *views: View) -> bool:
    return all(len(view.documents) == many for view in views)


async def test_a_reference_with_its_id_first_was_read_as_if_its_name_came_first(service: Service) -> None:
    for number, owner in enumerate([FIRST, LAST]):
        put(service, "docs", {"_id": number, "owner": owner})
    asked = {"owner": {"$ref": "users", "$id": OID}}
    async with wired(service.url) as wire:
        view = await wire.subscribe("docs", id="v", filter=asked)
        rows = await wire.subscribe("docs", id="r", group={"by": ["owner"], "count": True})
        window = await wire.subscribe("docs", id="w", sort=[["owner", 1]], limit=5)
        everything = await wire.subscribe("docs", id="all")
        for number, owner in enumerate([LAST, FIRST], 2):
            put(service, "docs", {"_id": number, "owner": owner})
            # One after the other: two that come in one batch are told by where they stand after both.
            await wire.when(partial(hold, number + 1, window, everything))
    found = [document["_id"] for document in service.database.docs.find({"owner": FIRST}, {"_id": 1}).sort("_id", 1)]
    assert sorted(map(int, view.documents)) == found == [0, 3]
    assert [row["count"] for row in rows.documents.values()] == [2, 2]
    assert [list(everything.documents[str(number)]["owner"]) for number in range(4)] == [
        ["$ref", "$id"],
        ["$id", "$ref"],
        ["$id", "$ref"],
        ["$ref", "$id"],
    ]
    order = service.database.docs.find({}, {"_id": 1}).sort([("owner", 1), ("_id", 1)])
    places = [document["_id"] for document in order]
    changes = [change for frame in wire.of("changes") for change in frame["changes"] if "index" in change]
    told = {change["document"]["_id"]: change["index"] for change in changes}
    # Where each stood when it came: 3 came after 2.
    assert told == {2: [place for place in places if place != 3].index(2), 3: places.index(3)}


@pytest.mark.parametrize(
    "owner",
    [
        {"$ref": "users", "$id": OID},
        {"$id": OID, "$ref": "users"},
        {"$ref": "users", "$id": 4, "$db": "other", "note": "x"},
        {"$ref": "users"},
    ],
    ids=str,
)
async def test_a_reference_that_was_read_could_not_be_put_back(service: Service, owner: dict[str, Any]) -> None:
    document = {"_id": "x", "owner": owner, "all": [owner]}
    put(service, "docs", ejson.decode(json.dumps(document)))
    path = service.path("/v1/collections/docs/documents/x")
    read = await service.http.get(path)
    assert read.json() == document
    assert (await service.http.put(path, content=read.content)).status_code == 200
    patched = await service.http.patch(path, json={"$set": {"again": owner}, "$push": {"all": owner}})
    assert patched.status_code == 200, patched.text
    after = (await service.http.get(path)).json()
    assert after == {**document, "all": [owner, owner], "again": owner}
    assert list(after["again"]) == list(owner)


async def test_a_document_that_begins_with_a_reference_can_be_put_back(service: Service) -> None:
    put(service, "docs", {"_id": "x", "$ref": "top", "$id": 4})
    path = service.path("/v1/collections/docs/documents/x")
    for body in ({"_id": "x", "$ref": "top", "$id": 5}, {"$ref": "top", "$id": 6}):
        answer = await service.http.put(path, json=body)
        assert answer.status_code == 200, answer.text
        assert (await service.http.get(path)).json() == {"_id": "x", **body}


# ------------------------------------------------------------------------------------------------------------ number 4

PAIRS: dict[str, tuple[Any, Any]] = {
    "text that is no UTF-8": (Broken("\udcff"), Broken("\udcfe")),
    "text that is no UTF-8, and what it is shown as": (Broken("\udcff"), "\ufffd"),
    "text that is no UTF-8 inside": ({"a": Broken("\udcff")}, {"a": Broken("\udcfe")}),
    "names that are no UTF-8": ({"\udcff": 1}, {b"\xfe".decode("utf-8", "surrogateescape"): 1}),
    "undefined and null": ({"a": UNDEFINED_VALUE}, {"a": None}),
    "a name that stands twice": (Repeated([("a", 1), ("a", 2)]), {"a": 1}),
    "old binary": (OddBinary(b"xx"), OddBinary(b"xy")),
    "pointers": (Pointer("a", ObjectId("5" * 24)), Pointer("b", ObjectId("5" * 24))),
    "options of a regular expression": ({"a": OddRegex("a", "xi")}, {"a": OddRegex("a", "q")}),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
async def test_two_documents_of_mongodb_were_one_row_here(service: Service, pair: tuple[Any, Any]) -> None:
    """Identity was made from the text that is shown."""
    one, other = pair
    async with wired(service.url) as wire:
        view = await wire.subscribe("docs", id="v")
        window = await wire.subscribe("docs", id="w", sort=[["n", 1]], limit=3)
        put(service, "docs", {"_id": one, "n": 1})
        put(service, "docs", {"_id": other, "n": 2})
        await wire.when(lambda: len(view.documents) == 2 == len(window.documents))
        late = await wire.subscribe("docs", id="late")
        assert late.documents == view.documents
        assert sorted(document["n"] for document in view.documents.values()) == [1, 2]
        for document in view.documents.values():
            assert key_text(document["_id"]) in view.documents
        # An update is read by its key, and a delete takes one of the two.
        service.database.docs.update_many({}, {"$inc": {"n": 10}})
        await wire.when(lambda: sorted(document["n"] for document in view.documents.values()) == [11, 12])
        service.database.docs.delete_one({"n": 11})
        await wire.when(lambda: len(view.documents) == 1)
        assert [document["n"] for document in view.documents.values()] == [12]
        marked = keys.shown_key(one) if keys.shown_key(one) is not one else keys.shown_key(other)
        shown = json.loads(keys.identity(one if keys.shown_key(one) is not one else other))
        assert marked[keys.OPAQUE] == shown[keys.OPAQUE]
        assert stored.decode(base64.b64decode(shown[keys.OPAQUE]))
        for request in (
            {"type": "delete"},
            {"type": "update", "update": {"$set": {"a": 1}}},
            {"type": "replace", "document": {}},
        ):
            refused = await wire.ask(**request, collection="docs", key=shown)
            assert (refused["type"], refused["code"], refused["details"]) == (
                "error",
                "invalid_request",
                {"field": "key"},
            )
        assert not wire.of("resync")
        assert not wire.of("status")
    answer = await service.http.delete(service.path(f"/v1/collections/docs/documents/{json.dumps(shown)}"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_rows_of_groups_that_json_shows_alike_are_two(service: Service) -> None:
    async with wired(service.url) as wire:
        rows = await wire.subscribe("docs", group={"by": ["u"], "count": True})
        for value in (Broken("\udcff"), Broken("\udcfe"), UNDEFINED_VALUE, None):
            put(service, "docs", {"_id": ObjectId(), "u": value})
        await wire.when(lambda: sum(row["count"] for row in rows.documents.values()) == 4)
        assert [row["count"] for row in rows.documents.values()] == [1, 1, 1, 1]
        late = await wire.subscribe("docs", id="late", group={"by": ["u"], "count": True, "sum": []})
        assert late.documents.keys() == rows.documents.keys()
