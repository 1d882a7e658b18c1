"""What the service is measured beside, each a process of its own: `python -m tests.bench.rivals NAME URI DATABASE`.

`fastapi` serves `/ws`: FastAPI, and Motor's `watch` written to every socket. The others read a change stream until they
are ended, and say when which event came, by its number in `n`: `raw` by `getMore` alone, which decodes nothing, of the
last of each reply; `watch` by PyMongo's `watch`, of each thousandth; `bare` the same, of each. They begin with `ready`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pymongo
import uvicorn
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from motor.motor_asyncio import AsyncIOMotorClient

NUMBER = re.compile(rb"\x10n\0(.{4})", re.DOTALL)
"""A 32-bit integer named `n`, in BSON."""
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def say(line: str) -> None:
    """To who measures."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fastapi(uri: str, database: str) -> None:
    """What one writes who needs a stream of changes by the afternoon."""
    sockets: set[WebSocket] = set()

    async def tell(documents: Any) -> None:
        async with documents.watch() as stream:
            async for change in stream:
                text = json_util.dumps(change)
                for one in list(sockets):
                    await one.send_text(text)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(tell(AsyncIOMotorClient(uri)[database]))
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        sockets.add(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            sockets.discard(websocket)

    listening = socket.create_server(("127.0.0.1", 0))
    say(f"live at http://127.0.0.1:{listening.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, loop="uvloop", log_level="error")).run(sockets=[listening])


def raw(uri: str, database: str) -> None:
    """`getMore` again and again, on a stream with the service's own batch size."""
    documents = pymongo.MongoClient[Any](uri)[database]
    opened = {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {"batchSize": 1000}}
    with documents.client.start_session(causal_consistency=False) as session:
        cursor = documents.command(opened, session=session, codec_options=_RAW)["cursor"]["id"]
        say("ready")
        while True:
            more = {"getMore": cursor, "collection": "$cmd.aggregate", "batchSize": 1000, "maxTimeMS": 1000}
            reply = documents.command(more, session=session, codec_options=_RAW)
            found = reply["cursor"]["nextBatch"]
            if found and (number := NUMBER.search(bytes(found[-1].raw))) is not None:
                say(f"{int.from_bytes(number[1], 'little')} {time.monotonic()}")


def watch(uri: str, database: str, every: int = 1000) -> None:
    """PyMongo's own loop."""
    with pymongo.MongoClient[Any](uri)[database].watch() as stream:
        stream.try_next()
        say("ready")
        for change in stream:
            number = change["fullDocument"]["n"]
            if number % every == every - 1:
                say(f"{number} {time.monotonic()}")


def bare(uri: str, database: str) -> None:
    """The same, for latencies."""
    watch(uri, database, 1)


NAMES: dict[str, Callable[[str, str], None]] = {"fastapi": fastapi, "raw": raw, "watch": watch, "bare": bare}

if __name__ == "__main__":
    NAMES[sys.argv[1]](*sys.argv[2:])
