"""The two ports of a server, and the application behind each."""

from __future__ import annotations

from abc import ABC, abstractmethod

from starlette.types import ASGIApp, Receive, Scope, Send


class Door(ABC):
    """Of ours, around an application: nobody's middleware."""

    @abstractmethod
    def chosen(self, scope: Scope) -> ASGIApp:
        """Which application a request is for."""


class TwoDoors(Door):
    """One server on two ports: what comes in by the operators' port goes to their application.

    The port is that of the socket which took the connection; no header has a say in it.
    """

    def __init__(self, public: ASGIApp, admin: ASGIApp, admin_port: int) -> None:
        self._public = public
        self._admin = admin
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self.chosen(scope)(scope, receive, send)

    def chosen(self, scope: Scope) -> ASGIApp:
        """Which application a request is for."""
        server = scope.get("server")
        return self._admin if server is not None and server[1] == self._admin_port else self._public
