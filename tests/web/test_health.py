"""Health that does not lie: silence by the cluster's clock, what `/readyz` says, what the driver was seen to do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.core.upstream.health import SILENT_SECONDS, FeedStatus, Instant
from realtime.operations.health import READY_GRACE_SECONDS, Health
from tests.access.issuer import key_address, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired


def health_of(service: Service) -> Health:
    health = service.realtime._health
    assert health is not None
    return health


async def samples(service: Service) -> dict[str, float]:
    """Every sample of /metrics, by name and the values of its labels."""
    text = (await service.http.get("/metrics")).text
    return {
        " ".join([one.name, *one.labels.values()]): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


class Clock:
    """The cluster's clock as a test sets it: so many seconds ahead of what is dispatched."""

    def __init__(self, service: Service, window: int | None = None) -> None:
        self.service, self.ahead, self.window = service, 0, window

    async def __call__(self) -> Instant | None:
        now = self.service.realtime.live().hub.time + (self.ahead << 32)
        return Instant(now, None if self.window is None else now - (self.window << 32))


async def test_a_stream_that_is_silent_while_the_clock_goes_on_is_degraded_and_still_ready(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    health, clock = health_of(service), Clock(service)
    health._clock = clock
    caplog.set_level(logging.INFO, "realtime.health")
    async with wired(service.url) as wire:
        for ahead in range(SILENT_SECONDS + 3):
            clock.ahead = ahead
            await health.measure()
        status = await wire.until(lambda frame: frame["type"] == "status")
        answer = await service.http.get("/readyz")
        figures = await samples(service)
        clock.ahead = 0
        await health.measure()
        back = await wire.until(lambda frame: frame["type"] == "status" and frame["feed"] == "up")
    assert status["feed"] == "degraded"
    assert "silent" in status["reason"]
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["feed"], body["lag_seconds"]) == ("ready", "degraded", SILENT_SECONDS + 2)
    assert "silent" in body["reason"]
    assert figures["realtime_lag_seconds"] == SILENT_SECONDS + 2
    assert figures["realtime_feed_up"] == 0
    assert "reason" not in back
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["degraded", "up again after 0 s"]


async def test_a_service_that_is_behind_but_moves_is_not_degraded(service: Service) -> None:
    health, clock = health_of(service), Clock(service)
    health._clock = clock
    for _ in range(4):
        clock.ahead = 60
        service.realtime.live().standing.stream = 0  # as if it had moved between two looks
        await health.measure()
    assert service.realtime.live().standing.lag == 60
    assert service.realtime.live().degraded is None


async def test_a_pipe_that_cannot_go_on_is_degraded_until_it_does(service: Service) -> None:
    health = health_of(service)
    async with wired(service.url) as wire:
        for reason in ("changes cannot be told: one", "changes cannot be told: two", None):
            health.stuck(reason)
            # The feed's own word for it, that it is up, is no contradiction.
            health.report(FeedStatus(up=True))
        await wire.when(lambda: len(wire.of("status")) == 2)
        told = wire.of("status")
        assert [status["feed"] for status in told] == ["degraded", "up"]
        assert told[0]["reason"] == "changes cannot be told: one"


async def test_30_s_of_degraded_are_ready_and_then_no_more(service: Service) -> None:
    health, clock = health_of(service), Clock(service)
    health._clock = clock
    clock.ahead = 100
    for _ in range(3):  # where it stands, that it stands, and that it still does
        await health.measure()
    began = health._degraded_at
    assert began is not None
    answers = []
    for passed in (0.0, READY_GRACE_SECONDS - 0.1, READY_GRACE_SECONDS):
        health.tick(began + passed)
        answers.append(await service.http.get("/readyz"))
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    problem = answers[-1].json()
    assert problem["code"] == "unavailable"
    assert problem["details"]["lag_seconds"] == 100


async def test_a_quarter_of_the_oplog_is_a_warning_once_and_half_of_it_an_error_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    health, clock = health_of(service), Clock(service, window=1000)
    health._clock = clock
    service.realtime.live().standing.began = 1  # the oplog has lost its first entry
    caplog.set_level(logging.INFO, "realtime.health")
    for ahead in (0, 200, 300, 400, 600, 700, 0, 0):
        clock.ahead = ahead
        service.realtime.live().standing.stream = 0
        await health.measure()
        if ahead == 700:
            left = (await samples(service))["realtime_oplog_left_seconds"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "INFO"]
    assert left == 300


async def test_the_real_clock_says_no_lag_and_the_oplogs_window(service: Service) -> None:
    await health_of(service).measure()
    body = (await service.http.get("/readyz")).json()
    assert body["feed"] == "up"
    assert 0 <= body["lag_seconds"] <= 2
    assert body["oplog_window_seconds"] >= 0
    assert body["oplog_left_seconds"] <= body["oplog_window_seconds"]
    assert body["draining"] is False


async def test_commands_and_connections_are_counted_by_the_driver(service: Service) -> None:
    before = await samples(service)
    for number in range(5):
        made = await service.http.post(service.documents, json={"_id": number})
        assert made.status_code == 201
    refused = await service.http.patch(f"{service.documents}/missing", json={"$set": {"a": 1}})
    assert refused.status_code == 404
    after = await samples(service)

    def grew(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grew("realtime_mongodb_command_seconds_count insert") == 5
    assert grew("realtime_mongodb_command_seconds_sum insert") > 0
    assert after["realtime_mongodb_connections requests"] >= 1
    assert 1 <= after["realtime_mongodb_connections feed"] <= 4
    assert after["realtime_mongodb_connections_busy requests"] >= 0
    # The feed's steps wait for news; that is no latency.
    assert (
        "realtime_mongodb_command_seconds_count getMore" not in after
        or grew("realtime_mongodb_command_seconds_count getMore") < 1
    )


async def test_the_outbox_and_the_journal_are_measured(service: Service) -> None:
    async with wired(service.url) as wire:
        await wire.subscribe("orders")
        sink = next(iter(service.realtime.live().connections)).sink
        health_of(service).tick(0.0)
        assert (await samples(service))["realtime_outbox_bytes"] == 0
        transport: Any = sink
        transport.pause()
        for _ in range(3):
            sink.send(b'{"type":"nothing","text":"' + b"x" * 2000 + b'"}')
        health_of(service).tick(0.0)
        figures = await samples(service)
        transport.resume()
    assert figures["realtime_outbox_bytes"] >= 5000
    assert figures["realtime_journal_seconds"] >= 0


async def test_how_old_the_keys_are_is_told_where_they_are_fetched(replica_set: ReplicaSet) -> None:
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        async with serving(replica_set, auth="jwt", jwks_url=address.url, feed_await_ms=100) as service:
            async with asyncio.timeout(20):
                while (told := (await service.http.get("/readyz")).json())["keys_age_seconds"] is None:
                    await asyncio.sleep(0.02)
            assert told["keys_age_seconds"] < 20
            assert "realtime_jwks_fetched_timestamp_seconds 0.0" not in (await service.http.get("/metrics")).text


async def test_one_that_is_too_far_behind_is_degraded_unready_and_takes_no_new_queries(service: Service) -> None:
    """As a node that follows a relay may be: what it read would be void before it came to it."""
    clock = Clock(service)
    feed = service.realtime._feed
    assert feed is not None
    health = Health(service.realtime.live(), feed, clock, most_behind=240)
    service.realtime._health = health
    async with wired(service.url) as wire:
        clock.ahead = 240
        await health.measure()
        assert (await service.http.get("/readyz")).status_code == 200
        clock.ahead = 241
        await health.measure()
        health.tick(asyncio.get_running_loop().time())
        status = await wire.until(lambda frame: frame["type"] == "status")
        assert "241 s behind" in status["reason"]
        assert (await service.http.get("/readyz")).status_code == 503
        refused = await wire.ask(type="subscribe", collection="orders")
        assert (refused["code"], refused["retry"]) == ("unavailable", True)
        clock.ahead = 1
        await health.measure()
        health.tick(asyncio.get_running_loop().time())
        await wire.until(lambda frame: frame["type"] == "status" and frame["feed"] == "up")
        assert (await service.http.get("/readyz")).status_code == 200


async def test_without_its_relay_a_node_is_ready_until_nothing_can_be_read_and_mongodb_counts_as_ever(
    service: Service,
) -> None:
    """All nodes are late together then, and a balancer would have none."""
    answers = True

    async def clock() -> Instant | None:
        return Instant(service.realtime.live().hub.time, None) if answers else None

    feed = service.realtime._feed
    assert feed is not None
    service.realtime._health = None
    health = Health(service.realtime.live(), feed, clock, most_behind=240)

    def ready(passed: float) -> bool:
        assert health._degraded_at is not None
        health.tick(health._degraded_at + passed)
        return service.realtime.live().ready

    health.report(FeedStatus(up=False, reason="the relay publishes nothing"))
    await health.measure()
    assert [ready(passed) for passed in (0, READY_GRACE_SECONDS + 1, 239, 240)] == [True, True, True, False]
    health.stuck("changes cannot be told")
    assert [ready(passed) for passed in (READY_GRACE_SECONDS - 1, READY_GRACE_SECONDS)] == [True, False]
    health.stuck(None)
    answers = False
    await health.measure()
    assert health._unanswered is not None
    since = health._unanswered - (health._degraded_at or 0)
    assert [ready(since + passed) for passed in (READY_GRACE_SECONDS - 1, READY_GRACE_SECONDS)] == [True, False]
    answers = True
    await health.measure()
    assert ready(READY_GRACE_SECONDS + 1)
