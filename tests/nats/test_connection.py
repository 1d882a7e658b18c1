"""A connection to a real nats-server: encrypted and as somebody where that is said, and worded where it fails."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats import errors

from realtime.nats import connection as connections
from realtime.nats.access import access_of
from realtime.nats.connection import AwayError, Connection, DeniedError, RefusedError, connect
from realtime.settings import load
from tests.nats.certificates import Authority
from tests.nats.servers import one
from tests.ports import free_port, free_ports

USERS = 'authorization { users: [ { user: node, password: "s3cr/et" } ] }'


@asynccontextmanager
async def connected(on_closed: Callable[[], None] | None = None, **given: Any) -> AsyncIterator[Connection]:
    connection = await connect(access_of(load(**given)), "test", on_closed=on_closed)
    try:
        yield connection
    finally:
        await connections.close(connection)


async def refusal(kind: type[Exception] = RefusedError, **given: Any) -> str:
    with pytest.raises(kind) as refused:
        await connect(access_of(load(**given)), "test")
    line = str(refused.value)
    assert "\n" not in line
    assert "s3cr" not in line
    return line


def tls(authority: Authority, *, verify: bool = False) -> str:
    chain, key = authority.signed("server")
    asked = f', ca_file: "{authority.ca}", verify: true' if verify else ""
    return f'tls {{ cert_file: "{chain}", key_file: "{key}"{asked} }}'


async def test_a_user_is_let_in_and_asks_jetstream(tmp_path: Path) -> None:
    async with one(tmp_path, USERS) as server:
        with_user = f"nats://node:s3cr%2Fet@127.0.0.1:{server.port}"
        async with connected(nats=with_user) as connection:
            assert (await connection.jetstream().account_info()).streams == 0
        assert "does not let us in" in await refusal(nats=with_user.replace("s3cr", "s3cx"))
        assert "does not let us in" in await refusal(nats=server.url)


async def test_no_password_is_logged_whatever_goes_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with one(tmp_path, USERS) as server:
        url = f"nats://node:s3cr%2Fet@127.0.0.1:{server.port}"
        async with connected(nats=url):
            server.send(signal.SIGKILL)
        await refusal(AwayError, nats=url)
    assert caplog.records
    assert "s3cr" not in caplog.text


async def test_by_tls_the_server_is_checked_by_the_ca_that_is_named(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "another authority")
    async with one(tmp_path, f"{tls(authority)}\n{USERS}") as server:
        url = f"tls://node:s3cr%2Fet@127.0.0.1:{server.port}"
        async with connected(nats=url, nats_ca=authority.ca) as connection:
            assert (await connection.jetstream().account_info()).streams == 0
        assert "is not trusted" in await refusal(nats=url, nats_ca=other.ca)
        assert "--nats-ca" in await refusal(nats=url)


async def test_a_client_certificate_is_shown_where_the_server_asks_for_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    chain, key = authority.signed("node")
    async with one(tmp_path, tls(authority, verify=True)) as server:
        url = server.url
        async with connected(nats=url, nats_ca=authority.ca, nats_cert=chain, nats_key=key) as connection:
            assert (await connection.jetstream().account_info()).streams == 0
        with pytest.raises((RefusedError, AwayError), match="--nats-cert"):
            await connect(access_of(load(nats=url, nats_ca=authority.ca)), "test")


@asynccontextmanager
async def stranger(greeting: bytes) -> AsyncIterator[tuple[int, Callable[[], Awaitable[bytes]]]]:
    """Something that greets as a NATS server and keeps all that it is told."""
    heard, done, serving = bytearray(), asyncio.Event(), list[Any]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        writer.write(greeting)
        while data := await reader.read(4096):
            heard.extend(data)
            if b"PING" in data:
                writer.write(b"PONG\r\n")
        done.set()
        writer.close()

    async def all_of_it() -> bytes:
        await asyncio.wait_for(done.wait(), 10)
        return bytes(heard)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], all_of_it
        # Whoever was served has gone; what ends after its loop is charged to another test.
        await asyncio.wait_for(asyncio.gather(*serving), 10)


GREETING = b'INFO {"server_id":"X","version":"%s","auth_required":true,"headers":true,"max_payload":1048576}\r\n'


async def test_a_server_that_speaks_no_tls_is_told_no_name_and_no_secret(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with stranger(GREETING % b"2.15.1") as (port, all_of_it):
        told = await refusal(nats=f"tls://node:s3cret@127.0.0.1:{port}", nats_ca=authority.ca)
        assert "does not speak TLS" in told
        assert await all_of_it() == b""
    # Where nothing is said of TLS this is what it is told, so the above heard nothing for that reason alone.
    async with stranger(GREETING % b"2.15.1") as (port, all_of_it):
        async with connected(nats=f"nats://node:s3cret@127.0.0.1:{port}"):
            pass
        assert b"s3cret" in await all_of_it()


@pytest.mark.parametrize(("version", "taken"), [(b"2.11.9", False), (b"2.12.0", True), (b"3.0.0", True)])
async def test_a_server_older_than_atomic_batches_is_refused(version: bytes, taken: bool) -> None:
    async with stranger(GREETING % version) as (port, _):
        url = f"nats://127.0.0.1:{port}"
        if not taken:
            assert "update it, 2.12 or newer" in await refusal(nats=url)
            return
        async with connected(nats=url) as connection:
            assert connection.is_connected


async def test_where_nobody_answers_each_server_is_named_with_why() -> None:
    ports = free_ports(2)
    told = await refusal(AwayError, nats=",".join(f"nats://127.0.0.1:{port}" for port in ports))
    assert all(f"nats://127.0.0.1:{port}: " in told for port in ports)
    assert "refused" in told.lower() or "Connect call failed" in told


async def test_one_of_the_servers_is_enough(tmp_path: Path) -> None:
    async with one(tmp_path) as server:
        away = free_port()
        for _ in range(4):
            async with connected(nats=f"nats://127.0.0.1:{away},{server.url}") as connection:
                assert connection.server.port == server.port


async def test_one_of_the_servers_that_is_frozen_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 600)
    async with one(tmp_path / "frozen") as frozen, one(tmp_path / "there") as there:
        frozen.freeze()
        async with asyncio.timeout(60):
            for _ in range(10):
                async with connected(nats=f"{frozen.url},{there.url}") as connection:
                    assert connection.server.port == there.port


async def test_something_that_greets_nobody_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 1.0)
    async with stranger(b"") as (port, _):
        assert f"127.0.0.1:{port}" in await refusal(AwayError, nats=f"nats://127.0.0.1:{port}")


async def test_a_connection_that_breaks_is_over_and_keeps_nothing_to_be_sent_later(tmp_path: Path) -> None:
    async with one(tmp_path) as server:
        over = asyncio.Event()
        async with connected(over.set, nats=server.url) as connection:
            connection.let_go()  # the line breaks; the server is there
            await asyncio.wait_for(over.wait(), 10)
            assert connection.is_closed
            with pytest.raises(errors.ConnectionClosedError):
                await connection.publish("a", b"late")


async def flood(connection: Connection) -> None:
    """More than lies between two processes."""
    for _ in range(64):
        await connection.publish("a", bytes(512 * 1024))


async def test_a_frozen_server_is_noticed_by_its_silence_and_closing_waits_for_nobody(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    async with one(tmp_path, tls(authority)) as server:
        over = asyncio.Event()
        async with connected(over.set, nats=server.url, nats_ca=authority.ca) as connection:
            server.send(signal.SIGSTOP)
            with pytest.raises((TimeoutError, errors.ConnectionClosedError)):
                await flood(connection)
            began = asyncio.get_running_loop().time()
            await connections.close(connection)
            assert asyncio.get_running_loop().time() - began < 10
        async with asyncio.timeout(30):
            server.send(signal.SIGCONT)
            silent = asyncio.Event()
            async with connected(silent.set, nats=server.url, nats_ca=authority.ca):
                server.send(signal.SIGSTOP)
                await silent.wait()
        server.send(signal.SIGCONT)


async def test_what_the_server_says_against_a_subject_is_told(tmp_path: Path) -> None:
    config = 'authorization { users: [ { user: a, password: b, permissions: { publish: "yes", subscribe: ">" } } ] }'
    async with one(tmp_path, config) as server:
        told: asyncio.Queue[Exception] = asyncio.Queue()
        access = access_of(load(nats=f"nats://a:b@127.0.0.1:{server.port}"))
        connection = await connect(access, "test", on_error=told.put_nowait)
        try:
            await connection.publish("no", b"")
            await connection.flush()
            said = await asyncio.wait_for(told.get(), 10)
            assert isinstance(said, DeniedError)
            assert "does not let user 'a' publish on no" in str(said)
        finally:
            await connections.close(connection)


async def test_a_question_that_is_not_for_this_user_ends_at_once_and_says_so(tmp_path: Path) -> None:
    """And beside it one that is goes on. Where no answer may come, no question waits for one."""
    users = ", ".join(
        f'{{ user: {name}, password: s3cr, permissions: {{ publish: [ "Yes", "_INBOX.>" ], subscribe: [ {heard} ] }} }}'
        for name, heard in (("hears", '"_INBOX.>", "Yes"'), ("deaf", '"Yes"'))
    )
    async with one(tmp_path, f"authorization {{ users: [ {users} ] }}") as server:
        url = f"nats://hears:s3cr@127.0.0.1:{server.port}"
        async with connected(nats=url) as asks, connected(nats=url) as answers:
            over = asyncio.Event()

            async def answer(message: Any) -> None:
                await over.wait()
                await message.respond(b"here")

            await answers.hear("Yes", answer)
            with pytest.raises(DeniedError, match=r"'hears' subscribe to no:.*doctor --nats"):
                await answers.hear("No", answer)
            waits = asyncio.create_task(asks.request("Yes", timeout=60))
            async with asyncio.timeout(10):
                with pytest.raises(DeniedError, match=r"'hears' publish on No\.Way:.*two-users.*doctor --nats") as told:
                    await asks.request("No.Way", timeout=60)
            assert "s3cr" not in str(told.value)
            over.set()
            assert (await waits).data == b"here"
        async with connected(nats=url.replace("hears", "deaf")) as connection:
            for _ in range(2):
                async with asyncio.timeout(10):
                    with pytest.raises(DeniedError, match="'deaf' subscribe to _inbox"):
                        await connection.request("Yes", timeout=60)


async def test_what_was_sent_is_with_the_server_when_a_flush_is_over() -> None:
    """What the server has against a subscription comes before the answer then, and not sometimes after it."""
    async with stranger(GREETING % b"2.15.1") as (port, all_of_it):
        async with connected(nats=f"nats://127.0.0.1:{port}") as connection:
            await connection.subscribe("here")
            await connection.flush()
        lines = (await all_of_it()).split(b"\r\n")
    (subscribed,) = [number for number, line in enumerate(lines) if line.startswith(b"SUB here")]
    assert b"PING" in lines[subscribed:], lines


async def test_who_is_told_to_end_as_the_answer_comes_ends(tmp_path: Path) -> None:
    """By nats-py's own limit of time it would have the answer, and go on."""
    async with one(tmp_path) as server, connected(nats=server.url) as connection:

        async def answer(message: Any) -> None:
            if message.subject == "answered":
                await message.respond(b"yes")

        for subject in ("answered", "silent"):
            await connection.subscribe(subject, cb=answer)
        answered = await connection.request("answered")
        assert answered.data == b"yes"
        asking = asyncio.create_task(connection.request("silent"))
        while not connection._resp_map:
            await asyncio.sleep(0)
        (coming,) = connection._resp_map.values()
        coming.set_result(answered)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not connection._resp_map
