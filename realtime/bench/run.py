"""A run of `realtime bench`: rights and limits asked, generators started, documents written, all of it removed."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime.bench import wording
from realtime.bench.calling import Caller, RefusedError, documents_of
from realtime.bench.crew import GeneratorError, Generators
from realtime.bench.generator import Orders
from realtime.bench.latencies import Latencies
from realtime.bench.plan import PREFIX, Plan
from realtime.bench.processes import Processes, Usage
from realtime.bench.result import Moment, Result, Server
from realtime.bench.sockets import HandshakeError, address_of, opened
from realtime.bench.writing import TRIAL, Direct, Store
from realtime.errors import ConfigurationError, ServiceError

IN_FLIGHT = 16
"""Inserts under way."""
WELCOME_SECONDS = 10.0
DRAIN_SECONDS = 30.0
"""After the last write, until what has not come counts as lost."""
LATE_FACTOR, LATE_SECONDS = 1.5, 5.0
"""Writing ends after so much longer than was planned, however much of it is done."""
REMOVE_SECONDS, REMOVED_PER_SECOND = 60.0, 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for. `tokens` are the subscribers', in turn; `token` is the writer's."""

    plan: Plan
    url: str
    token: str | None = field(repr=False)
    tokens: list[str] = field(repr=False)
    processes: int
    patience: float
    yes: bool
    handicap: int = 0


