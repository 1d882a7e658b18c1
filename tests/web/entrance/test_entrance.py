"""Who is let in: host and origin, loopback, read-only."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from realtime.errors import ConfigurationError
from realtime.settings import load
from tests.access.issuer import SECRET
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired

FOREIGN = ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://localhost:1", "file://"]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_page_of_another_origin_is_refused_before_the_accept(service: Service, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with wired(service.url, additional_headers={"Origin": origin}):
            pass
    assert refused.value.response.status_code == 403
    answer = await service.http.post(service.documents, json={"_id": 1}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert service.database.orders.count_documents({}) == 0


async def test_a_page_of_this_origin_and_a_program_without_one_are_let_in(service: Service) -> None:
    async with wired(service.url, additional_headers={"Origin": service.url}) as wire:
        assert wire.frames[0]["type"] == "welcome"
    answer = await service.http.post(service.documents, json={"_id": 1}, headers={"Origin": service.url})
    assert answer.status_code == 201


async def test_the_scheme_is_part_of_the_origin(service: Service) -> None:
    """A page that came by http, and so from anybody on the way, used the service of the same name and port by https."""
    other = service.url.replace("http:", "https:")
    with pytest.raises(InvalidStatus) as refused:
        async with wired(service.url, additional_headers={"Origin": other}):
            pass
    assert refused.value.response.status_code == 403
    answer = await service.http.post(service.documents, json={"_id": 1}, headers={"Origin": other})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "REALTIME_TRUSTED_PROXIES" in answer.json()["detail"]
    # Whom nobody trusts says nothing of how a request came.
    forged = {"Origin": other, "X-Forwarded-Proto": "https"}
    assert (await service.http.get(service.documents, headers=forged)).status_code == 403
    asked = await service.http.get(service.path("/v1/ws"), params={"origin": other})
    assert asked.status_code == 403
    assert service.database.orders.count_documents({}) == 0


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost", "localhost:8443"])
async def test_behind_a_trusted_proxy_the_origin_is_as_the_proxy_saw_it(replica_set: ReplicaSet, host: str) -> None:
    async with serving(replica_set, feed_await_ms=100, trusted_proxies="127.0.0.1") as service:
        name = host.format(port=service.url.rsplit(":", 1)[1])
        by_tls = {"Host": name, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
        found = {}
        for scheme in ("https", "http"):
            headers = {**by_tls, "Origin": f"{scheme}://{name}"}
            found[scheme] = (await service.http.get(service.documents, headers=headers)).status_code
        assert found == {"https": 200, "http": 403}
        line = {"X-Forwarded-Proto": "https", "Origin": service.url.replace("http:", "https:")}
        async with wired(service.url, additional_headers=line) as wire:
            assert wire.frames[0]["type"] == "welcome"


async def test_a_foreign_name_for_this_machine_is_refused(service: Service) -> None:
    """DNS rebinding: the page's origin and the host agree, and are both the attacker's."""
    headers = {"Host": "rebound.example", "Origin": "http://rebound.example"}
    port = int(service.url.rsplit(":", 1)[1])
    for path in ("/", "/v1/collections", "/readyz"):
        answer = await service.http.get(path, headers=headers)
        assert (answer.status_code, "REALTIME_ALLOWED_HOSTS" in answer.text) == (403, True)
    with pytest.raises(InvalidStatus) as refused:
        async with wired(service.url.replace("127.0.0.1", "rebound.example"), host="127.0.0.1", port=port):
            pass
    assert refused.value.response.status_code == 403


SLASHES = ("/v1/collections/", "/openapi.json/?x=1", "/docs/", "/readyz//", "/realtime.js/")


async def test_a_slash_at_the_end_is_another_path_and_moves_nobody_to_the_host_that_was_named(service: Service) -> None:
    """It was the framework's own redirect, which came before any check, with whatever host was named."""
    for path in SLASHES:
        for method in ("GET", "POST", "OPTIONS"):
            here = await service.http.request(method, path)
            foreign = await service.http.request(method, path, headers={"Host": "rebound.example"})
            assert (here.status_code, here.json()["code"]) == (404, "not_found"), (method, path)
            assert (foreign.status_code, "location" in foreign.headers) == (403, False), (method, path)
    nothing = await service.http.get("/nothing/", headers={"Host": "rebound.example"})
    assert (nothing.status_code, "location" in nothing.headers) == (404, False)  # none of ours, and nothing to guard
    asked = {"Access-Control-Request-Method": "GET", "Origin": service.url}
    assert (await service.http.options("/v1/collections/", headers=asked)).status_code == 404


async def test_a_slash_at_the_end_says_nothing_of_who_may_ask(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100, auth="jwt", jwt_secret=SECRET) as service:
        here = await service.http.get("/v1/collections/")
        foreign = await service.http.get("/v1/collections/", headers={"Host": "rebound.example"})
        assert (await service.http.get("/v1/collections")).status_code == 401
    assert (here.status_code, foreign.status_code) == (404, 403)


async def test_two_hosts_are_refused_because_either_could_be_meant(service: Service) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with wired(service.url, additional_headers={"Host": "rebound.example"}):
            pass
    assert refused.value.response.status_code == 403


async def test_listed_origins_and_hosts_are_let_in(replica_set: ReplicaSet) -> None:
    listed = {"allowed_origins": "https://app.example, https://b.example", "allowed_hosts": "live.example"}
    async with serving(replica_set, feed_await_ms=100, **listed) as service:
        async with wired(service.url, additional_headers={"Origin": "https://b.example"}) as wire:
            assert wire.frames[0]["type"] == "welcome"
        answer = await service.http.get("/v1/collections", headers={"Host": "live.example"})
    assert answer.status_code == 200


def test_another_address_than_loopback_needs_insecure() -> None:
    with pytest.raises(ConfigurationError, match="--insecure"):
        load(host="0.0.0.0")
    assert load(host="0.0.0.0", insecure=True).insecure
    assert [load(host=host).host for host in ("127.0.0.1", "::1", "localhost")] == ["127.0.0.1", "::1", "localhost"]


async def test_read_only_refuses_every_write_and_serves_every_read(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, read_only=True, feed_await_ms=100) as service:
        service.database.orders.insert_one({"_id": "a"})
        path = f"{service.documents}/a"
        refused = [
            await service.http.post(service.documents, json={}),
            await service.http.put(path, json={}),
            await service.http.patch(path, json={"$set": {"a": 1}}),
            await service.http.delete(path),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(403, "forbidden")}
        assert (await service.http.get(path)).status_code == 200
        async with wired(service.url) as wire:
            view = await wire.subscribe("orders")
            answers = [
                await wire.ask(type="insert", collection="orders", document={}),
                await wire.ask(type="update", collection="orders", key="a", update={"$set": {"a": 1}}),
                await wire.ask(type="replace", collection="orders", key="a", document={}),
                await wire.ask(type="delete", collection="orders", key="a"),
            ]
        assert [answer["code"] for answer in answers] == ["forbidden"] * 4
        assert list(view.documents) == ['"a"']
        assert list(service.database.orders.find()) == [{"_id": "a"}]


async def test_the_page_may_run_nothing_but_its_own_files(service: Service) -> None:
    answer = await service.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/static/nothing.js"):
        assert (await service.http.get(path)).status_code == 404
