"""One cell of the matrix, run: its collection, its writers, its reader, and what that reader may have been told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from pymongo.synchronous.database import Database

from tests.exact.ledger import Ledger, Op, delete, insert, update
from tests.rules import judge
from tests.rules.cells import Cell
from tests.rules.readers import NAME, PATIENCE, Socket, Stream, patiently
from tests.rules.ruled import Person, Rules, Sight, matches, sight
from tests.rules.scene import (
    MEMBERS,
    NARROW,
    PEOPLE,
    ROOT,
    SETS,
    WIDE,
    Maker,
    bearer,
    memberships,
    ruled,
    taken,
    token,
)
from tests.rules.stages import ROWS, STAGES, grouped, rows, staged
from tests.truth import Document, Truth, View, name_of, time_of

SEEDED = 60
A_ROUND = 18
"""Writes of one round; each cell has three."""
BULK = "x" * 200_000
OVERFLOWING = 36
"""Writes of that size: more than a deaf socket's buffers and `outbox_bytes`."""
LIMIT = 8


@dataclass(frozen=True, slots=True)
class Urls:
    """The services of a run by what each is for."""

    journal: str
    oplog: str
    restart: str

    def of(self, cell: Cell) -> str:
        return {"oplog": self.oplog, "restart": self.restart}.get(cell.circumstance, self.journal)


