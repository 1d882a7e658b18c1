"""`realtime` as a process: how it starts, what it says when it cannot, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.mongo import embedded
from tests.mongo.commands import breakable, failing, plain
from tests.parts import first
from tests.replica_set import ReplicaSet
from tests.serving import process
from tests.wire import wired

KILLS = 10


STARTS = pytest.mark.long("starts a service with a mongod of its own")


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`realtime …`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "realtime", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(home), **environment},
    )


def mongods(data_dir: Path) -> list[int]:
    """Processes that work on this data directory, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode()
            except OSError:
                continue
            if str(data_dir) in command and "mongod" in command:
                found.append(int(entry.name))
    return found


async def gone(data_dir: Path) -> None:
    """Until no mongod works on this data directory."""
    async with asyncio.timeout(15):
        while mongods(data_dir):
            await asyncio.sleep(0.05)


@pytest.mark.long("ten starts of a service with a mongod of its own")
async def test_kill_9_leaves_no_mongod_and_the_next_start_works_ten_times_in_a_row(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for round_number in range(KILLS):
        async with process("serve", "--port", "0", "--data-dir", str(data), home=tmp_path) as service:
            assert mongods(data)
            async with httpx.AsyncClient(base_url=service.url) as http:
                made = await http.post("/v1/collections/orders/documents", json={"_id": round_number})
                assert made.status_code == 201
                listed = await http.get("/v1/collections/orders/documents")
            assert [one["_id"] for one in listed.json()["documents"]] == list(range(round_number + 1))
            service.process.kill()
            await service.process.wait()
        # The next round starts at once, while this one's mongod may still be on its way out.
    await gone(data)


@pytest.mark.long("what it waits for takes its time")
async def test_a_mongod_that_is_killed_comes_back_and_subscribers_miss_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ("--port", "0", "--data-dir", str(data))
    async with (
        process("serve", *options, home=tmp_path) as service,
        wired(service.url) as wire,
        httpx.AsyncClient(base_url=service.url, timeout=30) as http,
    ):
        view = await wire.subscribe("orders")
        for round_number in range(2):
            (mongod,) = [pid for pid in mongods(data) if "--dbpath" in Path(f"/proc/{pid}/cmdline").read_text()]
            os.kill(mongod, signal.SIGKILL)
            async with asyncio.timeout(30):
                made = 0
                while made not in {201, 409}:
                    body = {"_id": round_number}
                    made = (await http.post("/v1/collections/orders/documents", json=body)).status_code
            await wire.when(lambda number=round_number: len(view.documents) == number + 1)  # type: ignore[misc]  # reason: binds it now
        assert wire.closed is None
        assert view.resyncs == 0
    said = "".join(service.output)
    assert len(re.findall(r"the embedded MongoDB ended \(killed by SIGKILL\): started again in \d s", said)) == 2
    assert len(re.findall(r"the embedded MongoDB is started again \(process \d+\)", said)) == 2
    await gone(data)


async def test_sigterm_ends_with_0_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with process("serve", "--port", "0", "--data-dir", str(data), home=tmp_path) as service:
        async with wired(service.url) as wire:
            await wire.subscribe("orders")
            service.process.send_signal(signal.SIGTERM)
            await wire.when(lambda: wire.closed is not None)
        async with asyncio.timeout(15):
            assert await service.process.wait() == 0
    assert wire.closed == (4000, "draining")
    assert wire.frames[-1]["type"] == "closing"
    await gone(data)


@pytest.mark.long("what it waits for takes its time")
@pytest.mark.parametrize("drain", [0.0, 1.0])
async def test_who_waits_for_a_write_that_outlasts_the_end_is_sent_away_all_the_same(
    tmp_path: Path, drain: float
) -> None:
    async with breakable(tmp_path / "mongo") as uri:
        arguments = ("serve", "--port", "0", "--mongodb-uri", uri, "--database", "slow_end")
        with plain(uri) as own:
            async with (
                process(*arguments, home=tmp_path, REALTIME_DRAIN_SECONDS=str(drain)) as service,
                wired(service.url) as wire,
                wired(service.url) as idle,
            ):
                blocked: dict[str, Any] = {"blockConnection": True, "blockTimeMS": 4000, "appName": "realtime"}
                with failing(own, "insert", **blocked) as point:
                    await wire.send(type="insert", id="1", collection="orders", document={"_id": 1})
                    await asyncio.to_thread(point.struck)
                    service.process.send_signal(signal.SIGTERM)
                    for one in (wire, idle):
                        await one.when(lambda one=one: one.closed is not None, seconds=3)  # type: ignore[misc]  # reason: its default binds it now
                        assert one.closed == (4000, "draining")
                        assert one.frames[-1]["type"] == "closing"
                    assert not wire.of("result")
                    assert await service.process.wait() == 0


@STARTS
async def test_a_second_service_on_the_same_directory_says_who_holds_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with process("serve", "--port", "0", "--data-dir", str(data), home=tmp_path) as service:
        second = await asyncio.to_thread(run, "serve", "--port", "0", "--data-dir", str(data), home=tmp_path)
    assert second.returncode == 2
    assert str(service.process.pid) in second.stderr
    assert "--data-dir" in second.stderr


@STARTS
async def test_the_embedded_replica_set_is_announced(tmp_path: Path) -> None:
    async with process("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), home=tmp_path) as service:
        pass
    assert re.search(r"embedded MongoDB .* development", "".join(service.output))


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    first(
        2,
        "a process each",
        [
            (("--port", "99999"), {}, r"--port / REALTIME_PORT: .*65535"),
            ((), {"REALTIME_HEARTBEAT_SECONDS": "0"}, r"REALTIME_HEARTBEAT_SECONDS: .*0.2"),
            (("--host", "0.0.0.0"), {}, r"--insecure"),
            (("--mongodb-uri", "http://localhost"), {}, r"REALTIME_MONGODB_URI cannot be used"),
            (
                ("--mongodb-uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500"),
                {},
                r"no MongoDB answers: .*REALTIME_MONGODB_URI",
            ),
            ((), {"REALTIME_MONGOD": "/nowhere/mongod"}, r"REALTIME_MONGOD"),
            (("--database", "a/b"), {}, r"REALTIME_DATABASE"),
        ],
    ),
)
def test_what_cannot_work_is_one_line_and_exit_2(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], line: str
) -> None:
    ended = run("serve", "--data-dir", str(tmp_path / "data"), *arguments, home=tmp_path, **environment)
    told = [text for text in ended.stderr.splitlines() if text.startswith("realtime: ")]
    assert ended.returncode == 2, ended.stderr
    assert len(told) == 1
    assert re.search(line, told[0]), told[0]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("count", ["1", pytest.param("2", marks=pytest.mark.long("the same by two workers"))])
