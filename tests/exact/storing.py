"""A writer that stores what no driver encodes, by commands whose parts are bytes, and counts what became of each.

Inserts, updates by operators and by pipelines, replacements, upserts and deletions, alone and in transactions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure
from pymongo.synchronous.database import Database

from realtime.core.bson import stored
from realtime.mongo.client import RAW
from tests.exact import raw_bson
from tests.exact.ledger import to_int
from tests.exact.raw_bson import PLACES, UPDATES, Made, RawBson, Value, deletion, document, element, statement

PLAIN, IMAGED = "odd", "imaged"
COLLECTIONS = (PLAIN, IMAGED)
"""One that keeps no images, and one that keeps both."""
LARGE, LARGE_IMAGED = "large", "large_imaged"
STORED, THERE = "stored", "another has its key"
_DUPLICATE, _NO_SUCH_TRANSACTION = 11000, 251
_TOGETHER = ("$set", "replace", "$push", "$unset")
"""Updates that nothing refuses: one that is refused ends its transaction."""


@dataclass(slots=True)
class Written:
    """What became of what: by class of value, place, and kind of write."""

    became: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, place: str, how: str, what: str = STORED) -> None:
        self.became[kind, place, how, what] += 1

    @property
    def inputs(self) -> int:
        """Documents and values that MongoDB was given."""
        return self.became.total()

    def of(self, **wanted: str) -> int:
        """How many there were with this `kind`, `place`, `how` or `what`."""
        names = ("kind", "place", "how", "what")
        return sum(
            count
            for row, count in self.became.items()
            if all(wanted.get(name, value) == value for name, value in zip(names, row, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Update:
    """One statement of an update, and what is counted of it."""

    kind: str
    place: str
    how: str
    statement: bytes


class Storing:
    """Writes into one database. `last`: the newest acknowledged cluster time."""

    def __init__(self, database: Database[dict[str, Any]], made: RawBson) -> None:
        self.database = database
        self.made = made
        self.dice = made.dice
        self.written = Written()
        self.transactions: Counter[str] = Counter()
        self.last = 0
        self._held: dict[tuple[str, bool], list[Made]] = {
            (name, calm): [] for name in COLLECTIONS for calm in (False, True)
        }

    def prepare(self) -> None:
        """The collections, empty."""
        for name in (*COLLECTIONS, LARGE, LARGE_IMAGED):
            images = {"enabled": name in {IMAGED, LARGE_IMAGED}}
            self.database.create_collection(name, changeStreamPreAndPostImages=images)

    # ----------------------------------------------------------------------------------------------------- commands

    def _run(self, command: dict[str, Any], session: ClientSession | None = None) -> dict[int, dict[str, Any]]:
        """Carry out a command; the write errors in its reply, by place."""
        if session is None:
            with self.database.client.start_session() as own:
                return self._run(command, own)
        reply = stored.decode(self.database.command(command, session=session, codec_options=RAW).raw)
        if session.operation_time is not None:
            self.last = max(self.last, to_int(session.operation_time))
        return {error["index"]: error for error in reply.get("writeErrors", ())}

    def _note(self, kind: str, place: str, how: str, error: dict[str, Any] | None) -> bool:
        """Count one; whether it was stored."""
        what = STORED
        if error is not None:
            what = THERE if error["code"] == _DUPLICATE else f"refused ({error['code']})"
            self.written.reasons.setdefault(what, str(error["errmsg"])[:80])
        self.written.add(kind, place, how, what)
        return error is None

    def _each(
        self, command: dict[str, Any], name: str, parts: Sequence[bytes], session: Any
    ) -> dict[int, dict[str, Any]]:
        """A command of many parts; where MongoDB refuses it as a whole, each half of it by itself."""
        full = {**command, name: [RawBSONDocument(part) for part in parts], "ordered": False}
        try:
            return self._run(full, session)
        except OperationFailure as error:
            if session is not None:
                raise
            if len(parts) == 1:
                return {0: {"index": 0, "code": error.code, "errmsg": str(error)}}
        half = len(parts) // 2
        first, rest = (self._each(command, name, some, None) for some in (parts[:half], parts[half:]))
        return first | {half + index: found for index, found in rest.items()}

    def insert(self, collection: str, made: Sequence[Made], how: str = "insert", session: Any = None) -> list[Made]:
        """Those that were stored."""
        errors = self._each({"insert": collection}, "documents", [one.raw for one in made], session)
        return [one for index, one in enumerate(made) if self._note(one.kind, one.place, how, errors.get(index))]

    def update(self, collection: str, updates: Sequence[Update], session: Any = None) -> None:
        """All of them in one command."""
        errors = self._each({"update": collection}, "updates", [update.statement for update in updates], session)
        for index, update in enumerate(updates):
            self._note(update.kind, update.place, update.how, errors.get(index))

    def delete(self, collection: str, wanted: Sequence[Value], session: Any = None) -> None:
        """All that match one of the filters."""
        statements = [RawBSONDocument(deletion(one)) for one in wanted]
        assert not self._run({"delete": collection, "deletes": statements, "ordered": False}, session)

    def touch(self, collection: str, made: Sequence[Made]) -> None:
        """A small update of each."""
        update = raw_bson.operator(b"$set", b"n", raw_bson.number(-5))
        self.update(collection, [Update(one.kind, one.place, "$set", statement(one.key, update)) for one in made])

    def remove(self, collection: str, made: Sequence[Made]) -> None:
        """By their keys."""
        self.delete(collection, [raw_bson.sub(document(element(b"_id", one.key))) for one in made])

    # -------------------------------------------------------------------------------------------------------- rounds

    def round(self, count: int) -> None:
        """About so many documents and values, in both collections, in every way."""
        for collection in COLLECTIONS:
            for calm in (False, True):
                part = count * (2 if not calm else 1) // 12
                held = self._held[collection, calm]
                held += self.insert(collection, [self.made.made(calm=calm) for _ in range(part)])
                self.update(collection, [self._an_update(held, calm=calm) for _ in range(part)])
            self.update(collection, [self._an_upsert() for _ in range(max(count // 50, 1))])

    def wrong(self) -> None:
        """What is no BSON."""
        self.insert(PLAIN, list(self.made.wrong()))

    def _an_update(self, held: Sequence[Made], *, calm: bool, of: Sequence[str] = ()) -> Update:
        kind, place, value = self.made.placed(calm=calm)
        names = of or [name for name in UPDATES if calm or not name.startswith("pipeline")]
        how = self.dice.choice(names)
        key = self.dice.choice(held).key
        return Update(kind, place, how, statement(key, UPDATES[how](value)))

    def _an_upsert(self) -> Update:
        one = self.made.made()
        return Update(one.kind, one.place, "upsert", statement(one.key, raw_bson.sub(document(one.rest)), upsert=True))

    def transaction(self, count: int, beside: dict[str, list[dict[str, Any]]]) -> None:
        """So many of each kind of write as one moment, with plain documents for other collections."""
        before = self.written.became.copy()
        held: dict[str, list[Made]] = {}
        with self.database.client.start_session() as session:
            try:
                with session.start_transaction():
                    for collection in COLLECTIONS:
                        held[collection] = self._together(collection, count, session)
                    for collection, documents in beside.items():
                        self.database[collection].insert_many(documents, session=session)
            except OperationFailure as error:
                self.written.became = before
                self.transactions[f"aborted ({error.code})"] += 1
                return
            assert session.operation_time is not None
            self.last = max(self.last, to_int(session.operation_time))
        self.transactions["committed"] += 1
        for collection, made in held.items():
            self._held[collection, False] += made

    def _together(self, collection: str, count: int, session: ClientSession) -> list[Made]:
        """Those that there are now. `OperationFailure` where one was refused, which has ended the transaction."""
        some = [self.made.made() for _ in range(count)]
        fresh = [one for one in some if one.place in PLACES]
        held = self.insert(collection, fresh, "transaction", session)
        if len(held) < len(fresh):
            raise OperationFailure("a write was refused", _NO_SUCH_TRANSACTION)
        self.update(collection, [self._an_update(held, calm=False, of=_TOGETHER) for _ in range(count)], session)
        gone, rest = held[: len(held) // 4], held[len(held) // 4 :]
        self.delete(collection, [raw_bson.sub(document(element(b"_id", one.key))) for one in gone], session)
        return rest

    def thin_out(self, keep: int) -> None:
        """Delete all but the newest of each collection, and everything that a replacement has made."""
        for collection in COLLECTIONS:
            bound = self.made.number - keep
            under = element(b"n", raw_bson.sub(raw_bson.document(element(b"$lte", raw_bson.number(bound)))))
            self.delete(collection, [raw_bson.sub(document(under))])
            for calm in (False, True):
                self._held[collection, calm] = self._held[collection, calm][-(keep // 4) :]


def table(written: Written) -> str:
    """By type and place what happened, as Markdown."""
    columns = raw_bson.ALL_PLACES
    rows = ["| value | " + " | ".join(columns) + " | updates |", "|---" * (len(columns) + 2) + "|"]
    kinds = list(dict.fromkeys(kind for kind, *_ in written.became))
    for kind in kinds:
        cells = [_cell(written, kind, place, of_updates=False) for place in columns]
        rows.append(f"| {kind} | " + " | ".join([*cells, _cell(written, kind, None, of_updates=True)]) + " |")
    return "\n".join(rows)


def _cell(written: Written, kind: str, place: str | None, *, of_updates: bool) -> str:
    found: Counter[str] = Counter()
    for (its_kind, its_place, how, what), count in written.became.items():
        if its_kind == kind and place in {None, its_place} and (how in UPDATES) is of_updates:
            found[what] += count
    return ", ".join(f"{count} {what}" for what, count in sorted(found.items(), reverse=True)) or "–"