class Run:
    """A cell, in three stages: before its access changes, while it changes, and after."""

    def __init__(self, number: int, cell: Cell, seed: int, database: Database[dict[str, Any]]) -> None:
        self.cell, self.number = cell, number
        self.collection = f"c{number}"
        self.members = f"m{number}"
        """The collection with who is a member of what, where that is in one."""
        self.maker = Maker(seed + number, tag=number + 1)
        self.dice = self.maker.dice
        self.database = database
        self.ledger = Ledger(database)
        self.verdict = judge.Verdict()
        self.initial: dict[str, View] = {}
        self.images = cell.mode == "events" and self.dice.random() < 0.7
        self.people = self._people()
        self.rules = self._rules()
        self.told_rules = tuple(taken(one, self.members) for one in self.rules) if self.by_sets else self.rules
        """As the service is given them."""
        self.reader: Socket | Stream | None = None
        self.polled: list[Callable[[Truth], None]] = []
        self.raw: list[bytes] = []
        self.waiting = asyncio.Event()
        """Whether it waits for the change of rules."""
        self.mark_of_change = 0
        self.changed_at = 0
        """The cluster time after which the new rule or token counts."""

    # ------------------------------------------------------------------------------------------------- before a run

    @property
    def _what(self) -> tuple[str, bool]:
        what, _, direction = self.cell.change.partition(" ")
        return what, direction == "gives"

    @property
    def by_sets(self) -> bool:
        """Whether its rules go by what is in another collection, and a document there is what changes."""
        return self._what[0] == "set"

    def _people(self) -> tuple[Person, Person]:
        what, gives = self._what
        if what == "set":
            fewer, more = MEMBERS[self.cell.who]
            return (fewer, more) if gives else (more, fewer)
        narrow, wide = PEOPLE[self.cell.who]
        if what != "token":
            return narrow, narrow
        return (narrow, wide) if gives else (wide, narrow)

    def _rules(self) -> tuple[Rules, Rules]:
        if self.by_sets:
            return ruled(SETS, self.collection), ruled(SETS, self.collection)
        narrow, wide = (ruled(one, self.collection) for one in (NARROW, WIDE))
        what, gives = self._what
        if what != "rule":
            return narrow, narrow
        return (narrow, wide) if gives else (wide, narrow)

    def seed(self) -> None:
        """The collection as it is before anybody looks."""
        options: dict[str, Any] = {"changeStreamPreAndPostImages": {"enabled": True}} if self.images else {}
        self.database.create_collection(self.collection, **options)
        documents = [self.maker.document(self.maker.key(), self.cell.who) for _ in range(SEEDED)]
        self.database[self.collection].insert_many([{**one} for one in documents])
        view = {name_of(one["_id"]): one for one in documents}
        self.initial[self.collection] = view
        self.ledger.begun(self.collection, view)
        if self.by_sets:
            # Beside what others are, who must not be taken for them.
            those = memberships(self.people[0]) | memberships(Person("zed", (), {"teams": ["t1", "t2", "t3"]}))
            self.database[self.members].insert_many([{"_id": key, **one} for key, one in those.items()])
            self.ledger.begun(self.members, {name_of(key): {"_id": key, **one} for key, one in those.items()})

    def bearer_of(self, phase: int) -> Person:
        """By whose token they come: nothing of what a collection says stands in it."""
        person = self.people[phase]
        return Person(person.sub, person.roles) if self.by_sets else person

    # ------------------------------------------------------------------------------------------------------- stages

    async def before(self, urls: Urls) -> None:
        self.url = urls.of(self.cell)
        self.reader = self._reader()
        if self.reader is not None:
            answer = await self.reader.open(token(self.bearer_of(0)))
            assert answer["type"] == "live", (self.cell, answer)
        # A row, or an event, is less than a document.
        await self._writes(
            A_ROUND * (2 if self.cell.way in {"ws group", "ws rows"} or self.cell.mode == "events" else 1)
        )
        await self._poll(0)
        if self.cell.away and self.reader is not None:
            await self._reached()
            await self.reader.close()

    async def changing(self, reload: asyncio.Event) -> None:
        """Rules are changed by whoever runs all cells, while this one does not write."""
        what, _ = self._what
        self.changed_at = self.ledger.last
        if what == "rule":
            await self._caught_up()
            if self.reader is not None:
                self.mark_of_change = len(self.reader.frames)
            self.waiting.set()
            await reload.wait()
            if self.reader is not None and not self.cell.away:
                await self._again(self.mark_of_change)
        elif what == "token":
            await self._caught_up()
            await self._token()
        else:
            await self._membership()
        if self.cell.circumstance == "overflow" and isinstance(self.reader, Socket):
            await self._overflow()
        await self._writes(A_ROUND)
        if self.cell.circumstance == "resync":
            await asyncio.to_thread(self.ledger.catalogue, "drop", self.collection)
            await self._writes(3, kinds=("insert",))
        await self._poll(1)

    async def after(self, urls: Urls) -> None:
        self.url = urls.of(self.cell)
        if self.cell.away and self.reader is not None:
            self.reader.url = self.url
            answer = await self.reader.open(token(self.bearer_of(1)), phase=1, resume=True)
            if answer["type"] != "live" and self.cell.mode == "events" and answer.get("code") == "history_lost":
                self.verdict.figures["history_lost"] += 1
                await self.reader.close()
                answer = await self.reader.open(token(self.bearer_of(1)), phase=1)
            assert answer["type"] == "live", (str(self.cell), answer)
        await self._writes(A_ROUND * (2 if self.cell.mode == "events" else 1))
        await self._poll(1)
        if self.reader is not None:
            await self._reached()
            await self.reader.close()

    # ------------------------------------------------------------------------------------------------------ readers

    def _request(self) -> dict[str, Any]:
        base: dict[str, Any] = {"collection": self.collection}
        return {
            "ws query": base | {"filter": {"qty": {"$lt": 8}}},
            "sse query": base | {"filter": {"qty": {"$lt": 8}}},
            "ws window": base | {"sort": [["qty", -1]], "limit": LIMIT},
            "ws group": base | {"group": {"by": ["status"], "count": True, "sum": ["qty"], "max": ["title"]}},
            "ws stages": base | {"pipeline": STAGES},
            "ws rows": base | {"pipeline": ROWS},
            "ws throttle": base | {"throttle": 60, "projection": {"title": 1, "margin": 1, "notes": 1, "lines": 1}},
        }.get(self.cell.way, base | {"mode": "events"})

    def _reader(self) -> Socket | Stream | None:
        request = self._request()
        if self.cell.mode == "poll":
            return None
        if self.cell.way.startswith("ws"):
            return Socket(self.url, request, deaf=self.cell.circumstance == "overflow")
        what = "events" if self.cell.mode == "events" else "documents"
        parameters = {name: json.dumps(request[name]) for name in ("filter",) if name in request}
        return Stream(self.url, f"/v1/collections/{self.collection}/{what}", parameters, request)

    def _position(self) -> str:
        assert self.reader is not None
        epoch = next(one["position"][:8] for one in self.reader.frames if "position" in one)
        return f"{epoch}-{self.ledger.last:016X}"

    async def _reached(self) -> None:
        if self.reader is not None and self.ledger.commits:
            try:
                await self.reader.reach(self._position())
            except TimeoutError:
                self.verdict.say("lost", "never reached", f"{self._position()}: {self.reader.frames[-3:]}")

    async def _caught_up(self) -> None:
        if self.reader is not None and not self.cell.away:
            await self._reached()

    async def _again(self, after: int) -> None:
        """Their effective query is another one: it is told anew, on a new channel."""
        assert self.reader is not None
        try:
            await self.reader.until(lambda got: got["type"] == "subscribed" and got["id"] == NAME, after=after)
        except TimeoutError:
            self.verdict.say("lost", "never subscribed again", self.reader.frames[after:][:3])
            return
        place = next(n for n, got in enumerate(self.reader.frames) if n >= after and got["type"] == "subscribed")
        answer = await self.reader.live(after=place)
        assert answer["type"] == "live", (str(self.cell), answer)

    async def _token(self) -> None:
        if self.cell.away or self.reader is None:
            return
        after = len(self.reader.frames)
        if isinstance(self.reader, Socket):
            answer = await self.reader.ask({"type": "auth", "token": token(self.people[1])})
            assert answer["type"] == "authenticated", answer
            await self._again(after)
            return
        await self.reader.close()
        answer = await self.reader.open(token(self.people[1]), phase=1, resume=True)
        assert answer["type"] == "live", (str(self.cell), answer)

    async def _membership(self) -> None:
        """What they are a member of is something else, in one transaction with documents that this concerns."""
        before, after = (memberships(person) for person in self.people)
        ops: list[Op] = [delete(self.members, key) for key in before.keys() - after.keys()]
        ops += [insert(self.members, key, **after[key]) for key in after.keys() - before.keys()]
        touched = self.dice.sample(self._keys(), 4)
        ops += [update(self.collection, key, **self.maker.changed(self.cell.who)) for key in touched]
        key = self.maker.key()
        ops.append(insert(self.collection, key, **self.maker.document(key, self.cell.who) | {"_id": key}))
        self.dice.shuffle(ops)
        self.changed_at = await asyncio.to_thread(self.ledger.together, ops)

    async def _overflow(self) -> None:
        assert isinstance(self.reader, Socket)
        self.reader.deafen()
        for _ in range(OVERFLOWING):
            key = self._some_key()
            fields = {
                "notes": {"internal": self.maker.mark(), "open": self.maker.mark() + BULK},
                "owner": self.cell.who,
            }
            await asyncio.to_thread(self.ledger.one, update(self.collection, key, **fields))
        for key in self._keys():
            fields = {"notes": {"internal": self.maker.mark(), "open": self.maker.mark()}}
            await asyncio.to_thread(self.ledger.one, update(self.collection, key, **fields))
        self.reader.hear()
        await self._reached()

    # ------------------------------------------------------------------------------------------------------- writes

    def _keys(self) -> list[str]:
        return [one["_id"] for one in self.ledger.held(self.collection).values()]

    def _some_key(self) -> str:
        return str(self.dice.choice(self._keys()))

    def _op(self, kinds: Sequence[str]) -> Op:
        kind = self.dice.choice(kinds)
        if kind == "insert" or len(self._keys()) < 8:
            key = self.maker.key()
            return insert(self.collection, key, **self.maker.document(key, self.cell.who) | {"_id": key})
        key = self._some_key()
        if kind == "delete":
            return delete(self.collection, key)
        if kind == "replace":
            return Op("replace", self.collection, key, self.maker.document(key, self.cell.who))
        return update(self.collection, key, **self.maker.changed(self.cell.who))

    async def _writes(
        self, count: int, kinds: Sequence[str] = ("update",) * 6 + ("insert", "delete", "replace")
    ) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, headers=bearer(ROOT)) as http:
            for _ in range(count):
                way = self.dice.random()
                if way < 0.3:
                    await self._through(http, self._op(kinds))
                elif way < 0.5:
                    ops = {op.key: op for op in (self._op(kinds) for _ in range(self.dice.choice([2, 3])))}
                    await asyncio.to_thread(self.ledger.together, list(ops.values()))
                else:
                    await asyncio.to_thread(self.ledger.one, self._op(kinds))

    async def _through(self, http: httpx.AsyncClient, op: Op) -> None:
        """The same by the service, whoever may do everything being the writer."""
        path = f"/v1/collections/{op.collection}/documents"
        if op.op == "insert":
            answer = await patiently(lambda: http.post(path, json=op.document))
        elif op.op == "delete":
            answer = await patiently(lambda: http.delete(f"{path}/{op.key}"))
        elif op.op == "replace":
            answer = await patiently(lambda: http.put(f"{path}/{op.key}", json=op.document))
        else:
            answer = await patiently(lambda: http.patch(f"{path}/{op.key}", json={"$set": op.document}))
        if answer.status_code == 403:
            self.verdict.figures["writes refused"] += 1
            await asyncio.to_thread(self.ledger.one, op)
            return
        assert answer.is_success, (str(self.cell), op, answer.text)
        self.verdict.figures["writes by the service"] += 1
        told = answer.json()
        if op.op in {"insert", "delete"} or told["modified"]:
            self.ledger.noted(op, time_of(told["position"]))

    # -------------------------------------------------------------------------------------------------------- polls

    async def _poll(self, phase: int) -> None:
        if self.cell.mode != "poll":
            return
        path = f"/v1/collections/{self.collection}/documents"
        person = self.bearer_of(phase)
        time_now = self.ledger.last if self.ledger.commits else 0
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, headers=bearer(person)) as http:
            if self.cell.way == "one":
                await self._poll_each(http, path, phase, time_now)
                return
            if self.cell.way == "aggregate":
                await self._poll_stages(http, phase)
                return
            asked: dict[str, Any] = {"filter": json.dumps({"qty": {"$lt": 8}}), "limit": 1000}
            headers = {"Accept": "application/x-ndjson"} if self.cell.way == "ndjson" else {}
            if self.cell.way == "list":
                asked["count"] = "true"
            answer = await patiently(lambda: http.get(path, params=asked, headers=headers))
        self.raw.append(answer.content)
        assert answer.status_code == 200, (str(self.cell), answer.text)
        if self.cell.way == "list":
            told = answer.json()
            documents, time_now = told["documents"], time_of(told["position"])
            assert told["count"] == len(documents)
        else:
            lines = [json.loads(line) for line in answer.text.splitlines()]
            end = lines.pop()
            assert end == {"end": True}, (str(self.cell), end)
            documents = lines
        self.polled.append(lambda truth: self._judge_poll(truth, phase, time_now, documents))

    async def _poll_stages(self, http: httpx.AsyncClient, phase: int) -> None:
        path = f"/v1/collections/{self.collection}/aggregate"
        answer = await patiently(lambda: http.post(path, json=STAGES))
        self.raw.append(answer.content)
        assert answer.status_code == 200, (str(self.cell), answer.text)
        told = answer.json()
        self.polled.append(lambda truth: self._judge_poll(truth, phase, time_of(told["position"]), told["documents"]))

    async def _poll_each(self, http: httpx.AsyncClient, path: str, phase: int, time_now: int) -> None:
        documents = []
        for key in self._keys():
            answer = await patiently(partial(http.get, f"{path}/{key}"))
            self.raw.append(answer.content.replace(key.encode(), b"") if answer.status_code == 404 else answer.content)
            assert answer.status_code in {200, 404}, (str(self.cell), answer.text)
            if answer.status_code == 200:
                documents.append(answer.json())
        self.polled.append(lambda truth: self._judge_poll(truth, phase, time_now, documents))

    def _judge_poll(self, truth: Truth, phase: int, time_now: int, documents: list[Document]) -> None:
        expected = self._expected(truth, phase, time_now)
        self.verdict.figures["shown"] += len(documents)
        self.verdict.figures["withheld"] += len(truth.at(self.collection, time_now)) - len(documents)
        self.verdict.figures["compared"] += 1
        mine, theirs = (sorted(side, key=lambda one: name_of(one["_id"])) for side in (documents, expected))
        if mine != theirs:
            self.verdict.say("view_differs", f"poll at {time_now:016X} phase {phase}", judge._difference(mine, theirs))

    # -------------------------------------------------------------------------------------------------------- judge

    def _sight(self, phase: int, at: int | None = None) -> Sight:
        """What they see; of sets that hangs on the cluster time, and on nothing that the reader hears of."""
        if self.by_sets and at is not None:
            phase = int(at >= self.changed_at > 0)
        return sight(self.rules[phase], self.people[phase], self.collection)

    def _sight_of(self, phase: int, _: str, at: int) -> Sight:
        return self._sight(phase, at)

    def _expected(self, truth: Truth, phase: int, at: int) -> list[Document]:
        """What the reader's view is at a cluster time."""
        seen = self._sight(phase, at)
        shown = [seen.shown(one) for one in truth.at(self.collection, at).values()]
        documents = [one for one in shown if one is not None]
        way = self.cell.way
        if way == "ws window":
            return sorted(sorted(documents, key=lambda one: one["_id"]), key=lambda one: -one["qty"])[:LIMIT]
        if way == "ws group":
            return grouped(documents)
        if way in {"ws stages", "aggregate"}:
            return staged(documents)
        if way == "ws rows":
            return rows(documents)
        if way == "ws throttle":
            names = {"_id", "title", "margin", "notes", "lines"}
            return [{name: value for name, value in one.items() if name in names} for one in documents]
        return documents if way == "one" else [one for one in documents if matches(one, {"qty": {"$lt": 8}})]

    def judged(self) -> judge.Verdict:
        """Everything that came, against everything that was written."""
        truth = Truth(self.ledger.writes, self.initial)
        phases = [partial(self._expected, truth, phase) for phase in (0, 1)]
        if self.reader is not None and self.cell.mode == "query":
            follower: Any = judge.Query(
                self.verdict,
                phases,
                ordered=self.cell.way == "ws window",
                ever=partial(self._ever, truth),
            )
            for frame in self.reader.frames:
                follower.take(frame)
            self._withheld(truth, follower)
            self._ended(follower)
        elif self.reader is not None:
            sights = [partial(self._sight_of, phase) for phase in (0, 1)]
            events = judge.Events(self.verdict, truth, sights, [self.collection])
            for frame in self.reader.frames:
                events.take(frame)
            events.end({self.collection: self.images})
            self._ended(events)
        for one in self.polled:
            one(truth)
        judge.secrets([*(self.reader.raw if self.reader else ()), *self.raw], self._allowed(truth), self.verdict)
        return self.verdict

    def _ended(self, follower: Any) -> None:
        code = (follower.ended or {}).get("code")
        if follower.ended is not None and code != "history_lost":
            self.verdict.say("lost", "the subscription ended", follower.ended)

    def _ever(self, truth: Truth, name: str, since: int, until: int) -> bool:
        times = [since, *(at for at, one, _ in truth.touches(self.collection, since, until) if one == name), until]
        states = [truth.state(self.collection, name, at) for at in times]
        return any(state is not None and self._sight(phase).sees(state) for state in states for phase in (0, 1))

    def _withheld(self, truth: Truth, follower: judge.Query) -> None:
        """Changes of which something was kept from them, and documents that stay unseen."""
        end = time_of(follower.position) if follower.position else 0
        for at, name, _ in truth.touches(self.collection, 0, end):
            state = truth.state(self.collection, name, at)
            shown = self._sight(0).shown(state)
            self.verdict.figures["withheld"] += judge.marks_in(state) > judge.marks_in(shown)
        view = truth.at(self.collection, end).values()
        self.verdict.figures["withheld"] += sum(not self._sight(1).sees(one) for one in view)

    def _allowed(self, truth: Truth) -> set[bytes]:
        """Marks of everything that was ever shown to this person: each state at its time, and what stood before it."""
        allowed: set[bytes] = set()
        every = {at: {name} for at, name, _ in truth.touches(self.collection, 0, 1 << 64)}
        for at, name, _ in truth.touches(self.collection, 0, 1 << 64):
            every[at].add(name)
        turns = {0, self.changed_at}
        for at in sorted({*every, *turns}):
            phases = {0} if at < self.changed_at else {1} if at > self.changed_at or self.by_sets else {0, 1}
            names = truth.at(self.collection, at) if at in turns else every[at]
            for phase in phases:
                seen = self._sight(phase)
                for name in names:
                    for moment in (at - 1, at):
                        allowed |= judge.marks_in(seen.shown(truth.state(self.collection, name, moment)))
        return allowed
