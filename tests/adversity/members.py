"""A replica set of three mongods on loopback, each of which can be killed, frozen and started again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from realtime.mongo import embedded
from tests.ports import free_ports
from tests.replica_set import READY_SECONDS, ReplicaSet, named_mongod

Client = pymongo.MongoClient[dict[str, Any]]
NAME, MEMBERS = "adversity", 3
ELECTION_MS, DEFAULT_ELECTION_MS = 2000, 10_000
HASTY: dict[str, Any] = {"heartbeatFrequencyMS": 500, "connectTimeoutMS": 1000, "serverSelectionTimeoutMS": 5000}
"""A test's own clients: they must notice before those under test do."""


class Member:
    """One mongod. It ends with this process: the kernel takes it along."""

    def __init__(self, binary: Path, directory: Path, port: int) -> None:
        self.port = port
        self.directory = directory
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self.frozen = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def up(self) -> bool:
        """Running, and not frozen."""
        return self._process is not None and self._process.returncode is None and not self.frozen

    async def start(self) -> None:
        """Start it on its data; returns before it answers."""
        self.directory.mkdir(exist_ok=True)
        arguments = (
            *("--dbpath", str(self.directory), "--replSet", NAME, "--bind_ip", "127.0.0.1", "--port", str(self.port)),
            *("--nounixsocket", "--quiet", "--logpath", str(self.directory / "mongod.log"), "--logappend"),
            *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false", "--setParameter", "enableTestCommands=1"),
        )
        self._process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", str(self._binary), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        """`kill -9`, and its end."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self.frozen = False

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.frozen = False

    def elected(self, since: float) -> float | None:
        """When it took office first after `since`, by its own log; both Unix times."""
        for line in (self.directory / "mongod.log").read_text().splitlines():
            if "Transition to primary complete" in line:
                at = dt.datetime.fromisoformat(json.loads(line)["t"]["$date"]).timestamp()
                if at >= since:
                    return at
        return None

    def ask(self, command: str, **options: Any) -> dict[str, Any]:
        """A command to this member alone. `PyMongoError` when it does not answer within a second."""
        client: Client = pymongo.MongoClient(
            self.address,
            directConnection=True,
            serverSelectionTimeoutMS=1000,
            connectTimeoutMS=1000,
            socketTimeoutMS=5000,
        )
        with client:
            return dict(client.admin.command(command, **options))


class Members:
    """All three."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        addresses = ",".join(member.address for member in members)
        self.uri = f"mongodb://{addresses}/?replicaSet={NAME}"

    @property
    def replica_set(self) -> ReplicaSet:
        return ReplicaSet(self.uri, "three members", can_fail_commands=True)

    def client(self) -> Client:
        """For a test's own writes and looks: retried, and never held up by a frozen member for long."""
        return pymongo.MongoClient(self.uri, socketTimeoutMS=4000, **HASTY)

    def _is_primary(self, member: Member) -> bool:
        try:
            return member.ask("hello")["isWritablePrimary"] is True
        except PyMongoError:
            return False

    async def primary(self) -> Member:
        """The member that is up and takes writes, waited for."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                for member in self.members:
                    if member.up and await asyncio.to_thread(self._is_primary, member):
                        return member
                await asyncio.sleep(0.02)

    def elected(self, since: float) -> float:
        """When anybody took office first after `since`."""
        times = [member.elected(since) for member in self.members]
        # Nobody: the old one went on, and so it is as if it was never away.
        return min((at for at in times if at is not None), default=since)

    async def secondaries(self) -> list[Member]:
        primary = await self.primary()
        return [member for member in self.members if member is not primary]

    async def settle(self) -> Member:
        """Everybody up, one primary, the others its secondaries and abreast of it; the primary."""
        for member in self.members:
            if member.frozen:
                member.thaw()
            if not member.up:
                await member.start()
        async with asyncio.timeout(READY_SECONDS):
            while not await asyncio.to_thread(self._settled):
                await asyncio.sleep(0.1)
        return await self.primary()

    def _settled(self) -> bool:
        try:
            states = [member.ask("replSetGetStatus") for member in self.members]
        except PyMongoError:
            return False
        if sorted(state["myState"] for state in states) != [1, 2, 2]:
            return False
        times = [state["optimes"]["appliedOpTime"]["ts"].time for state in states]
        return bool(max(times) - min(times) <= 1)

    async def step_down(self) -> None:
        """Hand the office over: the primary waits for a secondary to be abreast, and stands back for five seconds."""
        primary = await self.primary()
        await asyncio.to_thread(primary.ask, "replSetStepDown", value=5, secondaryCatchUpPeriodSecs=4)

    async def hand_over(self, to: Member) -> None:
        """Make this member the primary; nothing where it is."""
        async with asyncio.timeout(READY_SECONDS):
            while await self.primary() is not to:
                with contextlib.suppress(PyMongoError):  # it is not abreast yet, or its old primary stands back
                    await asyncio.to_thread(to.ask, "replSetStepUp", value=1)

    async def election_timeout(self, milliseconds: int) -> None:
        """Change the set's `electionTimeoutMillis`."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            primary = await self.settle()
            try:
                config = (await asyncio.to_thread(primary.ask, "replSetGetConfig"))["config"]
                if config["settings"]["electionTimeoutMillis"] == milliseconds:
                    return
                config["version"] += 1
                config["settings"]["electionTimeoutMillis"] = milliseconds
                await asyncio.to_thread(primary.ask, "replSetReconfig", value=config)
            except PyMongoError:  # one that was frozen comes back with an election of its own
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def initiate(self) -> None:
        members = [{"_id": n, "host": member.address} for n, member in enumerate(self.members)]
        settings = {"electionTimeoutMillis": ELECTION_MS}
        config = {"_id": NAME, "version": 1, "members": members, "settings": settings}
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                await asyncio.to_thread(self.members[0].ask, "replSetInitiate", value=config)
                return
            except PyMongoError:  # one of them does not listen yet
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)


@asynccontextmanager
async def three_members(*binaries: Path) -> AsyncIterator[Members]:
    """Three members with a primary, each of its own binary where they are given. At the end they are killed."""
    with tempfile.TemporaryDirectory(prefix="realtime-members-") as directory:
        home = Path(directory)
        if not binaries:
            binaries = (await asyncio.to_thread(embedded.find_mongod, named_mongod(), home),) * MEMBERS
        places = zip(binaries, free_ports(MEMBERS), strict=True)
        found = [Member(binary, home / f"m{n}", port) for n, (binary, port) in enumerate(places)]
        members = Members(found)
        try:
            for member in found:
                await member.start()
            await members.initiate()
            await members.settle()
            yield members
        finally:
            for member in found:
                if member._process is not None:
                    await member.kill()
