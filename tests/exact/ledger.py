"""Writers that keep what MongoDB acknowledged, for the checker: every change with its own cluster time."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson import json_util
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.synchronous.database import Database

from tests.checker import Read
from tests.truth import Document, Truth, View, Write, name_of

Session = ClientSession | None


@dataclass(frozen=True, slots=True)
class Op:
    """One change to make: `document` is what an insert or replace stores, what an update sets, None for a delete."""

    op: str
    collection: str
    key: Any
    document: Document | None = None


def insert(collection: str, key: Any, **fields: Any) -> Op:
    return Op("insert", collection, key, {"_id": key, **fields})


def update(collection: str, key: Any, **fields: Any) -> Op:
    return Op("update", collection, key, fields)


def delete(collection: str, key: Any) -> Op:
    return Op("delete", collection, key)


def to_int(timestamp: Timestamp) -> int:
    return timestamp.time << 32 | timestamp.inc


def to_timestamp(time: int) -> Timestamp:
    return Timestamp(time >> 32, time & 0xFFFFFFFF)


class Ledger:
    """Writes into one database and remembers them. Threads may share it where they write different keys."""

    def __init__(self, database: Database[dict[str, Any]], *, light: Iterable[str] = ()) -> None:
        self.database = database
        self.writes: list[Write] = []
        self.commits: list[int] = []
        self._light = frozenset(light)
        self._now: dict[str, View] = {}
        self._lock = threading.Lock()

    @property
    def last(self) -> int:
        """The newest acknowledged time."""
        return max(self.commits)

    def truth(self) -> Truth:
        return Truth(self.writes)

    def held(self, collection: str) -> View:
        """The collection by what was acknowledged so far."""
        return dict(self._now.get(collection, {}))

    def one(self, op: Op) -> int:
        """One change outside of any transaction."""
        with self.database.client.start_session() as session:
            changed = self._carry_out(op, session)
            return self._note([op] if changed else [], _time(session), None)

    def together(self, ops: Sequence[Op], *, fast: bool = False) -> int:
        """A transaction of them. Its events share the time of its commit.

        `fast`: neighbouring updates are one command, and each of them must change something.
        """
        with self.database.client.start_session() as session:
            changed: list[Op] = []
            with session.start_transaction():
                for run in _runs(ops):
                    if run[0].op == "insert" and len(run) > 1:
                        documents = [{**(op.document or {})} for op in run]
                        self.database[run[0].collection].insert_many(documents, session=session)
                        changed += run
                    elif run[0].op == "update" and fast:
                        asked = [UpdateOne({"_id": op.key}, {"$set": op.document}) for op in run]
                        result = self.database[run[0].collection].bulk_write(asked, session=session)
                        assert result.modified_count == len(run)
                        changed += run
                    else:
                        changed += [op for op in run if self._carry_out(op, session)]
            return self._note(changed, _time(session), uuid.uuid4().hex[:8])

    def bulk(self, collection: str, documents: Sequence[Document]) -> int:
        """`insert_many`: each document has a time of its own, which the oplog alone knows."""
        with self.database.client.start_session() as session:
            begin = self._clock()
            self.database[collection].insert_many([{**one} for one in documents], session=session)
            end = _time(session)
        wanted = {name_of(one["_id"]): one for one in documents}
        found = self.database.client["local"]["oplog.rs"].find(
            {
                "ns": f"{self.database.name}.{collection}",
                "op": "i",
                "ts": {"$gt": to_timestamp(begin), "$lte": to_timestamp(end)},
            },
            {"ts": 1, "o._id": 1},
        )
        times = [(to_int(entry["ts"]), entry["o"]["_id"]) for entry in found]
        assert len(times) == len(wanted)
        for time, key in times:
            self._note([Op("insert", collection, key, wanted[name_of(key)])], time, None)
        return end

    def catalogue(self, op: str, collection: str, to: str | None = None) -> int:
        """`drop` or `rename` (onto what is there, if anything is)."""
        command: dict[str, Any] = {"drop": collection}
        if op == "rename":
            source, target = f"{self.database.name}.{collection}", f"{self.database.name}.{to}"
            command = {"renameCollection": source, "to": target, "dropTarget": True}
        with self.database.client.start_session() as session:
            where = self.database.client.admin if op == "rename" else self.database
            where.command(command, session=session)
            return self.replaced(op, collection, _time(session), to)

    def replaced(self, op: str, collection: str, time: int, to: str | None = None) -> int:
        """Note that a collection was dropped, or renamed."""
        with self._lock:
            gone = self._now.pop(collection, {})
            if to is not None:
                self._now[to] = gone
            self.writes.append(Write(time, collection, op, to=to))
            self.commits.append(time)
        return time

    def drop_database(self) -> int:
        """`dropDatabase`: a `drop` of each collection and one more event; the oplog knows when."""
        begin = self._clock()
        self.database.client.drop_database(self.database.name)
        oplog = self.database.client["local"]["oplog.rs"]
        commands = list(oplog.find({"ns": f"{self.database.name}.$cmd", "ts": {"$gt": to_timestamp(begin)}}))
        for entry in commands:
            if "drop" in entry["o"]:
                self.replaced("drop", entry["o"]["drop"], to_int(entry["ts"]))
        (last,) = [entry for entry in commands if "dropDatabase" in entry["o"]]
        return self.replaced("dropDatabase", "", to_int(last["ts"]))

    def begun(self, collection: str, view: View) -> None:
        """Note what a collection holds before anything is written to it."""
        self._now[collection] = dict(view)

    def noted(self, op: Op, time: int) -> int:
        """Note a change that was made by other hands."""
        return self._note([op], time, None)

    def made(self, collection: str, key: Any, document: Document, time: int) -> None:
        """Note an insert that was made by other hands."""
        self._note([Op("insert", collection, key, document)], time, None)

    def out(self, source: str, target: str) -> int:
        """`$out`: a temporary collection is filled and renamed onto the target; the oplog knows when."""
        begin = self._clock()
        list(self.database[source].aggregate([{"$match": {}}, {"$out": target}]))
        oplog = self.database.client["local"]["oplog.rs"]
        name, since = self.database.name, {"$gt": to_timestamp(begin)}
        renamed = oplog.find_one({"ns": f"{name}.$cmd", "o.to": f"{name}.{target}", "ts": since})
        assert renamed is not None
        namespace = renamed["o"]["renameCollection"]
        temporary = namespace.removeprefix(f"{name}.")
        for entry in oplog.find({"ns": namespace, "op": "i", "ts": since}):
            self._note([Op("insert", temporary, entry["o"]["_id"], to_json(entry["o"]))], to_int(entry["ts"]), None)
        return self.replaced("rename", temporary, to_int(renamed["ts"]), target)

    def _clock(self) -> int:
        with self.database.client.start_session() as session:
            self.database.command("ping", session=session)
            return _time(session)

    def _carry_out(self, op: Op, session: Session) -> bool:
        """Whether that changed anything: an update that does not is no change, and has no time of its own."""
        collection = self.database[op.collection]
        if op.op == "insert":
            collection.insert_one({**(op.document or {})}, session=session)
            return True
        if op.op == "delete":
            return bool(collection.delete_one({"_id": op.key}, session=session).deleted_count)
        if op.op == "update":
            result = collection.update_one({"_id": op.key}, {"$set": op.document}, session=session)
        else:
            result = collection.replace_one({"_id": op.key}, op.document or {}, session=session)
        assert result.matched_count == 1
        return bool(result.modified_count)

    def _note(self, ops: Sequence[Op], time: int, transaction: str | None) -> int:
        with self._lock:
            for op in ops:
                now = self._now.setdefault(op.collection, {})
                name = name_of(op.key)
                after: Document | None = None
                if op.op != "delete":
                    after = {**(now.get(name, {}) if op.op == "update" else {"_id": op.key}), **(op.document or {})}
                    after = {field: value for field, value in after.items() if field not in self._light}
                    now[name] = after
                else:
                    now.pop(name, None)
                self.writes.append(Write(time, op.collection, op.op, op.key, after, transaction))
            if ops:
                self.commits.append(time)
        return time


def _runs(ops: Sequence[Op]) -> list[list[Op]]:
    """Neighbours of one kind and collection, so that many inserts are one command."""
    runs: list[list[Op]] = []
    for op in ops:
        if runs and (runs[-1][0].op, runs[-1][0].collection) == (op.op, op.collection):
            runs[-1].append(op)
        else:
            runs.append([op])
    return runs


def _time(session: ClientSession) -> int:
    assert session.operation_time is not None
    return to_int(session.operation_time)


def reader(database: Database[dict[str, Any]]) -> Read:
    """Snapshot reads at a cluster time, as JSON values."""

    def read(collection: str, time: int) -> View:
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
        with database.client.start_session(causal_consistency=False) as session:
            reply = database.command(
                {"find": collection, "readConcern": concern, "batchSize": 100_000}, session=session
            )
            assert not reply["cursor"]["id"]
            return {name_of(one["_id"]): one for one in map(to_json, reply["cursor"]["firstBatch"])}

    return read


def to_json(document: Document | RawBSONDocument) -> Document:
    """A document as the wire has it: relaxed Extended JSON."""
    raw = document.raw if isinstance(document, RawBSONDocument) else bson.encode(document)
    options = json_util.RELAXED_JSON_OPTIONS
    shown: Document = json.loads(json_util.dumps(bson.decode(raw), json_options=options))
    return shown
