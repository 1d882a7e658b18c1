"""`/v1/ws` of an application that is the service and nothing else: its entrance, without the framework's way to it.

Routing, exit stacks and solved dependencies are a good part of what a connection costs, and there they decide nothing.
Whoever adds middleware or overrides a dependency has FastAPI's way for every request.
"""

from __future__ import annotations

from fastapi import FastAPI, WebSocketException
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from realtime.web.entrance.live import Entrance, Provide
from realtime.web.socket.doors import Door
from realtime.web.socket.socket import PATH, socket


class Direct(Door):
    """ASGI around an application of `create_app`; `provide` as the entrance has it."""

    def __init__(self, app: FastAPI, provide: Provide) -> None:
        self._app = app
        self._entrance = Entrance(provide, asks=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._goes(scope):
            await self._serve(WebSocket(scope, receive, send))
        else:
            await self._app(scope, receive, send)

    def chosen(self, scope: Scope) -> ASGIApp:
        """Which application a request is for."""
        return self._app

    def _goes(self, scope: Scope) -> bool:
        return (
            scope["type"] == "websocket"
            and scope["path"] == PATH
            and not (scope.get("root_path") or self._app.user_middleware or self._app.dependency_overrides)
        )

    async def _serve(self, websocket: WebSocket) -> None:
        # As the framework does: whoever asks which application this is, and which endpoint, gets an answer.
        websocket.scope.update(app=self._app, endpoint=socket)
        try:
            await self._entrance(websocket)
        except WebSocketException as refused:
            await websocket.close(refused.code, refused.reason)
            return
        await socket(websocket, websocket.state.realtime)
