"""The embedded nats-server: it keeps its streams, comes back at its address, and is gone when its service is."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from realtime.errors import ConfigurationError
from realtime.keeping import guard
from realtime.nats import connection as connections
from realtime.nats import embedded
from realtime.nats.access import access_of
from realtime.nats.connection import AwayError, Connection, connect
from realtime.nats.embedded import running
from realtime.settings import load

CHILD = """
import asyncio, pathlib, sys
from realtime.nats.embedded import running
async def main():
    async with running(pathlib.Path(sys.argv[1])) as nats:
        print(nats.pid, nats.guard_pid, nats.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def connected(url: str) -> Connection:
    return await connect(access_of(load(nats=url)), "test")


async def gone(*pids: int) -> None:
    async with asyncio.timeout(20):
        while any(guard.birth(pid) is not None for pid in pids):
            await asyncio.sleep(0.02)


async def test_it_takes_streams_on_loopback_and_has_them_the_next_time(tmp_path: Path) -> None:
    async with running(tmp_path) as nats:
        assert nats.url.startswith("nats://127.0.0.1:")
        listening = {one.laddr.ip for one in psutil.Process(nats.pid).net_connections() if one.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
        connection = await connected(nats.url)
        stream = connection.jetstream()
        await stream.add_stream(name="kept", subjects=["kept"])
        assert (await stream.publish("kept", b"once")).seq == 1
        await connections.close(connection)
    await gone(nats.pid, nats.guard_pid)
    async with running(tmp_path) as nats:
        connection = await connected(nats.url)
        assert (await connection.jetstream().get_msg("kept", 1)).data == b"once"
        await connections.close(connection)


async def test_one_that_is_killed_comes_back_at_its_address_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path) as nats:
        os.kill(nats.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while "is started again" not in caplog.text:
                await asyncio.sleep(0.02)
            while True:
                try:
                    await connections.close(await connected(nats.url))
                except AwayError:
                    await asyncio.sleep(0.05)
                else:
                    break
    assert "the embedded NATS ended (killed by SIGKILL)" in caplog.text


async def test_it_ends_with_a_service_that_is_killed(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(tmp_path)), stdout=subprocess.PIPE, env=os.environ
    )
    assert child.stdout is not None
    pid, guard_pid, _ = (await asyncio.wait_for(child.stdout.readline(), 30)).split()
    assert guard.birth(int(pid)) is not None
    child.kill()
    await child.wait()
    await gone(int(pid), int(guard_pid))


async def test_a_directory_has_one_service(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(ConfigurationError, match=f"held by process {os.getpid()}.*--data-dir"):
            async with running(tmp_path):
                pytest.fail("it runs twice")


async def test_a_directory_that_cannot_be_written_and_a_server_that_is_not_there_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigurationError, match="--data-dir"):
        async with running(blocked):
            pytest.fail("it runs on a file")
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"\[nats\]"):
        async with running(tmp_path):
            pytest.fail("it runs without a server")


async def test_what_keeps_it_from_starting_is_said_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "jetstream").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"ended before it was ready .*not a directory"):
        async with running(tmp_path):
            pytest.fail("it runs")


async def test_a_port_that_was_lost_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, choose = list[int](), embedded._free_port
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with taken:

        def first_taken() -> int:
            chosen.append(choose() if chosen else taken.sockets[0].getsockname()[1])
            return chosen[-1]

        monkeypatch.setattr(embedded, "_free_port", first_taken)
        async with running(tmp_path) as nats:
            assert nats.url == f"nats://127.0.0.1:{chosen[1]}"
    assert len(chosen) == 2
