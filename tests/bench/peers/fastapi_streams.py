"""FastAPI with a change stream for each socket: the code is shorter, and MongoDB does everything once for each."""

from __future__ import annotations

import sys
from typing import Any

import orjson
from fastapi import FastAPI, WebSocket
from motor.motor_asyncio import AsyncIOMotorClient

from tests.bench.peers.fastapi_manager import serve


def application(uri: str, database: str) -> FastAPI:
    app = FastAPI()
    # Each stream waits in a connection of its own.
    orders: Any = AsyncIOMotorClient(uri, maxPoolSize=None)[database].orders

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        async with orders.watch() as stream:
            await websocket.send_text('{"type":"live"}')
            async for change in stream:
                told = {"op": change["operationType"], "document": change["fullDocument"]}
                await websocket.send_text(orjson.dumps(told).decode())

    return app


if __name__ == "__main__":
    serve(application(*sys.argv[1:]))