async def test_a_variable_that_is_no_setting_is_one_warning_and_what_kubernetes_sets_is_none(
    tmp_path: Path, replica_set: ReplicaSet, count: str
) -> None:
    address = "tcp://10.0.0.7:8000"
    variables = {"REALTIME_PROT": "9", "REALTIME_PORT": address, "REALTIME_SERVICE_HOST": "10.0.0.7"}
    arguments = ("--mongodb-uri", replica_set.uri, "--database", "t_stray", "--port", "0", "--workers", count)
    async with process("serve", *arguments, home=tmp_path, **variables) as service, httpx.AsyncClient() as http:
        assert (await http.get(f"{service.url}healthz")).status_code == 200
    # The limits of tests are so roomy that a machine has hardly as many files: that is another warning.
    told = [line for line in service.output if "REALTIME_" in line and "open files" not in line]
    assert len(told) == 1, told
    assert "WARNING" in told[0]
    assert "REALTIME_PROT (did you mean REALTIME_PORT?)" in told[0]


def test_a_port_that_is_taken_is_one_line_and_exit_2(tmp_path: Path, replica_set: ReplicaSet) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("serve", "--mongodb-uri", replica_set.uri, "--port", port, home=tmp_path)
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


@STARTS
async def test_a_standalone_mongod_is_refused_with_the_way_to_a_replica_set(tmp_path: Path) -> None:
    binary = embedded.find_mongod(None, tmp_path)
    (tmp_path / "db").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    standalone = await asyncio.create_subprocess_exec(
        str(binary),
        *("--dbpath", str(tmp_path / "db"), "--port", str(port), "--bind_ip", "127.0.0.1"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        ended = await asyncio.to_thread(
            run, "serve", "--mongodb-uri", f"mongodb://127.0.0.1:{port}/", "--port", "0", home=tmp_path
        )
    finally:
        standalone.terminate()
        await standalone.wait()
    assert ended.returncode == 2
    assert "--replSet" in ended.stderr
    assert "rs.initiate()" in ended.stderr


def test_help_names_every_option_with_its_variable(tmp_path: Path) -> None:
    for command in ("serve", "demo"):
        text = run(command, "--help", home=tmp_path).stdout
        for option in ("mongodb-uri", "database", "host", "port", "data-dir", "read-only", "insecure"):
            assert f"--{option}" in text
            assert f"REALTIME_{option.replace('-', '_').upper()}" in " ".join(text.split())


@STARTS
async def test_the_uri_names_the_database_and_the_option_wins(tmp_path: Path, replica_set: ReplicaSet) -> None:
    uri = replica_set.uri.replace("/?", "/t_from_uri?")
    assert uri != replica_set.uri
    async with process("serve", "--port", "0", "--mongodb-uri", uri, home=tmp_path) as by_uri:
        pass
    async with process("serve", "--port", "0", "--mongodb-uri", uri, "--database", "t_named", home=tmp_path) as named:
        pass
    assert "database t_from_uri" in "".join(by_uri.output)
    assert "database t_named" in "".join(named.output)


@STARTS
async def test_the_demo_writes_this_machines_figures_and_ends_with_the_service(tmp_path: Path) -> None:
    async with process("demo", "--port", "0", "--data-dir", str(tmp_path / "data"), home=tmp_path) as demo:
        found = re.search(r"demo writer: process (\d+)", "".join(demo.output))
        assert found is not None
        writer = int(found[1])
        async with wired(demo.url) as wire:
            machine = await wire.subscribe("machine", id="m")
            processes = await wire.subscribe("processes", id="p")
            await wire.when(lambda: len(machine.documents) >= 5)
            assert 1 <= len(processes.documents) <= 12
        newest = max(machine.documents.values(), key=lambda document: document["at"]["$date"])
        assert {"cpu", "memory", "disk", "network", "at"} <= newest.keys()
        assert 0 <= newest["memory"]["percent"] <= 100
        demo.process.kill()
        await demo.process.wait()
    async with asyncio.timeout(15):
        while Path(f"/proc/{writer}").exists() and "Z" not in Path(f"/proc/{writer}/stat").read_text().split()[2]:
            await asyncio.sleep(0.05)
    await gone(tmp_path / "data")
    assert json.dumps(newest)
