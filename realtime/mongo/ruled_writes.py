"""Writes under rules: what a principal may write, decided with the write, and answered by what they may read.

An update that cannot touch what its rule reads, and a delete, have the rule in their selector: one command, as without
rules. Everything else is a transaction that reads the document, judges it, writes, and judges what became of it. So is
a write whose selector found nothing: whether the document is missing, not seen or not to be written is told there, and
what is not seen is answered as what is missing, after the same commands. A replacement that keeps fields at the top,
which its writer does not see, is written without one where they are still what was read: a transaction is three
commands in three turns of a thread, this two in one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson import stored
from realtime.core.live.events import to_time
from realtime.core.mql.expressions.timezones import Named, Zones
from realtime.core.mql.writing import Permit, Update, WriteRule
from realtime.errors import DuplicateKeyError, ServiceError
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.client import EXACTLY, RAW
from realtime.mongo.exchanging import exchange
from realtime.mongo.redaction import TAKEN, redacted
from realtime.mongo.transactions import transact
from realtime.mongo.writes import Change, Outcome, Terms, raw_of, with_key
from realtime.ports import Condition, Document, Inserted, Membership, Ruling, Written

KEY = "_id"
_NOW = Timestamp(0, 0)
"""In its place at the top of a document MongoDB stores its own time."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A change of one document as it was asked for, under its rule."""

    rule: WriteRule
    asked: Update
    collection: str
    key: Any
    change: Change
    terms: Terms


