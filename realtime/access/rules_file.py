"""The file with the rules: read whole or refused, and watched for changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from realtime.core.access.rules.text import MAX_BYTES
from realtime.errors import ConfigurationError

NAMED = "--rules / REALTIME_RULES"
REFUSED = "the rules are refused, and those before go on to hold:\n%s"
LOOK_SECONDS = 0.2
"""Between two looks. A changed file is read when it looks the same twice: whoever writes it may not be done."""

_Look = tuple[int, int, int, int] | None


class RulesFile:
    """One path; what stands there may be exchanged at any time, by writing it, by a rename, or by a link."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Whoever watches is to read it now, whether or not it looks like another one."""
        self._asked.set()

    def read(self) -> str:
        """The text. `ConfigurationError` names the file and what keeps it from being read."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(f"{NAMED}: {self.path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{NAMED}: {self.path} is larger than {MAX_BYTES} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigurationError(f"{self.path}:{line}: this is no UTF-8") from None

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Call `changed` whenever the file is another one, within half a second of the last byte, or when asked."""
        known = before = await asyncio.to_thread(self._look)
        while True:
            asked = await self._asked_within(LOOK_SECONDS)
            now = await asyncio.to_thread(self._look)
            if asked or (now != known and now == before):
                known = now
                await changed()
            before = now

    async def _asked_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _look(self) -> _Look:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev
