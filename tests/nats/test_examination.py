"""Two users on a real server with TLS: each may what it needs, and the doctor finds what else it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from realtime.core.relay.diagnosis import diagnose
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import Message, pack
from realtime.core.relay.permissions import forbidden, needed, users
from realtime.core.upstream.diagnosis import Finding
from realtime.nats import stream
from realtime.nats.access import Access, access_of
from realtime.nats.connection import close, connect
from realtime.nats.examination import examine
from realtime.nats.follower import Follower
from realtime.nats.lease import Lease
from realtime.nats.needs import Needs, say
from realtime.nats.publisher import Publisher
from realtime.nats.stream import Limits, UnansweredError
from realtime.settings import load
from tests.nats.certificates import Authority
from tests.nats.servers import one
from tests.nats_server import NatsServer

IDENTITY = Identity("0123ABCD", "shop", "rs0")
LIMITS = Limits(max_bytes=128 << 20, max_age=3600)
RELAY, NODE = 'user: relay, password: "r3lay"', 'user: node, password: "n0de"'


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server with TLS and both users, and how each of them gets there."""

    relay: Access
    node: Access


@asynccontextmanager
async def guarded(folder: Path, config: str) -> AsyncIterator[Guarded]:
    authority = Authority(folder / "ca")
    chain, key = authority.signed("server")
    tls = f'tls {{ cert_file: "{chain}", key_file: "{key}" }}'
    async with one(folder / "server", f"{tls}\nauthorization {{\n{config}\n}}") as server:

        def access(user: str) -> Access:
            return access_of(load(nats=f"tls://{user}@localhost:{server.port}", nats_ca=authority.ca))

        yield Guarded(access("relay:r3lay"), access("node:n0de"))


async def published(access: Access, seconds: int) -> None:
    """What a relay does: stream, buckets, lease, one message."""
    connection = await connect(access, "relay")
    try:
        await stream.ensure(connection, IDENTITY, LIMITS)
        lease, needs = Lease(IDENTITY, "one", 1), Needs(IDENTITY, lambda: 0.0)
        await lease.prepare(connection)
        await needs.prepare(connection, 1)
        await needs.listen(connection)
        assert await lease.take(connection)
        assert not await Lease(IDENTITY, "two", 1).take(connection)
        publisher = Publisher(access, IDENTITY, LIMITS, None)
        work = asyncio.create_task(publisher.run())
        await publisher.put(seconds << 32, pack(Message(seconds << 32), IDENTITY.epoch), lost=False)
        await asyncio.wait_for(publisher.drained(), 20)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await lease.release(connection)
    finally:
        await close(connection)


def found(findings: list[Finding], check: str) -> Finding:
    matching = [one for one in findings if one.check == check]
    assert len(matching) == 1, findings
    return matching[0]


async def followed(access: Access) -> int:
    """What a node does: looks, reads, follows, says what it needs; the time of the first message."""
    connection = await connect(access, "node")
    try:
        state = await stream.look(connection, IDENTITY)
        assert state is not None
        assert await stream.last(connection, IDENTITY, state) is not None
        await say(connection, IDENTITY, "node-1", ["orders"])
        follower = Follower(connection, IDENTITY, state.first)
        await follower.open()
        async with asyncio.timeout(20):
            while (stored := await follower.next()) is None:
                pass
        return stored.head.time
    finally:
        await close(connection)


async def test_each_user_may_what_it_needs_and_a_node_is_refused_all_else(tmp_path: Path) -> None:
    now = int(time.time())
    async with guarded(tmp_path, users(IDENTITY, RELAY, NODE)) as nats:
        await published(nats.relay, now)
        assert await followed(nats.node) == now << 32
        facts = await examine(nats.node, IDENTITY)
        assert (facts.allowed, facts.refused) == ([], [])
        findings = diagnose(facts)
        assert {one.check for one in findings if one.level != "ok"} == {"replicas"}
        assert found(findings, "nats rights").text == "what a node must not do is refused"
        assert found(findings, "stream").text.endswith(" s ago")
        relays = diagnose(await examine(nats.relay, IDENTITY, node=False))
        assert {one.check for one in relays if one.level != "ok"} == {"replicas"}
        # What was tried changed nothing.
        assert await followed(nats.node) == now << 32


async def test_a_user_who_may_everything_is_told_all_that_a_node_must_not(tmp_path: Path) -> None:
    open_to_all = f"users: [ {{ {RELAY} }}, {{ {NODE} }} ]"
    async with guarded(tmp_path, open_to_all) as nats:
        await published(nats.relay, int(time.time()))
        before = await examine(nats.node, IDENTITY)
        assert before.allowed == [probe.name for probe in forbidden(IDENTITY)]
        assert len(before.allowed) >= 11
        finding = found(diagnose(before), "nats rights")
        assert (finding.level, "docs/scaling.md#two-users" in finding.mend) == ("error", True)
        assert before.stream is not None
        # Allowed, and nothing happened for all that.
        after = await examine(nats.node, IDENTITY)
        assert after.stream is not None
        assert after.stream["state"] == before.stream["state"]
        assert after.stream["state"]["messages"] == 1
        relays = found(diagnose(await examine(nats.relay, IDENTITY, node=False)), "nats rights")
        assert (relays.level, "purge" in relays.text) == ("warning", True)


async def test_a_user_who_may_nothing_is_told_what_a_node_needs(tmp_path: Path) -> None:
    nothing = f'users: [ {{ {RELAY} }}, {{ {NODE}, permissions: {{ publish: "nothing", subscribe: "_INBOX.>" }} }} ]'
    async with guarded(tmp_path, nothing) as nats:
        await published(nats.relay, int(time.time()))
        facts = await examine(nats.node, IDENTITY)
        assert (facts.allowed, facts.refused) == ([], [probe.name for probe in needed(IDENTITY)])
        findings = diagnose(facts)
        assert found(findings, "nats needs").level == "error"
        unseen = found(findings, "stream")
        assert (unseen.level, "this user may not look at it" in unseen.text) == ("error", True)
        assert "docs/scaling.md#two-users" in unseen.mend


async def test_without_a_stream_and_without_a_server_that_is_the_finding(tmp_path: Path) -> None:
    async with guarded(tmp_path, users(IDENTITY, RELAY, NODE)) as nats:
        assert found(diagnose(await examine(nats.node, IDENTITY)), "stream").mend.startswith("start a relay")
    [away] = diagnose(await examine(nats.node, IDENTITY))
    assert (away.level, "no NATS server answers" in away.text) == ("error", True)
    assert f"{away.text}; {away.mend}".count("REALTIME_NATS") == 1


async def test_without_jetstream_that_alone_is_the_finding_and_a_relay_names_the_mend(tmp_path: Path) -> None:
    """It said that a node's user may do everything and has all that it needs, because nobody answered."""
    server = NatsServer(tmp_path, jetstream=False)
    try:
        access = access_of(load(nats=(await asyncio.to_thread(server.start)).url))
        for node in (True, False):
            findings = diagnose(await examine(access, IDENTITY, node=node))
            assert [one.check for one in findings if one.level != "ok"] == ["jetstream"]
            assert not {one.check for one in findings} & {"nats rights", "nats needs", "stream"}
        assert "-js" in found(findings, "jetstream").mend
        connection = await connect(access, "relay")
        try:
            with pytest.raises(UnansweredError, match="nats-server -js"):
                await stream.ensure(connection, IDENTITY, LIMITS)
        finally:
            await close(connection)
    finally:
        await asyncio.to_thread(server.kill)


async def test_another_stream_under_its_name_and_one_without_bounds_are_found(tmp_path: Path) -> None:
    async with one(tmp_path) as server:
        access = access_of(load(nats=server.url))
        connection = await connect(access, "test")
        try:
            name, subject = IDENTITY.stream, IDENTITY.subject
            await stream.ask(connection, f"STREAM.CREATE.{name}", {"name": name, "subjects": [subject]})
            assert "another one's" in found(diagnose(await examine(access, IDENTITY)), "stream").text
            changed = {"name": name, "subjects": [subject], "metadata": IDENTITY.metadata}
            await stream.ask(connection, f"STREAM.UPDATE.{name}", changed)
            findings = diagnose(await examine(access, IDENTITY))
            limits = found(findings, "stream limits")
            assert limits.level == "error"
            assert all(word in limits.text for word in ("max_msg_size", "max_bytes", "allow_atomic"))
            assert found(findings, "kept").level == "warning"
            assert found(findings, "nats access").level == "ok"
        finally:
            await close(connection)
