"""`If-Match` and `If-None-Match`: decided in one transaction with the write."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import httpx
import pytest

from realtime.web.http.etags import etag
from tests.serving import Service

WRITES: list[tuple[str, dict[str, Any]]] = [("PUT", {"n": 2}), ("PATCH", {"$set": {"n": 2}}), ("DELETE", {})]
METHODS = pytest.mark.parametrize(("method", "body"), WRITES, ids=[method for method, _ in WRITES])


async def write(service: Service, method: str, body: dict[str, Any], query: str = "", **headers: str) -> Any:
    """A write to the document `a`; header names with `_` for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    options: dict[str, Any] = {} if method == "DELETE" else {"json": body}
    return await service.http.request(method, f"{service.documents}/a{query}", headers=given, **options)


async def tag(service: Service) -> str:
    return str((await service.http.get(f"{service.documents}/a")).headers["etag"])


@METHODS
async def test_the_tag_of_what_was_read_lets_one_write_through(
    service: Service, method: str, body: dict[str, Any]
) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    current = await tag(service)
    first = await write(service, method, body, If_Match=f'"other", {current}')
    assert first.status_code == 200, first.text
    after = service.database.orders.find_one()
    second = await write(service, method, body, If_Match=current)
    assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    assert service.database.orders.find_one() == after
    assert after == (None if method == "DELETE" else {"_id": "a", "n": 2})


@METHODS
@pytest.mark.parametrize("given", ['"other"', "weak", '""'])
async def test_another_tag_and_a_weak_one_write_nothing(
    service: Service, method: str, body: dict[str, Any], given: str
) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    shown = f"W/{await tag(service)}" if given == "weak" else given
    answer = await write(service, method, body, If_Match=shown)
    assert answer.status_code == 412
    assert service.database.orders.find_one() == {"_id": "a", "n": 1}


@METHODS
async def test_a_star_matches_whatever_is_there_and_nothing_that_is_not(
    service: Service, method: str, body: dict[str, Any]
) -> None:
    missing = await write(service, method, body, If_Match="*")
    tagged = await write(service, method, body, If_Match='"x"')
    assert (missing.status_code, tagged.status_code) == (412, 412)
    if method != "DELETE":
        upsert = await write(service, method, body, "?upsert=true", If_Match="*")
        assert upsert.status_code == 412
    assert service.database.orders.count_documents({}) == 0
    service.database.orders.insert_one({"_id": "a", "n": 1})
    assert (await write(service, method, body, If_Match="*")).status_code == 200


async def test_if_none_match_star_makes_and_never_overwrites(service: Service) -> None:
    made = await write(service, "PUT", {"n": 1}, "?upsert=true", If_None_Match="*")
    again = await write(service, "PUT", {"n": 2}, "?upsert=true", If_None_Match="*")
    assert (made.status_code, again.status_code) == (201, 412)
    assert service.database.orders.find_one() == {"_id": "a", "n": 1}


@pytest.mark.parametrize(
    "given", ["x", ",", ",,", "*,", '"a",x', '"x', 'x"', '"a" "b"', '"a" x', '*, "a"', 'w/"a"', ",".join(['"a"'] * 101)]
)
async def test_what_is_no_list_of_tags_is_refused_by_header(service: Service, given: str) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    answer = await write(service, "PUT", {"n": 2}, If_Match=given)
    assert (answer.status_code, answer.json()["details"]) == (422, {"field": "If-Match"})
    assert service.database.orders.find_one() == {"_id": "a", "n": 1}


