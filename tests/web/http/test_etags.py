"""`If-Match` and `If-None-Match`: decided in one transaction with the write."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

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


@pytest.mark.parametrize("given", ["x", '"x', 'x"', '"a" "b"', '"a" x', '*, "a"', 'w/"a"', ",".join(['"a"'] * 101)])
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
    """On connections that are open already, so that they do arrive together; five rounds."""
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    path = f"{service.documents}/a"
    async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=30) as http:
        for round_number in range(5):
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
