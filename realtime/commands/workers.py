"""Several workers behind one port: this process listens, owns the embedded MongoDB and keeps the workers alive.

Each worker is a whole service on the listening socket that it inherits. A socket of its own (SO_REUSEPORT) would take
the connections that wait in it along when a worker ends, and let any program of the same user listen beside it.

A worker's stdin is one end of a socket pair. The parent sends one line with what it needs, the worker answers one when
it serves; after that new rules go this way (`realtime/commands/exchange.py`). The end of file tells the parent that the
worker is gone, and the worker that the parent is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import multiprocess

from realtime.access.rules_file import REFUSED, RulesFile
from realtime.bugs import bug
from realtime.commands.exchange import Answers, Exchange, Line, encoded
from realtime.errors import ConfigurationError
from realtime.keeping import guard
from realtime.settings import SECRETS, Settings, load, process_environment

log = logging.getLogger("realtime.workers")

BACKOFF_SECONDS = (0.5, 30.0)
STEADY_SECONDS = 60.0
"""A worker that lived this long is started again as if it were the first time."""
END_SECONDS = 4.0
"""Over grace and drain, until a worker that does not end is killed."""
BACKLOG = 2048
FIGURES = "realtime-figures-"
"""Directories of figures, then the parent's process id."""
BY_HAND = "a worker is started by `realtime serve --workers N` and not by hand"


class WorkerRefusedError(Exception):
    """The first worker does not serve: no other could, and it has said why; or it was told to end before it did."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told: its settings, the listening sockets' descriptors, where its figures go, its parent.

    `rules`: the text of those that hold now, which errors name by `rules_name`; None: there are none.
    """

    settings: Settings
    descriptors: list[int]
    figures: str
    parent: int
    rules: str | None = None
    rules_name: str = ""

    def encode(self) -> bytes:
        """As one line, the URI with its password included: never on a command line."""
        given = self.settings.model_dump(mode="json")
        given["rules"] = None  # the parent has read them
        for name in SECRETS:
            secret = getattr(self.settings, name)
            given[name] = None if secret is None else secret.get_secret_value()
        words = {"settings": given, "descriptors": self.descriptors, "figures": self.figures, "parent": self.parent}
        return encoded({**words, "rules": self.rules, "rules_name": self.rules_name})

    @classmethod
    def decode(cls, line: bytes) -> Orders:
        """What `encode` made."""
        words: dict[str, Any] = json.loads(line)
        settings = load(**words.pop("settings"))
        return cls(settings, **words)


# ------------------------------------------------------------------------------------------------------- in the parent


class Supervisor:
    """Keeps `settings.workers` workers on its listening sockets until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        listening: list[socket.socket],
        at_once: Callable[[int], None],
        rules: RulesFile | None = None,
    ) -> None:
        """`rules`: their file, where there are any. `ConfigurationError` where it cannot be read."""
        self._rules = rules
        self._exchange = None if rules is None else Exchange(rules.read(), lambda: list(self._running.values()))
        self._settings = settings
        self._listening = listening
        self._at_once = at_once
        self._stopping = asyncio.Event()
        self._stopped_by = 0
        self._running: dict[int, _Worker] = {}
        self._figures = ""

    async def run(self, on_started: Callable[[], Awaitable[None]]) -> None:
        """Until a signal, and until every worker has ended. `WorkerRefusedError` where the first cannot serve."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self.stop, signum)
        # The kernel's queue takes connections while no worker does.
        for one in self._listening:
            one.listen(BACKLOG)
        await asyncio.to_thread(sweep)
        with tempfile.TemporaryDirectory(prefix=f"{FIGURES}{os.getpid()}-") as self._figures:
            first = self._start(1)
            end, watch = loop.create_task(self._end()), None
            try:
                # Before the others: what keeps one from serving keeps all, and is to be said once.
                if not await first.serving():
                    code = await first.ended()
                    raise WorkerRefusedError(128 + self._stopped_by if self._stopping.is_set() else code)
                await on_started()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._keep(1, first))
                    for number in range(2, self._settings.workers + 1):
                        group.create_task(self._keep(number, self._start(number)))
                    watch = loop.create_task(self._watch())
            finally:
                end.cancel()
                if watch is not None:
                    watch.cancel()
                for worker in self._running.values():
                    worker.process.kill()

    async def _watch(self) -> None:
        """New rules, for all workers or for none, whenever there are some."""
        if self._rules is not None:
            await self._rules.watch(self._offer)

    async def _offer(self) -> None:
        if self._rules is None or self._exchange is None:
            return
        try:
            taken = await self._exchange.offer(await asyncio.to_thread(self._rules.read))
        except ConfigurationError as error:
            log.error(REFUSED, error)  # noqa: TRY400 - the operator's own
        except Exception as error:  # noqa: BLE001 - it is told, and the next rules may be taken
            bug("rules", error)
        else:
            log.info("new rules hold in %d workers", taken)

    def stop(self, signum: int) -> None:
        """First signal: pass it on and wait. Second: at once; the kernel takes the workers along."""
        if self._stopping.is_set():
            self._at_once(signum)
        self._stopped_by = signum
        self._stopping.set()
        for worker in self._running.values():
            worker.process.terminate()

    def _start(self, number: int) -> _Worker:
        descriptors = [one.fileno() for one in self._listening]
        rules = None if self._exchange is None else self._exchange.text
        name = "" if self._rules is None else str(self._rules.path)
        worker = _Worker(number, Orders(self._settings, descriptors, self._figures, os.getpid(), rules, name))
        self._running[number] = worker
        if self._stopping.is_set():
            worker.process.terminate()
        return worker

    async def _keep(self, number: int, worker: _Worker) -> None:
        """Start it again whenever it ends, later and later."""
        loop = asyncio.get_running_loop()
        failures, served = 0, worker if number == 1 else None  # the first was waited for
        while True:
            began = loop.time()
            if worker is not served:
                await worker.serving()
            code = await worker.ended()
            del self._running[number]
            # Its gauges are gone with it; what it counted stays counted.
            multiprocess.mark_process_dead(worker.process.pid, self._figures)  # type: ignore[no-untyped-call]  # reason: untyped
            if self._stopping.is_set():
                return
            failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
            least, most = BACKOFF_SECONDS
            delay = min(most, least * float(2 ** min(failures - 1, 10)))
            log.error(
                "worker %d (process %d) ended by %s: started again in %g s",
                number,
                worker.process.pid,
                _cause(code),
                delay,
            )
            try:
                await asyncio.wait_for(self._stopping.wait(), delay)
            except TimeoutError:
                worker = self._start(number)
            else:
                return

    async def _end(self) -> None:
        """When told to stop: no worker outlives what it was given."""
        await self._stopping.wait()
        await asyncio.sleep(self._settings.grace_seconds + self._settings.drain_seconds + END_SECONDS)
        for worker in self._running.values():
            log.error("worker %d (process %d) did not end and is killed", worker.number, worker.process.pid)
            worker.process.kill()


