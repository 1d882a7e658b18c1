"""Requests of the service's HTTP interface, for what is written, asked and removed around a run."""

from __future__ import annotations

import asyncio
import http.client
import queue
import ssl
import time
from typing import Any
from urllib.parse import quote

import orjson

from realtime.bench.sockets import Address
from realtime.errors import RealtimeError

SECONDS = 30.0
"""Of one request, and of all tries of one that is over a limit."""


class RefusedError(RealtimeError):
    """The service said no, by its code and message; `status` is 0 where nobody answered."""

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.details = status, code, details or {}


class Caller:
    """Calls one service as one principal, each request in a thread; connections are kept and used again."""

    def __init__(self, address: Address, token: str | None) -> None:
        self._address = address
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._context = ssl.create_default_context() if address.tls else None
        self._kept: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()
        self.limited: str | None = None
        """The limit that a request was over, once."""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer. What is over a rate is asked again when the service said; `RefusedError` for everything else."""
        until = time.monotonic() + SECONDS
        while True:
            status, told = await asyncio.to_thread(self._exchange, method, path, body)
            if status < 400:
                return told
            if status == 429 and time.monotonic() < until:
                self.limited = str(told.get("details", {}).get("limit", "requests"))
                await asyncio.sleep(min(float(told.get("retry_after", 1.0)), 5.0))
                continue
            message = str(told.get("detail", "no answer of this service's"))
            raise RefusedError(status, str(told.get("code", status)), message, told.get("details"))

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        data = None if body is None else orjson.dumps(body)
        while True:
            try:
                line, used = self._kept.get_nowait(), True
            except queue.Empty:
                line, used = self._connection(), False
            try:
                line.request(method, self._address.prefix + path, data, self._headers)
                answer = line.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                line.close()
                if used:
                    continue  # it was closed while nobody used it; every request here may be made twice
                raise RefusedError(0, "unreachable", f"{str(error) or type(error).__name__}") from None
            self._kept.put(line)
            try:
                told = orjson.loads(content) if content else {}
            except orjson.JSONDecodeError:
                told = {}
            return answer.status, told if isinstance(told, dict) else {}

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._context is not None:
            return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=SECONDS)

    def close(self) -> None:
        while not self._kept.empty():
            self._kept.get_nowait().close()


def documents_of(collection: str, key: str | None = None) -> str:
    """The path of a collection's documents, or of one."""
    path = f"/v1/collections/{quote(collection, safe='')}/documents"
    return path if key is None else f"{path}/{quote(key, safe='')}"
