"""Writers that go on through elections, and what really happened by the oplog.

The time of a write that was retried is not in its answer: the new primary knows it by name and answers with a later
time. So the truth is read from the oplog when all is over, and every write that was acknowledged must be in it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pymongo
from pymongo import WriteConcern
from pymongo.errors import PyMongoError
from pymongo.synchronous.database import Database

from tests.exact.ledger import to_int
from tests.truth import Document, Truth, View, Write, name_of

Client = pymongo.MongoClient[dict[str, Any]]
COLLECTION = "docs"
PERIOD, KEPT = 5, 100
"""Of five writes two are inserts, one updates the first of those, and two delete what was inserted 100 writes ago."""
Change = tuple[str, str, int]
"""Operation, key, and the `n` that was set; -1 for a delete."""


class Writers:
    """Inserts, updates and deletes at a steady rate by several threads until told to stop."""

    def __init__(self, client: Client, database: str, *, rate: float, parts: int, threads: int = 8) -> None:
        concern = WriteConcern("majority", wtimeout=20_000)
        self.collection = client[database].get_collection(COLLECTION, write_concern=concern)
        self.acknowledged: set[Change] = set()
        self.in_doubt: Counter[str] = Counter()
        self.stopping = threading.Event()
        self.ended = threading.Event()
        self._rate, self._parts, self._threads = rate, parts, threads
        self._lock = threading.Lock()

    async def run(self) -> None:
        """All of them, to their end."""
        loop = asyncio.get_running_loop()
        # Threads of their own: the loop's default ones are six on two cores, and the test needs some too.
        with ThreadPoolExecutor(self._threads) as pool:
            await asyncio.gather(*(loop.run_in_executor(pool, self._write, one) for one in range(self._threads)))
        self.ended.set()

    async def stop(self) -> None:
        """The last write of each is answered or given up."""
        self.stopping.set()
        await asyncio.to_thread(self.ended.wait, 60)

    def _write(self, thread: int) -> None:
        number, pause = 0, self._threads / self._rate
        due = time.monotonic()
        while not self.stopping.wait(max(0, due - time.monotonic())):
            # Not made up for: who was held up goes on at the same rate.
            due = max(due + pause, time.monotonic() - pause)
            number += 1
            if number % PERIOD == 3:
                self._one("update", f"{thread}-{number - 2}", number)
            elif number % PERIOD in {4, 0} and number > KEPT + PERIOD:
                self._one("delete", f"{thread}-{number - 3 - KEPT}", -1)
            else:
                self._one("insert", f"{thread}-{number}", number)

    def _one(self, op: str, key: str, number: int) -> None:
        try:
            if op == "insert":
                part = hash_of(key) % self._parts
                self.collection.insert_one({"_id": key, "part": part, "n": number, "at": time.time()})
                done = True
            elif op == "update":
                done = bool(self.collection.update_one({"_id": key}, {"$set": {"n": number}}).modified_count)
            else:
                done = bool(self.collection.delete_one({"_id": key}).deleted_count)
        except PyMongoError as error:
            with self._lock:
                self.in_doubt[type(error).__name__] += 1
            return
        if done:
            with self._lock:
                self.acknowledged.add((op, key, number))


def hash_of(key: str) -> int:
    """The same in every process."""
    return sum(key.encode())


@asynccontextmanager
async def writing(writers: Writers) -> AsyncIterator[Writers]:
    """They write for the length of the block."""
    task = asyncio.create_task(writers.run())
    try:
        yield writers
    finally:
        writers.stopping.set()
        await task


def happened(database: Database[dict[str, Any]]) -> list[Write]:
    """Every change of `COLLECTION`, by the oplog of the primary."""
    found: list[Write] = []
    states: dict[str, Document] = {}
    namespace = f"{database.name}.{COLLECTION}"
    for entry in database.client["local"]["oplog.rs"].find({"ns": namespace}).sort("$natural", 1):
        if entry["op"] in {"i", "u", "d"}:
            found.append(_write(entry, to_int(entry["ts"]), states))
    return found


def _write(entry: dict[str, Any], time: int, states: dict[str, Document]) -> Write:
    change = entry["o"]
    if entry["op"] == "d":
        states.pop(name_of(change["_id"]), None)
        return Write(time, COLLECTION, "delete", change["_id"])
    if entry["op"] == "i":
        key, op, after = change["_id"], "insert", dict(change)
    else:
        # The tests' own updates are `$set` of fields at the top.
        key, op = entry["o2"]["_id"], "update"
        diff = change["diff"]
        assert diff.keys() <= {"u", "i"}, change
        after = {**states[name_of(key)], **diff.get("u", {}), **diff.get("i", {})}
    states[name_of(key)] = after
    return Write(time, COLLECTION, op, key, after)


def truth_of(database: Database[dict[str, Any]], acknowledged: set[Change]) -> Truth:
    """What happened; that all that was acknowledged is in it, and that it ends in what is there now."""
    writes = happened(database)
    done = {(one.op, str(one.key), (one.document or {"n": -1})["n"]) for one in writes}
    missing = acknowledged - done
    assert not missing, f"MongoDB lost {sorted(missing)[:3]}"
    truth = Truth(writes)
    view: View = {name_of(one["_id"]): one for one in database[COLLECTION].find()}
    assert truth.at(COLLECTION, 1 << 63) == view, "the collection is not what its oplog says"
    return truth