class Run:
    """One run. `note` gets a line of progress at a time."""

    def __init__(self, wanted: Wanted, store: Store, caller: Caller, note: Callable[[str], None]) -> None:
        self._wanted, self._plan = wanted, wanted.plan
        self._store, self._caller, self._note = store, caller, note
        self._direct = isinstance(store, Direct)
        self._launched = 0
        self._acknowledged = 0
        self._touched = False
        self._failure: RefusedError | ServiceError | None = None
        self._moments: list[Moment] = []
        self._busy: list[float] = []
        self._deliveries, self._latencies = 0, Latencies()
        self.left: str | None = None
        self.exact = False

    async def run(self) -> Result:
        """Everything. `ConfigurationError` before anything was written, `RefusedError` and its like later."""
        await self._look()
        generators = Generators()
        try:
            await self._try_rights()
            result = await self._measure(generators)
        finally:
            await generators.close()
            await self._remove()
        result.left, self.exact = self.left, result.exact
        return result

    # ---------------------------------------------------------------------------------------------------------- before

    async def _look(self) -> None:
        """Whether there is anything that may not be loaded."""
        held = await self._store.held()
        if held.get(self._plan.collection):
            raise ConfigurationError(f"{self._plan.collection} has documents already: leave out --collection")
        others = {name: count for name, count in held.items() if count and not name.startswith(PREFIX)}
        if others and not self._wanted.yes:
            named = ", ".join(f"{name} ({count:,})" for name, count in sorted(others.items())[:3])
            more = " and more" if len(others) > 3 else ""
            raise ConfigurationError(
                f"this database has other data: {named}{more}. A run loads the service and MongoDB of everybody who "
                "works with it; --yes says that it is meant"
            )

    async def _try_rights(self) -> None:
        """One document written and deleted again."""
        self._touched = True
        name = self._plan.collection
        try:
            await self._store.insert(
                [{**self._plan.document(0, 0), "_id": TRIAL, **dict.fromkeys(self._plan.queries, -1)}]
            )
            if self._direct:
                await self._caller.call("GET", documents_of(name, TRIAL))
            await self._store.delete(TRIAL)
        except RefusedError as error:
            if self._direct and error.status == 404:
                raise ConfigurationError(
                    "what is written to that MongoDB is not what this service serves: name its --mongodb-uri and "
                    "--database"
                ) from None
            if error.status in {401, 403}:
                wanted = f"A run has to insert into {name}, read it and delete there"
                mend = "give a --token whose rules let it, or --mint with a --role"
                told = error.args[0].partition(": ")[2].rstrip(".")
                raise RefusedError(error.status, error.code, f"{told}. {wanted}: {mend}", error.details) from None
            raise

    async def _limits(self) -> dict[str, Any]:
        """What `welcome` names."""
        told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def hear(text: bytes) -> None:
            if not told.done():
                told.set_result(orjson.loads(text))

        def end() -> None:
            if not told.done():
                told.set_exception(HandshakeError("it was closed at once", again=False))

        address = address_of(self._wanted.url)
        context = ssl.create_default_context() if address.tls else None
        token = self._wanted.tokens[0] if self._wanted.tokens else None
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                line = await opened(address, token, hear, end, context)
                frame = await told
            line.close()
        except TimeoutError:
            raise GeneratorError(f"no welcome in {WELCOME_SECONDS:g} s") from None
        except (HandshakeError, OSError) as error:
            raise GeneratorError(str(error)) from None
        if frame.get("type") != "welcome" or frame["requires_auth"]:
            raise GeneratorError(str(frame.get("message", "this service asks for a token: give --token or --mint")))
        limits: dict[str, Any] = frame["limits"]
        return limits

    # --------------------------------------------------------------------------------------------------------- measure

    async def _measure(self, generators: Generators) -> Result:
        if (wrong := self._plan.wrong(await self._limits())) is not None:
            raise ConfigurationError(wrong)
        address = address_of(self._wanted.url)
        server = Processes.listening(address.host, address.port)
        idle, began = server.usage(), time.monotonic()
        await generators.start(self._orders())
        ready = await self._ready(generators)
        connected, connect_seconds = server.usage(), max(one["seconds"] for one in ready)
        self._note(f"{self._plan.connections:,} connections live after {time.monotonic() - began:.1f} s")
        generators.second()
        began, spent = time.monotonic(), time.process_time()
        watching = asyncio.create_task(self._watch(generators, server, began))
        try:
            await self._write()
            write_seconds = time.monotonic() - began
            writer_busy = (time.process_time() - spent) / max(write_seconds, 1e-9)
            reports = await generators.done(self._launched, DRAIN_SECONDS)
        finally:
            watching.cancel()
        seconds, last = time.monotonic() - began, server.usage()
        self._count(generators, server, began, None)
        errors: dict[str, int] = {}
        for report in reports:
            for text, count in report["errors"].items():
                errors[text] = errors.get(text, 0) + count
        return Result(
            plan=self._plan,
            direct=self._direct,
            processes=len(reports),
            connect_seconds=connect_seconds,
            retries=sum(one["retries"] for one in ready),
            written=self._launched,
            write_seconds=write_seconds,
            seconds=seconds,
            deliveries=self._deliveries,
            lost=sum(one["lost"] for one in reports),
            repeated=sum(one["repeated"] for one in reports),
            wrong_views=sum(one["wrong_views"] for one in reports),
            resyncs=generators.resyncs,
            errors=errors,
            latencies=self._latencies,
            moments=self._moments,
            server=_server(server, idle, connected, last),
            writer_busy=writer_busy,
            limited_by=self._store.limited,
            busy=self._busy,
        )

    def _orders(self) -> list[Orders]:
        """The connections, spread over the processes."""
        count = min(self._wanted.processes, self._plan.connections)
        edges = [self._plan.connections * place // count for place in range(count + 1)]
        return [
            Orders(
                self._plan, self._wanted.url, first, last - first, self._wanted.tokens, self._wanted.patience,
                self._wanted.handicap,
            )
            for first, last in itertools.pairwise(edges)
        ]  # fmt: skip

    async def _ready(self, generators: Generators) -> list[dict[str, Any]]:
        waiting, said = asyncio.create_task(generators.ready()), -1
        try:
            while not (await asyncio.wait({waiting}, timeout=1.0))[0]:
                if generators.connected != said:
                    said = generators.connected
                    self._note(f"{said:,} of {self._plan.connections:,} connections live")
            return waiting.result()
        except GeneratorError as error:
            came = f"{generators.connected:,} of {self._plan.connections:,} connections came"
            raise GeneratorError(
                f"{came}: {error}. What the service lets one address and one principal hold is under Limits in "
                "docs/access.md"
            ) from None
        finally:
            waiting.cancel()

    async def _write(self) -> None:
        """Batch after batch when each is due, a few under way at once."""
        plan, gate, began = self._plan, asyncio.Semaphore(IN_FLIGHT), time.monotonic()
        until = began + plan.seconds * LATE_FACTOR + LATE_SECONDS
        under_way: set[asyncio.Task[None]] = set()
        try:
            for first in range(0, plan.total, plan.batch):
                await asyncio.sleep(max(began + first / plan.rate - time.monotonic(), 0))
                await gate.acquire()
                if time.monotonic() > until or self._failure is not None:
                    break
                self._launched = first + plan.batch
                task = asyncio.create_task(self._batch(first, gate))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            # Also after Ctrl-C: what is on its way would come after everything was removed.
            if under_way:
                await asyncio.wait(under_way)
        if self._failure is not None:
            raise self._failure

    async def _batch(self, first: int, gate: asyncio.Semaphore) -> None:
        at = time.monotonic_ns() // 1000
        try:
            await self._store.insert([self._plan.document(n, at) for n in range(first, first + self._plan.batch)])
            self._acknowledged += self._plan.batch
        except (RefusedError, ServiceError) as error:
            self._failure = self._failure or error
        finally:
            gate.release()

    async def _watch(self, generators: Generators, server: Processes, began: float) -> None:
        """Between two whole seconds, at which the generators say how it goes."""
        usage = server.usage()
        while True:
            await asyncio.sleep(1.0 - (time.monotonic() + 0.5) % 1.0)
            usage = self._count(generators, server, began, usage)
            self._note(wording.progress(self._moments[-1], self._plan))

    def _count(self, generators: Generators, server: Processes, began: float, before: Usage | None) -> Usage | None:
        """What came since the last time, as a moment."""
        second, now = generators.second(), server.usage()
        self._deliveries += second.deliveries
        self._latencies.take(second.latencies)
        if second.deliveries:
            self._busy += second.busy
        self._moments.append(
            Moment(
                at=time.monotonic() - began,
                written=self._acknowledged,
                deliveries=second.deliveries,
                p50=second.latencies.percentile(0.5),
                p99=second.latencies.percentile(0.99),
                cpu=None if now is None or before is None else now.seconds - before.seconds,
                memory=None if now is None else now.memory,
                busy=max(second.busy, default=0.0),
            )
        )
        return now

    # ----------------------------------------------------------------------------------------------------------- after

    async def _remove(self) -> None:
        """Everything that was written, in bounded time; `left` says what stays."""
        name = self._plan.collection
        if not self._touched:
            return
        try:
            async with asyncio.timeout(REMOVE_SECONDS + self._launched / REMOVED_PER_SECOND):
                count = await self._store.remove(self._launched)
            if count:
                self.left = f"{count:,} documents of {name}: drop it"
            elif not self._direct:
                self.left = f"{name}, empty: a service cannot drop a collection (--direct does)"
        except TimeoutError:
            self.left = f"documents of {name}, which could not be removed in time: drop it"
        except (RefusedError, ServiceError) as error:
            self.left = f"documents of {name}, which could not be removed ({error}): drop it"


def _server(found: Processes, idle: Usage | None, connected: Usage | None, last: Usage | None) -> Server | None:
    if idle is None or connected is None or last is None:
        return None
    return Server(
        names=found.found,
        cpu_seconds=last.seconds - connected.seconds,
        connect_seconds=connected.seconds - idle.seconds,
        idle_memory=idle.memory,
        connected_memory=connected.memory,
        memory=last.memory,
    )
