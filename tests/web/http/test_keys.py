"""Each key has one path, which leads to it alone, or has none and says so."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from bson.code import Code
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime.core.bson import ejson, stored
from realtime.core.bson.stored import Broken, Pointer, Repeated, Symbol
from realtime.core.bson.values import order
from realtime.errors import InvalidRequestError
from realtime.web.entrance.paths import PATH_BYTES
from realtime.web.http.keys import key_of, key_text
from tests.serving import Service
from tests.web.http.odd_keys import HARD, SEED, key

SEVERAL = 8
"""Requests at a time."""


async def inserted(service: Service, keys: Sequence[Any]) -> dict[int, str]:
    """Each key's place in the list with the `Location` of its document; a key that is there already has none."""
    waiting = asyncio.Semaphore(SEVERAL)

    async def insert(place: int, value: Any) -> tuple[int, httpx.Response]:
        async with waiting:
            body = ejson.encode({"_id": value, "n": place})
            return place, await service.http.post(service.documents, content=body)

    answers = await asyncio.gather(*(insert(place, value) for place, value in enumerate(keys)))
    bad = {place: answer.text for place, answer in answers if answer.status_code not in (201, 409)}
    assert bad == {}, [keys[place] for place in bad]
    return {place: answer.headers["location"] for place, answer in answers if answer.status_code == 201}


async def found(service: Service, locations: dict[int, str]) -> dict[int, Any]:
    """What each `Location` leads to: the field `n`, or the whole answer where there is none."""
    waiting = asyncio.Semaphore(SEVERAL)

    async def get(place: int, path: str) -> tuple[int, Any]:
        async with waiting:
            answer = await service.http.get(path)
            return place, answer.json().get("n", answer.text)

    return dict(await asyncio.gather(*(get(place, path) for place, path in locations.items())))


@pytest.mark.parametrize(
    "many", [100, *(pytest.param(more, marks=pytest.mark.long("many more")) for more in (400, 2000))]
)
async def test_keys_by_chance_and_the_hard_ones_there_and_back(service: Service, many: int) -> None:
    """A tenth of them by `POST`, whose `Location` is the path that all others are given here."""
    chance = random.Random(SEED)
    keys = [*HARD, *(key(chance) for _ in range(many))]
    posted = len(HARD) + many // 10
    locations = await inserted(service, keys[:posted])
    assert locations == {place: f"{service.documents}/{key_text(keys[place])}" for place in locations}
    raw = [RawBSONDocument(stored.encode({"_id": keys[place], "n": place})) for place in range(posted, len(keys))]
    with pytest.raises(BulkWriteError) as some_twice:  # None, MinKey and so on
        service.database.orders.insert_many(raw, ordered=False)
    twice = {posted + error["index"]: error["code"] for error in some_twice.value.details["writeErrors"]}
    assert set(twice.values()) == {11000}
    rest = [place for place in range(posted, len(keys)) if place not in twice]
    locations |= {place: f"{service.documents}/{key_text(keys[place])}" for place in rest}
    assert len(set(locations.values())) == len(locations) > many * 0.75, f"REALTIME_TEST_SEED={SEED}"
    lost = {place: n for place, n in (await found(service, locations)).items() if n != place}
    assert lost == {}, f"REALTIME_TEST_SEED={SEED}: {[(keys[place], locations[place]) for place in lost]}"


def test_a_keys_text_is_read_back_and_no_two_have_one() -> None:
    chance = random.Random(SEED)
    keys = [*HARD, *(key(chance) for _ in range(5000))]
    texts: dict[str, Any] = {}
    for one in keys:
        text = key_text(one)
        assert text is not None, one
        assert text.isascii()
        assert not set(text) & set("/\\?#"), text
        again = texts.setdefault(text, one)
        assert order(again) == order(one), f"REALTIME_TEST_SEED={SEED}: {again!r} and {one!r} are both {text}"
    assert len(texts) > 3000


# -------------------------------------------------------------------------------------------------- what was seen

OTHERS = ["abc", "", "a", "new", "abc\n", "%0A"]
NEWLINES = [("abc%0A", "abc\n"), ("%0A", "\n"), ("a%0Ab", "a\nb"), ("abc%0D%0A", "abc\r\n"), ("abc%0A%0A", "abc\n\n")]


@pytest.mark.parametrize(("component", "meant"), NEWLINES, ids=[component for component, _ in NEWLINES])
async def test_a_newline_is_part_of_the_key(service: Service, component: str, meant: str) -> None:
    """PUT, PATCH and DELETE at `abc%0A` changed or deleted the document `abc`; `%0A` reached the empty string."""
    others = [{"_id": other, "n": 1} for other in OTHERS if other != meant]
    service.database.orders.insert_many(others)
    path = f"{service.documents}/{component}"
    writes: list[tuple[str, dict[str, Any]]] = [
        ("GET", {}),
        ("PUT", {"json": {"n": 2}}),
        ("PATCH", {"json": {"$set": {"n": 2}}}),
        ("DELETE", {}),
    ]
    missing = [(await service.http.request(method, path, **options)).status_code for method, options in writes]
    made = await service.http.put(f"{path}?upsert=true", json={"n": 3})
    there = [(await service.http.request(method, path, **options)).status_code for method, options in writes]
    assert (missing, made.status_code, there) == ([404] * 4, 201, [200] * 4)
    assert made.json()["key"] == meant
    assert sorted(service.database.orders.find(), key=str) == sorted(others, key=str)


