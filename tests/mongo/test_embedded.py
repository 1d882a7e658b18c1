"""The embedded MongoDB: found, ready, kept, never outliving its service. Every process here is a real one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from realtime.errors import ConfigurationError
from realtime.keeping import guard
from realtime.mongo import embedded

ROOT = Path(__file__).parents[2]
SECONDS = 25
"""Longest wait for anything; only a failing test takes it."""

SERVICE = """
import asyncio, json, os, signal, sys
from pathlib import Path
from realtime.mongo import embedded

async def serve(directory, binary, mode):
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    mongo = await embedded.start(Path(directory), Path(binary))
    child = os.fork() if mode == "fork" else 0
    if mode == "fork" and child == 0:
        signal.pause()
    print(json.dumps({"uri": mongo.uri, "pid": mongo.pid, "guard": mongo.guard_pid, "child": child}), flush=True)
    await interrupted.wait()
    print("interrupted", flush=True)
    sys.stdin.readline()
    await mongo.stop()

asyncio.run(serve(*sys.argv[1:]))
"""


@contextlib.asynccontextmanager
async def service(directory: Path, binary: Path, mode: str = "plain") -> AsyncIterator[Any]:
    """A process like ours in a process group of its own, with a MongoDB ready: yields it and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVICE, directory, binary, mode),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            yield process, json.loads(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.contextmanager
def watching(*pids: int) -> Iterator[Callable[[], Any]]:
    """Yields what waits until all these processes, alive now, have ended; nobody's children need they be."""
    watches = [os.pidfd_open(pid) for pid in pids]

    async def ended() -> None:
        loop = asyncio.get_running_loop()
        for watch in watches:
            event = asyncio.Event()
            loop.add_reader(watch, event.set)
            try:
                await asyncio.wait_for(event.wait(), SECONDS)
            finally:
                loop.remove_reader(watch)

    try:
        yield ended
    finally:
        for watch in watches:
            os.close(watch)


def is_alive(pid: int) -> bool:
    return guard.birth(pid) is not None


def has_open(pid: int, path: Path) -> bool:
    return any(file.resolve() == path for file in Path(f"/proc/{pid}/fd").iterdir())


def client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=5000)


def insert(uri: str, value: int) -> None:
    with client(uri) as mongo:
        assert mongo.test.kept.insert_one({"_id": value}).acknowledged


def values(uri: str) -> list[int]:
    with client(uri) as mongo:
        return [document["_id"] for document in mongo.test.kept.find(sort=[("_id", 1)])]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


