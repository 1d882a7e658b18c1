"""Writes of a socket's frames: carried out by their type, and answered."""

from __future__ import annotations

from realtime.core.access.principal import Principal
from realtime.core.live.events import format_position
from realtime.core.mql.filters import compile_filter
from realtime.core.wire import protocol
from realtime.ports import Written
from realtime.web.entrance.live import Live


async def carry_out(live: Live, request: protocol.Write, principal: Principal) -> Written:
    """A checked write of a principal's, by its type."""
    writer = live.writer_of(principal)
    if not isinstance(request, protocol.Insert) and request.where is not None:
        # Of a zone that it does not know MongoDB blames the document.
        await live.reader.zones(compile_filter(request.where, live.limits.filter).zones)
    match request:
        case protocol.Insert():
            return await writer.insert(request.collection, request.document)
        case protocol.Replace():
            return await writer.replace(
                request.collection, request.key, request.document, where=request.where, upsert=request.upsert
            )
        case protocol.Update():
            return await writer.update(
                request.collection, request.key, request.update, where=request.where, upsert=request.upsert
            )
        case protocol.Delete():
            return await writer.delete(request.collection, request.key, where=request.where)


def result(request: protocol.Write, written: Written, epoch: str) -> protocol.Result:
    """The answer to a write that is majority-committed."""
    return protocol.Result(
        id=request.id,
        position=format_position(epoch, written.time),
        key=written.key,
        matched=written.matched,
        modified=written.modified,
        upserted=written.upserted,
    )