class RuledWriter(CheckedWriter):
    """The writes of one principal. Every method raises `ServiceError` only, and none with a word of MongoDB's."""

    def __init__(self, writer: CheckedWriter, ruling: Ruling, zones: Callable[[Named], Awaitable[Zones]]) -> None:
        # The same client, database, gate and models: one is made for each request.
        vars(self).update(vars(writer))
        self._ruling = ruling
        self._zones = zones

    async def insert(self, collection: str, document: Document) -> Written:
        """Insert what the principal may. `DuplicateKeyError` without a word where any key of it is taken."""
        rule = await self._rule(collection)
        async with self._redacted(rule), self._session() as session:

            async def write(session: Any) -> dict[str, Any]:
                known = await self._known(session, collection, rule)
                permits = known.sent(document)
                whole = self._with_key(collection, document)
                known.made(permits, whole)
                await self._put(session, collection, whole)
                await self._look_again(session, collection, whole, known, permits)
                return whole

            together = bool(self._ruling.asks(collection)) or _is_stamped(document)
            whole = await (transact(session, write, self._seconds) if together else write(session))
            return Written(to_time(session.operation_time), whole[KEY])

    async def insert_many(self, collection: str, documents: Sequence[Document]) -> Inserted:
        """All of them in one transaction, or none."""
        rule = await self._rule(collection)
        async with self._redacted(rule), self._session() as session:

            async def write(transaction: Any) -> list[dict[str, Any]]:
                known = await self._known(transaction, collection, rule)
                made: list[tuple[tuple[Permit, ...], dict[str, Any]]] = []
                for index, document in enumerate(documents):
                    with _numbered(index):
                        permits, whole = known.sent(document), self._with_key(collection, document)
                        known.made(permits, whole)
                        made.append((permits, whole))
                await self._put_many(transaction, collection, [whole for _, whole in made])
                for index, (permits, whole) in enumerate(made):
                    with _numbered(index):
                        await self._look_again(transaction, collection, whole, known, permits)
                return [whole for _, whole in made]

            whole = await transact(session, write, self._seconds)
            return Inserted(to_time(session.operation_time), [document[KEY] for document in whole])

    async def replace(self, collection: str, key: Any, document: Document, **options: Any) -> Written:
        """Replace what the principal sees of the document; what they can neither read nor write stays."""
        return await self._ruled(collection, key, {KEY: key, **document}, replaces=True, **options)

    async def update(self, collection: str, key: Any, update: Document, **options: Any) -> Written:
        """Apply update operators to fields that are the principal's to write."""
        return await self._ruled(collection, key, update, replaces=False, **options)

    async def delete(
        self, collection: str, key: Any, *, where: Document | None = None, match: Condition | None = None
    ) -> Written:
        """Delete the document. `NotFoundError` for one that is not seen, too."""
        rule, terms = await self._rule(collection), Terms(where, match)
        async with self._redacted(rule), self._session() as session:
            selector = None
            if not self._ruling.asks(collection):
                _check(rule, terms)
                selector = rule.deleting() if terms.free else None
            if selector is not None and await self._remove(session, collection, key, selector):
                return Written(to_time(session.operation_time), key, matched=1)

            async def write(transaction: Any) -> None:
                known = await self._known(transaction, collection, rule)
                _check(known, terms)
                known.deleting()
                found = await self._found(transaction, collection, key)
                seen = None if found is None else known.seen(found[1])
                terms.check(None if found is None or seen is None else known.image(found[0]))
                if found is None or seen is None:
                    raise terms.unmet(collection)
                known.deletes(found[1])
                await self._check_where(transaction, collection, key, where)
                await self._remove(transaction, collection, key)

            await transact(session, write, self._seconds)
            return Written(to_time(session.operation_time), key, matched=1)

    # --------------------------------------------------------------------------------------------------------- change

    async def _ruled(
        self,
        collection: str,
        key: Any,
        source: Document,
        *,
        replaces: bool,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
        image: bool = False,
    ) -> Written:
        rule, terms = await self._rule(collection), Terms(where, match, upsert)
        change = Change(source, replaces, upsert, image)
        async with self._redacted(rule), self._session() as session:
            job = outcome = None
            if not self._ruling.asks(collection):
                job = _job(rule, collection, key, change, terms)
                outcome = await self._selected(session, job) or await self._kept(session, job)
            if job is None or outcome is None or not outcome.matched:

                async def write(transaction: Any) -> tuple[_Job, Outcome]:
                    known = job or _job(
                        await self._known(transaction, collection, rule), collection, key, change, terms
                    )
                    return known, await self._judged(transaction, known)

                job, outcome = await transact(session, write, self._seconds)
            raw = outcome.image.raw if image and outcome.image is not None else None
            return Written(
                to_time(session.operation_time),
                key,
                matched=outcome.matched,
                modified=outcome.modified if job.asked.tells else None,
                upserted=outcome.made if upsert else None,
                image=None if raw is None else job.rule.image(bytes(raw)),
            )

    async def _selected(self, session: Any, job: _Job) -> Outcome | None:
        """The write with its rule in the selector; None where the document has to be asked."""
        if job.asked.selector is None or not job.terms.free:
            return None
        change = dataclasses.replace(job.change, selector=job.asked.selector)
        if change.replaces:
            if _is_stamped(change.source):
                return None
            source = self._stored(job.collection, change.source, job.key)
            if source is not change.source:
                # Of what the model makes of it the rule is asked once more.
                return None
        return await self._apply(session, job.collection, job.key, change)

    async def _kept(self, session: Any, job: _Job) -> Outcome | None:
        """A replacement that keeps fields at the top: written where they are still as they were read.

        None where the document has to be asked in a transaction, as where somebody wrote in between.
        """
        given = dict(job.change.source)
        if job.asked.keeps is None or not job.terms.free or _is_stamped(given):
            return None
        if self._collections.model_of(job.collection) is not None:
            return None  # what it makes of the merged document is its own

        def made(raw: bytes) -> tuple[Document, Document] | None:
            return job.rule.exchanging(job.asked, stored.decode(raw), given)

        return await exchange(self._database, session, job.collection, job.key, made, image=job.change.image)

    async def _judged(self, transaction: Any, job: _Job) -> Outcome:
        """The write, and what it makes, judged by the document as it is in this transaction."""
        rule, terms, collection, key = job.rule, job.terms, job.collection, job.key
        found = await self._found(transaction, collection, key)
        seen = None if found is None else rule.seen(found[1])
        terms.check(None if found is None or seen is None else rule.image(found[0]))
        if found is None or seen is None:
            return await self._unseen(transaction, job, missing=found is None)
        permits, source = rule.before(job.asked, found[1]), job.change.source
        if job.change.replaces:
            permits, merging, merged = rule.merging(permits, found[1], dict(source))
            source = merging.kept(found[1], dict(self._stored(collection, merged, key)))
        await self._check_where(transaction, collection, key, terms.where)
        change = dataclasses.replace(job.change, source=source, upsert=False, image=True, known=found[0])
        outcome = await self._apply(transaction, collection, key, change)
        if outcome.image is not None:
            rule.after(permits, stored.decode(outcome.image.raw))
        return outcome

    async def _unseen(self, transaction: Any, job: _Job, *, missing: bool) -> Outcome:
        """An upsert where nothing is seen; anything else finds nothing."""
        rule, terms, collection, key = job.rule, job.terms, job.collection, job.key
        if not terms.upsert or terms.where is not None:
            raise terms.unmet(collection)
        # Whether it may be made at all is told first, as of what is missing: it is made beside the one that is there.
        at = key if missing else ObjectId()
        change = dataclasses.replace(job.change, image=True)
        if change.replaces:
            rule.sent({name: value for name, value in change.source.items() if name != KEY})
            source = {**self._stored(collection, change.source, key), KEY: at}
            change = dataclasses.replace(change, source=source)
        outcome = await self._apply(transaction, collection, at, change)
        if outcome.image is not None:
            made = {**stored.decode(outcome.image.raw), KEY: key}
            rule.upserted(job.asked, made)
        if not missing:
            raise DuplicateKeyError(TAKEN)
        return outcome

    # --------------------------------------------------------------------------------------------------------- inside

    async def _rule(self, collection: str) -> WriteRule:
        return await self._told(self._ruling.rule(collection))

    async def _told(self, rule: WriteRule) -> WriteRule:
        return rule.told(await self._zones(rule.zones)) if rule.zones else rule

    async def _known(self, transaction: Any, collection: str, rule: WriteRule) -> WriteRule:
        """The rule with what it asks of other collections, as this transaction has them."""
        asked = self._ruling.asks(collection)
        if not asked:
            return rule
        found = [await self._members(transaction, one) for one in asked]
        return await self._told(self._ruling.placed(collection, found))

    async def _members(self, transaction: Any, asked: Membership) -> Sequence[Any] | None:
        documents = self._database.get_collection(asked.collection, codec_options=RAW)
        selection = raw_of(asked.selection)
        cursor = documents.find(selection, collation=EXACTLY, session=transaction).limit(asked.most + 1)
        return asked.values([stored.decode(one.raw) async for one in cursor])

    def _with_key(self, collection: str, document: Document) -> dict[str, Any]:
        return dict(with_key(self._stored(collection, document)))

    async def _found(self, session: Any, collection: str, key: Any) -> tuple[bytes, dict[str, Any]] | None:
        raw = await self._find(session, collection, key)
        return None if raw is None else (raw, stored.decode(raw))

    async def _look_again(
        self, session: Any, collection: str, document: Document, rule: WriteRule, permits: Sequence[Permit]
    ) -> None:
        """Judge what was inserted, where MongoDB stores something else than it was given."""
        if _is_stamped(document):
            found = await self._found(session, collection, document[KEY])
            rule.made(permits, {} if found is None else found[1])

    @asynccontextmanager
    async def _redacted(self, rule: WriteRule) -> AsyncIterator[None]:
        try:
            yield
        except ServiceError as error:
            raise redacted(error, rule.shows) from None


def _job(rule: WriteRule, collection: str, key: Any, change: Change, terms: Terms) -> _Job:
    """What can be told of a change without the document. `ForbiddenError`."""
    _check(rule, terms)
    if change.replaces:
        asked = rule.replacing(dict(change.source), upsert=terms.upsert)
    else:
        asked = rule.updating(change.source, upsert=terms.upsert)
    return _Job(rule, asked, collection, key, change, terms)


def _check(rule: WriteRule, terms: Terms) -> None:
    if terms.where is not None:
        rule.asked(terms.where)


def _is_stamped(document: Mapping[str, Any]) -> bool:
    """Whether MongoDB puts its own time into it."""
    return any(value == _NOW for value in document.values() if type(value) is Timestamp)


@contextmanager
def _numbered(index: int) -> Iterator[None]:
    """What is wrong with one of several, with its place."""
    try:
        yield
    except ServiceError as error:
        raise type(error)(
            f"document {index}: {error.message}", details={**(error.details or {}), "index": index}
        ) from None