async def test_ready_means_that_it_takes_writes_and_opens_change_streams(
    directory: Path, binary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with embedded.running(directory, binary) as mongo:
        with client(f"{mongo.uri}&directConnection=true") as direct:
            assert direct.admin.command("hello")["isWritablePrimary"]
        with client(mongo.uri) as found, found.test.watch(max_await_time_ms=1000) as stream:
            insert(mongo.uri, 1)
            change = next(stream)
        assert change["documentKey"] == {"_id": 1}
        assert mongo.version.split(".")[0].isdigit()
        assert is_alive(mongo.pid)
    assert not is_alive(mongo.pid)
    assert not is_alive(mongo.guard_pid)
    assert "for demos, development and tests only" in caplog.text


async def test_only_this_machine_and_this_user_can_reach_it(directory: Path, binary: Path) -> None:
    async with embedded.running(directory / "deep" / "data", binary) as mongo:
        with client(mongo.uri) as found:
            net = found.admin.command("getCmdLineOpts")["parsed"]["net"]
        assert net["bindIp"] == "127.0.0.1"
        assert net["unixDomainSocket"] == {"enabled": False}
    for path in (directory / "deep" / "data", directory / "deep" / "data" / "mongodb"):
        assert path.stat().st_mode & 0o777 == 0o700


async def test_more_arguments_reach_mongod(directory: Path, binary: Path) -> None:
    arguments = ("--setParameter", "enableTestCommands=1")
    async with embedded.running(directory, binary, extra_args=arguments) as mongo:
        with client(mongo.uri) as found:
            assert found.admin.command({"configureFailPoint": "failCommand", "mode": "off"})["ok"] == 1


async def test_data_and_port_survive_a_restart(directory: Path, binary: Path) -> None:
    async with embedded.running(directory, binary) as first:
        insert(first.uri, 1)
    async with embedded.running(directory, binary) as second:
        assert values(second.uri) == [1]
    assert second.uri == first.uri


@contextlib.asynccontextmanager
async def stranger(port: int, *, silent_until: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Another program on that port, which hangs up on everybody, at once or when it is told to."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if silent_until is not None:
            await silent_until.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


@pytest.mark.long("starts several mongods")
async def test_it_moves_to_another_port_when_its_own_is_taken_and_stays_there(
    directory: Path, binary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded.running(directory, binary) as first:
        insert(first.uri, 1)
    port = int((directory / "port").read_text())
    async with stranger(port), embedded.running(directory, binary) as moved:
        assert moved.uri != first.uri
        assert values(moved.uri) == [1]
        insert(moved.uri, 2)
        with client(moved.uri) as found:
            members = found.admin.command("replSetGetConfig")["config"]["members"]
        assert [member["host"] for member in members] == [f"127.0.0.1:{(directory / 'port').read_text().strip()}"]
    assert f"port {port} is taken" in caplog.text
    async with embedded.running(directory, binary) as third:
        assert third.uri == moved.uri
        assert values(third.uri) == [1, 2]


@pytest.mark.long("starts several mongods")
async def test_a_silent_program_on_its_port_is_given_more_time_to_answer(
    directory: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded.running(directory, binary) as first:
        insert(first.uri, 1)
    port = int((directory / "port").read_text())
    told, texts, loop = asyncio.Event(), list[str](), asyncio.get_running_loop()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())
            if "still starting" in texts[-1]:
                loop.call_soon_threadsafe(told.set)

    log = logging.Logger("told", logging.INFO)
    log.addHandler(Told())
    monkeypatch.setattr(embedded, "READY_SECONDS", 5.0)
    monkeypatch.setattr(embedded, "SLOW_SECONDS", 5.2)  # thus said only if READY_SECONDS did not end it
    async with stranger(port, silent_until=told), embedded.running(directory, binary, log=log) as moved:
        assert values(moved.uri) == [1]
    assert any(f"it asks the program that has 127.0.0.1:{port} now" in text for text in texts)
    assert any(f"moved from 127.0.0.1:{port} to" in text for text in texts)


@pytest.mark.parametrize("kept", ["", "nonsense", "99999999", "-1"])
async def test_a_spoilt_port_file_costs_nothing_but_the_port(directory: Path, binary: Path, kept: str) -> None:
    (directory / "port").write_text(kept)
    async with embedded.running(directory, binary) as mongo:
        insert(mongo.uri, 1)
        assert f":{(directory / 'port').read_text().strip()}/" in mongo.uri


@pytest.mark.long("starts several mongods")
async def test_a_stranger_that_wins_the_race_for_the_port_is_left_alone(
    directory: Path, tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded.running(directory / "stranger", binary) as theirs:
        with client(theirs.uri) as found:
            before = found.admin.command("replSetGetConfig")["config"]
        lost = int((directory / "stranger" / "port").read_text())
        choose, chosen = embedded._choose_port, list[int]()

        def choose_late(path: Path, log: logging.Logger) -> int:
            chosen.append(choose(path, log) if chosen else lost)
            return chosen[-1]

        monkeypatch.setattr(embedded, "_choose_port", choose_late)
        async with embedded.running(directory / "ours", binary) as ours:
            insert(ours.uri, 1)
        assert values(theirs.uri) == []
        with client(theirs.uri) as found:
            assert found.admin.command("replSetGetConfig")["config"] == before
    assert chosen[0] == lost != chosen[1]
    assert len(chosen) == 2


@pytest.mark.long("starts several mongods")
async def test_a_port_lost_to_another_program_at_the_last_moment_is_replaced(
    directory: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded.running(directory, binary):
        lost = int((directory / "port").read_text())
    free = embedded._is_free
    monkeypatch.setattr(embedded, "_is_free", lambda port: port == lost or free(port))
    async with stranger(lost), embedded.running(directory, binary) as mongo:
        insert(mongo.uri, 1)
        assert f":{lost}/" not in mongo.uri


async def test_a_second_start_says_who_holds_the_directory(directory: Path, binary: Path) -> None:
    async with service(directory, binary) as (process, told):
        with pytest.raises(ConfigurationError, match=rf"held by process {process.pid} \(.*python.*--data-dir") as error:
            async with asyncio.timeout(guard.LOCK_SECONDS / 2):
                await embedded.start(directory, binary)
        assert "\n" not in str(error.value)
        insert(told["uri"], 1)


async def test_a_second_start_in_the_same_process_is_refused_too(directory: Path, binary: Path) -> None:
    async with embedded.running(directory, binary) as mongo:
        with pytest.raises(ConfigurationError, match=f"held by process {os.getpid()} "):
            await embedded.start(directory, binary)
        insert(mongo.uri, 1)


async def test_a_lock_file_that_nobody_holds_is_no_obstacle(directory: Path, binary: Path) -> None:
    (directory / "lock").write_text(json.dumps(guard.describe(os.getpid())))
    async with embedded.running(directory, binary) as mongo:
        insert(mongo.uri, 1)


@pytest.mark.long("ten starts of a mongod")
async def test_killing_the_service_leaves_no_mongod_and_the_next_start_works_ten_times(
    directory: Path, binary: Path
) -> None:
    pids: list[int] = []
    for turn in range(10):
        async with service(directory, binary) as (process, told):
            assert not any(is_alive(pid) for pid in pids)
            assert values(told["uri"]) == list(range(turn))
            insert(told["uri"], turn)
            pids += [told["pid"], told["guard"]]
            assert all(is_alive(pid) for pid in pids[-2:])
            process.kill()
            await process.wait()
    assert len(set(pids)) == 20
    async with embedded.running(directory, binary) as mongo:
        assert not any(is_alive(pid) for pid in pids)
        assert values(mongo.uri) == list(range(10))


async def test_killing_the_service_is_enough_without_a_next_start(directory: Path, binary: Path) -> None:
    async with service(directory, binary) as (process, told):
        with watching(told["pid"], told["guard"]) as ended:
            process.kill()
            await ended()


async def test_a_start_while_the_last_mongod_is_still_ending_waits_and_says_so(
    directory: Path, binary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with service(directory, binary) as (process, told):
        process.kill()
        await process.wait()
        async with embedded.running(directory, binary) as mongo:
            assert not is_alive(told["pid"])
            insert(mongo.uri, 1)
    assert "waiting for the embedded MongoDB of" in caplog.text


@pytest.mark.long("starts several mongods")
async def test_a_start_while_the_last_service_is_stopping_waits_for_it(directory: Path, binary: Path) -> None:
    first = await embedded.start(directory, binary)
    insert(first.uri, 1)
    stopping = asyncio.create_task(first.stop())
    async with embedded.running(directory, binary) as second:
        assert not is_alive(first.pid)
        assert values(second.uri) == [1]
    await stopping


def test_a_holder_that_is_a_zombie_or_whose_pid_was_reused_does_not_live() -> None:
    ours = guard.describe(os.getpid())
    assert guard.lives(ours)
    assert not guard.lives({**ours, "birth": "1"})
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    theirs = guard.describe(child)
    assert guard.lives(theirs)
    os.close(write)
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not guard.lives(theirs)
    assert guard.describe(child)["birth"] is None
    os.waitpid(child, 0)
    os.close(read)


async def test_a_forked_child_of_the_service_does_not_keep_mongod_alive(directory: Path, binary: Path) -> None:
    async with service(directory, binary, "fork") as (process, told):
        try:
            with watching(told["pid"]) as ended:
                process.kill()
                await ended()
            assert is_alive(told["child"])
        finally:
            os.kill(told["child"], signal.SIGKILL)


async def test_ctrl_c_reaches_the_service_and_not_mongod(directory: Path, binary: Path) -> None:
    async with service(directory, binary) as (process, told):
        group = os.getpgid(process.pid)
        assert group not in {os.getpgid(told["pid"]), os.getpgid(told["guard"])}
        os.killpg(group, signal.SIGINT)
        assert await process.stdout.readline() == b"interrupted\n"
        insert(told["uri"], 1)
        with watching(told["pid"], told["guard"]) as ended:
            process.stdin.write(b"stop\n")
            await ended()
        assert await process.wait() == 0


async def test_a_killed_guard_takes_mongod_along_and_frees_the_directory(directory: Path, binary: Path) -> None:
    async with embedded.running(directory, binary) as mongo:
        insert(mongo.uri, 1)
        assert has_open(mongo.pid, directory / "lock")
        with watching(mongo.pid) as ended:
            os.kill(mongo.guard_pid, signal.SIGKILL)
            await ended()
        async with embedded.running(directory, binary) as again:
            assert values(again.uri) == [1]


async def test_a_guard_told_to_end_shuts_mongod_down_cleanly(directory: Path, binary: Path) -> None:
    async with embedded.running(directory, binary) as mongo:
        with watching(mongo.pid, mongo.guard_pid) as ended:
            os.kill(mongo.guard_pid, signal.SIGTERM)
            await ended()
    assert '"exitCode":0' in (directory / "mongod.log").read_text()


async def test_a_frozen_mongod_is_shut_down_cleanly(directory: Path, binary: Path) -> None:
    async with embedded.running(directory, binary) as mongo:
        os.kill(mongo.pid, signal.SIGSTOP)
    assert not is_alive(mongo.pid)
    assert '"exitCode":0' in (directory / "mongod.log").read_text()


async def test_mongod_behind_a_wrapper_script_ends_with_it(directory: Path, tmp_path: Path, binary: Path) -> None:
    wrapper = script(tmp_path / "mongod", f'#!/bin/sh\n{binary} "$@"\nexit $?\n')
    async with embedded.running(directory, wrapper) as mongo:
        with client(mongo.uri) as found:
            pid = int(found.admin.command("serverStatus")["pid"])
        assert pid != mongo.pid
        assert is_alive(pid)
    assert not is_alive(pid)


async def test_stopping_twice_does_nothing_more(directory: Path, binary: Path) -> None:
    mongo = await embedded.start(directory, binary)
    assert is_alive(mongo.pid)
    await mongo.stop()
    await mongo.stop()
    assert not is_alive(mongo.pid)


async def test_a_cancelled_start_leaves_no_process_and_no_lock(
    directory: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def never(_: int) -> bool:
        loop.call_soon_threadsafe(asked.set)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "_listens", never)
        start = asyncio.create_task(embedded.start(directory, binary))
        await asyncio.wait_for(asked.wait(), SECONDS)
        start.cancel()
        await asyncio.wait([start], timeout=embedded.READY_SECONDS / 2)
        assert start.cancelled()
    with (directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_start_that_takes_long_says_so_and_ends_at_its_deadline(
    directory: Path, binary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(embedded, "_listens", lambda _: False)
    monkeypatch.setattr(embedded, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(embedded, "READY_SECONDS", 0.5)
    with pytest.raises(ConfigurationError, match=r"no primary after .*mongod\.log"):
        await embedded.start(directory, binary)
    assert caplog.text.count("still starting") == 1


async def test_a_child_deaf_to_sigterm_is_killed_when_its_time_is_up(directory: Path) -> None:
    program = "from realtime.keeping import guard; guard.STOP_SECONDS = 1; guard.main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, directory, str(os.getpid()), "server.log"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.mkfifo(directory / "deaf")
    deaf = ["/bin/sh", "-c", f"trap '' TERM; echo > {directory}/deaf; exec sleep 1000"]
    process.stdin.write(json.dumps(deaf).encode() + b"\n")
    await asyncio.to_thread((directory / "deaf").read_bytes)
    process.stdin.close()
    said = [json.loads(line) for line in (await process.stdout.read()).splitlines()]
    assert [next(iter(words)) for words in said] == ["locked", "started", "ended"]
    assert said[-1] == {"ended": -signal.SIGKILL}
    assert await process.wait() == 0


def test_the_log_is_bounded_and_the_one_before_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LOG_BYTES", 1000)
    path, old = tmp_path / "log", tmp_path / "log.old"
    path.write_text("last time")
    log = guard.Log(path)
    assert old.read_text() == "last time"
    for _ in range(100):
        log.write(b"x" * 99 + b"\n")
        assert path.stat().st_size <= 1100
    assert old.stat().st_size == 1100
    log.close()