async def test_no_path_that_ends_with_a_newline_is_one_without(service: Service) -> None:
    service.database.orders.insert_one({"_id": 1})
    paths = [service.documents, service.path("/v1/collections"), service.path("/healthz"), service.path("/readyz")]
    answers = [await service.http.get(f"{path}%0A") for path in paths]
    assert [answer.status_code for answer in answers] == [404] * 4
    lost = await service.http.post(f"{service.documents}%0A", json={"_id": 2})
    assert (lost.status_code, service.database.orders.count_documents({})) == (404, 1)


async def test_no_route_at_all_is_matched_by_a_path_that_ends_with_a_newline(service: Service) -> None:
    """Whatever comes later too: FastAPI's own and ours; a key may end with one, and a collection's name."""
    fixed = {path for path in service.app.openapi()["paths"] if "{" not in path}
    own = {"/", "/docs", "/openapi.json", "/v1/ws"}
    for path in sorted(fixed | own):
        there = await service.http.head(service.path(path), follow_redirects=False)
        assert there.status_code != 404, path
        missing = await service.http.get(f"{service.path(path)}%0A", follow_redirects=False)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found"), path


async def test_a_socket_is_not_opened_at_a_path_that_ends_with_a_newline(service: Service) -> None:
    """It was: the framework made its route anew, and matched it by an expression that ends before a newline."""
    url = f"{service.url.replace('http', 'ws', 1)}/v1/ws"
    async with connect(url) as socket:
        assert "welcome" in str(await socket.recv())
    for ending in ("%0A", "%0a", "%0A%0A", "/%0A"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{url}{ending}"):
                pass
        assert refused.value.response.status_code == 404, ending
        assert json.loads(refused.value.response.body)["code"] == "not_found"


async def test_code_is_not_the_text_that_it_holds(service: Service) -> None:
    places = await inserted(service, ["f()", Code("f()"), Code("f()", {}), Code("f()", {"a": 1}), {"$code": "x"}])
    assert await found(service, places) == {place: place for place in range(5)}
    assert len(set(places.values())) == 5


async def test_no_key_at_all_is_not_the_empty_one(service: Service) -> None:
    (place,) = (await inserted(service, [""])).values()
    assert place == f"{service.documents}/%22%22"
    for method in ("GET", "DELETE"):
        answer = await service.http.request(method, f"{service.documents}/")
        assert (answer.status_code, "%22%22" in answer.json()["detail"]) == (422, True)
    assert (await service.http.delete(place)).status_code == 200


async def test_bytes_that_are_no_utf_8_are_no_key(service: Service) -> None:
    service.database.orders.insert_many([{"_id": "\ufffd"}, {"_id": "a\ufffd"}])
    for component in ("%FF", "a%FF", "%C3", "%ED%A0%80", "a%ED%A0%8A"):
        answer = await service.http.delete(f"{service.documents}/{component}")
        assert (answer.status_code, "UTF-8" in answer.json()["detail"]) == (422, True), component
    assert service.database.orders.count_documents({}) == 2


async def test_what_spells_a_key_otherwise_leads_to_it_and_to_no_other(service: Service) -> None:
    spelled = {
        "abc": ["%61bc", "%22abc%22", "%22\\u0061bc%22"],
        "a/b": ["a/b", "a%2Fb", "a%2fb", "%22a/b%22"],
        "%2F": ["%252F", "%252f"[:-1] + "F"],
        7: ["%7B%22$numberInt%22:%227%22%7D", '%7B "$numberDouble" : "7.0" %7D', "%7B%22$numberLong%22:%227%22%7D"],
    }
    service.database.orders.insert_many({"_id": one, "n": str(one)} for one in [*spelled, "7", "a", "b", "/"])
    for one, components in spelled.items():
        for component in components:
            answer = await service.http.get(f"{service.documents}/{component}")
            assert (answer.status_code, answer.json().get("n")) == (200, str(one)), component


# ------------------------------------------------------------------------------------------------------ none, and why


async def test_a_key_that_json_cannot_say_has_no_path_and_says_so(service: Service) -> None:
    pointer = Pointer("a", ObjectId("5" * 24))
    odd = [Broken("\udcff"), Symbol("a"), pointer, {"a": Symbol("b")}, Repeated([("a", 1), ("a", 2)])]
    for place, one in enumerate(odd):
        service.database.orders.insert_one(RawBSONDocument(stored.encode({"_id": one, "n": place})))
    listed = (await service.http.get(service.documents)).json()["documents"]
    assert len(listed) == len(odd)
    for document in listed:
        assert "$opaque" in document["_id"]
        answer = await service.http.get(f"{service.documents}/{quote(json.dumps(document['_id']), safe='')}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert "has no path" in answer.json()["detail"]
    assert [key_text(one) for one in odd] == [None] * len(odd)


async def test_a_key_too_long_for_a_path_says_so_in_place_of_a_location(service: Service) -> None:
    long, longest = "x" * (PATH_BYTES + 1), "x" * (PATH_BYTES - len(service.documents) - 1)
    made = await service.http.post(service.documents, json={"_id": long})
    assert (made.status_code, "location" in made.headers) == (201, False)
    assert f"longer than {PATH_BYTES} bytes" in made.json()["no_location"]
    just = await service.http.post(service.documents, json={"_id": longest})
    assert "no_location" not in just.json()
    assert (await service.http.get(just.headers["location"])).json() == {"_id": longest}


def test_the_mark_of_true_false_and_null_is_of_nothing_else() -> None:
    assert [key_of(f'{{"$literal":{one}}}') for one in ("true", "false", "null")] == [True, False, None]
    assert [key_of(one) for one in ("true", "false", "null")] == ["true", "false", "null"]
    for given in (
        '{"$literal":7}',
        '{"$literal":1}',
        '{"$literal":"true"}',
        '{"$literal":true,"a":1}',
        '{"$literal":{}}',
    ):
        with pytest.raises(InvalidRequestError, match="true, false and null alone"):
            key_of(given)
