"""FastAPI as its documents have it: a `ConnectionManager`, and Motor's `watch` broadcast to every socket."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from motor.motor_asyncio import AsyncIOMotorClient


class ConnectionManager:
    """Of the documents' page on WebSockets."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for connection in list(self.active_connections):
            await connection.send_text(message)


def application(uri: str, database: str) -> FastAPI:
    manager = ConnectionManager()

    async def tell(stream: Any) -> None:
        async for change in stream:
            told = {"op": change["operationType"], "document": change["fullDocument"]}
            await manager.broadcast(orjson.dumps(told).decode())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncIOMotorClient(uri)[database].orders.watch() as stream:
            task = asyncio.create_task(tell(stream))
            yield
            task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await manager.connect(websocket)
        await websocket.send_text('{"type":"live"}')
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            manager.disconnect(websocket)

    return app


def serve(app: FastAPI) -> None:
    """On a free port, which is said."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    sys.stdout.write(f"live at {listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", ws_per_message_deflate=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    serve(application(*sys.argv[1:]))