def sweep() -> None:
    """Remove the figures of parents that were killed before they could."""
    if guard.birth(os.getpid()) is None:
        return  # without a /proc everybody seems dead
    for left in Path(tempfile.gettempdir()).glob(f"{FIGURES}*"):
        pid = left.name.removeprefix(FIGURES).partition("-")[0]
        if pid.isdigit() and guard.birth(int(pid)) is None:
            shutil.rmtree(left, ignore_errors=True)


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class _Worker:
    """A process and the parent's end of its socket pair."""

    def __init__(self, number: int, orders: Orders) -> None:
        self.number = number
        ours, theirs = socket.socketpair()
        with theirs:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "realtime", "worker"],
                stdin=theirs.fileno(),
                pass_fds=orders.descriptors,
                # The terminal's Ctrl-C comes to the parent, which passes it on.
                process_group=0,
                # Read by the instruments when they are made, before any of our code could say so.
                env=process_environment(PROMETHEUS_MULTIPROC_DIR=orders.figures),
            )
        ours.setblocking(False)
        self._channel = ours
        self._answers = Answers()
        self._serving = asyncio.Event()
        self._served = False
        self._told = orders.encode()
        self._says = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._hearing = loop.create_task(self._hear())
        self._saying = loop.create_task(self._say())

    async def ask(self, line: Line) -> Line | None:
        """Say this, and wait for its answer; None: the worker is gone. `TimeoutError`."""
        number = line.get("offer") or line["take"]
        return await self._answers.to(number, lambda: self.say(line))

    def say(self, line: Line) -> None:
        """Say this, after what was said before."""
        self._told += encoded(line)
        self._says.set()

    def end(self) -> None:
        """End it at once."""
        self.process.kill()

    async def _say(self) -> None:
        """A worker that starts takes its time, and nobody waits for it."""
        loop = asyncio.get_running_loop()
        while True:
            told, self._told = self._told, b""
            try:
                await loop.sock_sendall(self._channel, told)
            except OSError:
                return  # gone, which is heard
            if not self._told:
                self._says.clear()
                await self._says.wait()

    async def _hear(self) -> None:
        """Until the other end is closed."""
        loop, rest = asyncio.get_running_loop(), b""
        try:
            while data := await loop.sock_recv(self._channel, 65536):
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    self._heard(json.loads(line))
        except OSError:
            pass
        finally:
            self._answers.end()
            self._serving.set()

    def _heard(self, line: Line) -> None:
        if "serving" in line:
            log.info("worker %d started (process %d)", self.number, self.process.pid)
            self._served = True
            self._serving.set()
        else:
            self._answers.take(line)

    async def serving(self) -> bool:
        """Until it takes connections, or is gone before it does."""
        await self._serving.wait()
        return self._served

    async def ended(self) -> int:
        """Until it is gone; its exit code."""
        await asyncio.wait({self._hearing})
        self._saying.cancel()
        await asyncio.wait({self._saying})
        self._channel.close()
        # Its last descriptor is closed: it is dead but for the kernel's bookkeeping.
        return await asyncio.to_thread(self.process.wait)


# -------------------------------------------------------------------------------------------------------- in a worker


def channel() -> socket.socket:
    """This worker's end of the pair. `ConfigurationError` where stdin is something else."""
    try:
        return socket.socket(fileno=sys.stdin.fileno())
    except (OSError, ValueError):
        raise ConfigurationError(BY_HAND) from None


def tell_serving(channel: socket.socket) -> None:
    """Tell the parent that this worker takes connections."""
    channel.sendall(encoded({"serving": True}))


def receive(channel: socket.socket) -> tuple[Orders, bytes]:
    """This process's orders, and what was received beyond them. From now on it does not outlive its parent.

    However that ends: where the kernel has no signal for it, the end of the pair does it (`Offers`).
    """
    line = b""
    while b"\n" not in line:
        data = channel.recv(65536)
        if not data:
            raise ConfigurationError(BY_HAND)
        line += data
    head, _, rest = line.partition(b"\n")
    orders = Orders.decode(head)
    if (die := guard.die_with(orders.parent)) is not None:
        die()
    return orders, rest
