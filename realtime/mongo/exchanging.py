"""A document read and replaced where it is still as it was read: two commands in one turn of one of Motor's threads.

What is asked of MongoDB in two turns costs three quarters more of the processor than a plain replacement, in one turn
under half as much (`python -m tests.bench.ruled_writes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bson.errors import InvalidBSON
from motor.frameworks import asyncio as motor_asyncio
from pymongo import ReturnDocument
from pymongo.errors import AutoReconnect

from realtime.mongo.client import EXACTLY, RAW, Database
from realtime.mongo.writes import Outcome, by_key, raw_of
from realtime.ports import Document

_in_a_thread: Any = motor_asyncio.run_on_executor
Made = Callable[[bytes], tuple[Document, Document] | None]
"""Of a document as BSON: what is to stand in its place, and a filter of those of which it would be just that."""


async def exchange(
    database: Database, session: Any, collection: str, key: Any, made: Made, *, image: bool
) -> Outcome | None:
    """Replace the document with this key by what is `made` of it, which is called in the thread.

    `image`: the document as it is afterwards is asked for. None: there is none, nothing is to be made of it, or it
    became another one meanwhile; then nothing was written. Raises the driver's errors.
    """
    raw = database.get_collection(collection, codec_options=RAW).delegate
    plain, below, known = database[collection].delegate, database.delegate, session.delegate

    def both() -> Outcome | None:
        # The command by hand: with a cursor of the driver's it takes a fifth more of the processor.
        read = {
            "find": collection,
            "filter": by_key(key),
            "collation": EXACTLY.document,
            "limit": 1,
            "singleBatch": True,
        }
        try:
            reply = below.command(read, session=known, codec_options=RAW)
        except AutoReconnect:
            return None  # the driver does not ask again by itself, and nothing was written so far
        found = next(iter(reply["cursor"]["firstBatch"]), None)
        pair = None if found is None else made(found.raw)
        if found is None or pair is None:
            return None
        document, selector = raw_of(pair[0]), by_key(key, pair[1])
        options = {"collation": EXACTLY, "session": known}
        if not image:
            result = plain.replace_one(selector, document, **options)
            return Outcome(1, result.modified_count, made=False) if result.matched_count else None
        after = raw.find_one_and_replace(selector, document, return_document=ReturnDocument.AFTER, **options)
        return None if after is None else Outcome(1, int(after.raw != found.raw), made=False, image=after)

    try:
        work: Awaitable[Outcome | None] = _in_a_thread(asyncio.get_running_loop(), both)
        return await work
    except InvalidBSON:
        # It was refused, and why is in a reply that the driver cannot read. Nothing was written.
        return None