async def test_a_reader_that_holds_the_document_gets_304_and_no_body(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    current = await tag(service)
    path = f"{service.documents}/a"
    for given in (current, f"W/{current}", f'"x", {current}', "*"):
        answer = await service.http.get(path, headers={"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", current)
    service.database.orders.update_one({}, {"$set": {"n": 2}})
    assert (await service.http.get(path, headers={"If-None-Match": current})).json()["n"] == 2


async def test_50_parallel_puts_with_one_tag_are_one_200_and_49_times_412(service: Service) -> None:
    """On connections that are open already, so that they do arrive together; two rounds."""
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    path = f"{service.documents}/a"
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=30) as http:
        for round_number in range(2):
            service.database.orders.replace_one({"_id": "a"}, {"n": -round_number}, upsert=True)
            found = await asyncio.gather(*(http.get(path) for _ in range(50)))
            (current,) = {answer.headers["etag"] for answer in found}
            answers = await asyncio.gather(
                *(http.put(path, json={"n": number}, headers={"If-Match": current}) for number in range(1, 51))
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * 49
            winner = next(number for number, answer in enumerate(answers, 1) if answer.status_code == 200)
            assert service.database.orders.find_one() == {"_id": "a", "n": winner}


async def test_increments_by_read_and_if_match_lose_none(service: Service) -> None:
    """Ten writers that read, add one and write with the tag they read, until each has written three times."""
    service.database.orders.insert_one({"_id": "a", "n": 0})

    async def add() -> int:
        tries = 0
        while True:
            tries += 1
            found = await service.http.get(f"{service.documents}/a")
            body = {"n": found.json()["n"] + 1}
            if (await write(service, "PUT", body, If_Match=found.headers["etag"])).status_code == 200:
                return tries

    tries = [await asyncio.gather(*(add() for _ in range(10))) for _ in range(3)]
    assert service.database.orders.find_one() == {"_id": "a", "n": 30}
    assert sum(map(sum, tries)) > 30


# ------------------------------------------------------------------------------------------------ the tag of a write


def tag_of(document: dict[str, Any]) -> str:
    """The tag of a document by what is stored."""
    return etag(bson.encode(document))


async def test_put_and_patch_answer_the_tag_that_a_read_would(service: Service) -> None:
    path = f"{service.documents}/a"
    for method, query, body in (
        ("PUT", "?upsert=true", {"n": 1}),
        ("PUT", "", {"n": 2, "at": {"$timestamp": {"t": 0, "i": 0}}}),  # which MongoDB fills in
        ("PUT", "?upsert=true", {"n": 2}),
        ("PATCH", "", {"$inc": {"n": 1}}),
        ("PATCH", "?upsert=true", {"$unset": {"n": 1}}),
        ("PATCH", "", {"$set": {"n": 1.0}}),
        ("PATCH", "", {"$set": {"n": 1.0}}),
    ):
        answer = await service.http.request(method, f"{path}{query}", json=body)
        assert answer.status_code in (200, 201), answer.text
        assert answer.headers["etag"] == await tag(service), (method, body)
        again = await write(service, "PUT", {"n": 7}, If_Match=answer.headers["etag"])
        assert again.status_code == 200
        assert again.headers["etag"] == tag_of({"_id": "a", "n": 7})
        service.database.orders.update_one({}, {"$set": {"n": 1}})


async def test_the_tag_of_a_write_is_of_that_write_and_of_none_that_came_after(service: Service) -> None:
    """Each of 40 increments at once has left another document."""
    service.database.orders.insert_one({"_id": "a", "n": 0})
    answers = await asyncio.gather(*(write(service, "PATCH", {"$inc": {"n": 1}}) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    tags = [answer.headers["etag"] for answer in answers]
    assert sorted(tags) == sorted(tag_of({"_id": "a", "n": n}) for n in range(1, 41))


async def test_of_parallel_upserts_one_makes_the_document_and_says_so(service: Service) -> None:
    bodies = [{"n": n} for n in range(20)]
    answers = await asyncio.gather(*(write(service, "PUT", body, "?upsert=true") for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert [answer.headers["etag"] for answer in answers] == [tag_of({"_id": "a", **body}) for body in bodies]


async def test_modified_says_whether_anything_changed(service: Service) -> None:
    service.database.orders.insert_one({"_id": 7.0, "n": 1})
    path = f"{service.documents}/%7B%22$numberInt%22:%227%22%7D"
    for method, body, modified in (
        ("PATCH", {"$set": {"n": 1}}, 0),
        ("PATCH", {"$set": {"n": 2}}, 1),
        ("PUT", {"n": 2}, 1),  # MongoDB takes the key as it is given, an integer
        ("PUT", {"n": 2}, 0),
        ("PUT", {"n": 3}, 1),
    ):
        answer = await service.http.request(method, path, json=body)
        assert (answer.json()["matched"], answer.json()["modified"]) == (1, modified), (method, body)
        # The key as it is stored, which is not as it was asked for.
        assert answer.headers["etag"] == (await service.http.get(path)).headers["etag"]


async def test_a_capped_collection_is_upserted_into_as_well(service: Service) -> None:
    """Where MongoDB allows no transaction there is no telling what became of the document: no tag."""
    service.database.create_collection("orders", capped=True, size=100_000)
    made = await write(service, "PUT", {"n": 1}, "?upsert=true")
    changed = await write(service, "PATCH", {"$set": {"n": 2}})
    assert (made.status_code, "etag" in made.headers) == (201, False)
    assert (changed.status_code, changed.headers["etag"]) == (200, tag_of({"_id": "a", "n": 2}))


LEGAL = ['"x",,{}', ",{}", "{},", ",\t,{} ,", '"x", ,\t{}', 'W/"x",{}', '"a,b",{}', '",",{}']


@pytest.mark.parametrize("given", LEGAL)
async def test_empty_elements_of_a_list_of_tags_count_for_nothing(service: Service, given: str) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    answer = await write(service, "PUT", {"n": 2}, If_Match=given.format(await tag(service)))
    assert answer.status_code == 200, answer.text
    unchanged = {"If-None-Match": given.format(answer.headers["etag"])}
    assert (await service.http.get(f"{service.documents}/a", headers=unchanged)).status_code == 304
