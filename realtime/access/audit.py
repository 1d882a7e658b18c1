"""Who did what, as JSON lines in a file: by a bounded queue and a thread, so that no disk delays a connection.

Never a token, never a document: what may be said of one is its key and its position.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realtime import metrics
from realtime.bugs import bug
from realtime.core.access.limits import network_of
from realtime.core.access.principal import Principal
from realtime.core.access.thinning import Thinning
from realtime.core.bson import ejson

log = logging.getLogger("realtime.access")

MOST_WAITING = 10_000
MOST_AT_ONCE = 256
CLOSE_SECONDS = 2.0
MAX_KEY_CHARACTERS = 1000
LOOK_SECONDS = 1.0
"""Between two looks whether there is a number of refusals to write, where nothing else is."""
STDERR = "-"
What = Literal["connect", "refused", "ended", "subscribe", "unsubscribe", "read", "list", "write", "key", "revoke"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did, or was refused. `reason` is one word; `who` None: nobody who is known.

    `count`: so many more of the same reason, from there, that have no line of their own.
    """

    what: What
    who: Principal | None = None
    address: str | None = None
    collection: str | None = None
    operation: str | None = None
    key: Any = None
    position: str | None = None
    reason: str | None = None
    count: int | None = None


def line_of(entry: Entry, at: dt.datetime) -> bytes:
    """The line of an entry, ended."""
    who = entry.who
    fields = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "what": entry.what,
        "sub": None if who is None else who.sub,
        "jti": None if who is None else who.jti,
        "access_key": None if who is None else who.key,
        "address": entry.address,
        "collection": entry.collection,
        "operation": entry.operation,
        "key": None if entry.key is None else _bounded(entry.key),
        "position": entry.position,
        "reason": entry.reason,
        "count": entry.count,
    }
    return ejson.encode({name: value for name, value in fields.items() if value is not None}) + b"\n"


def _bounded(key: Any) -> str:
    text = ejson.encode(key).decode()
    return text if len(text) <= MAX_KEY_CHARACTERS else f"{text[:MAX_KEY_CHARACTERS]}…"


class AuditLog:
    """The lines of a process. `path` None: none are kept; `-`: they go to stderr. Several processes share a file."""

    def __init__(self, path: Path | None, most: int = MOST_WAITING) -> None:
        self._path = path
        self._waiting: queue.Queue[tuple[Entry, dt.datetime] | None] = queue.Queue(most)
        self._refusals = Thinning()
        self._lock = threading.Lock()
        self._file: int | None = None
        self._known: tuple[int, int] | None = None
        self._failing = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Open the file. `OSError` where that cannot be."""
        if self._path is None:
            return
        self._open()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, for `CLOSE_SECONDS` at most."""
        if self._thread is None:
            return
        self._sum_up(math.inf)
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=CLOSE_SECONDS)
        self._thread.join(CLOSE_SECONDS)
        self._thread = None

    def record(self, entry: Entry) -> None:
        """Take an entry; where too many wait it is dropped and counted. Never waits, never raises.

        Of refusals for one reason, from one address, some have a line, and the others together one with their number.
        """
        if self._thread is None:
            return
        if entry.what == "refused":
            now = time.monotonic()
            self._sum_up(now)
            with self._lock:
                taken = self._refusals.takes(entry.reason or "", network_of(entry.address or ""), now)
            if not taken:
                return
        self._put(entry)

    def _sum_up(self, now: float) -> None:
        """Write how many refusals had no line, where their time is over."""
        with self._lock:
            over = list(self._refusals.over(now))
        for reason, place, count in over:
            self._put(Entry("refused", address=place or None, reason=reason, count=count))

    def _put(self, entry: Entry) -> None:
        try:
            self._waiting.put_nowait((entry, dt.datetime.now(dt.UTC)))
        except queue.Full:
            metrics.AUDIT_DROPPED.inc()

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        ended = False
        while not ended:
            try:
                taken = [self._waiting.get(timeout=LOOK_SECONDS)]
            except queue.Empty:
                self._sum_up(time.monotonic())
                continue
            while len(taken) < MOST_AT_ONCE and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            ended = None in taken
            self._write([one for one in taken if one is not None])
        if self._file is not None and self._path is not None and str(self._path) != STDERR:
            os.close(self._file)

    def _write(self, taken: list[tuple[Entry, dt.datetime]]) -> None:
        try:
            lines = b"".join(line_of(entry, at) for entry, at in taken)
            self._open()
            while lines:
                lines = lines[os.write(self._file or 2, lines) :]
        except (OSError, ValueError) as error:
            metrics.AUDIT_DROPPED.inc(len(taken))
            if not self._failing:
                log.error("the audit log cannot be written: %s", error)  # noqa: TRY400 - the disk's fault and no bug
            self._failing = True
        except Exception as error:
            metrics.AUDIT_DROPPED.inc(len(taken))
            bug("audit", error)
        else:
            self._failing = False

    def _open(self) -> None:
        """The file by its name now: whoever rotates logs renames the one that was there."""
        if self._path is None or str(self._path) == STDERR:
            self._file = 2
            return
        try:
            here = self._path.stat()
        except FileNotFoundError:
            here = None
        if self._file is None or here is None or (here.st_dev, here.st_ino) != self._known:
            opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if self._file is not None:
                os.close(self._file)
            self._file, found = opened, os.fstat(opened)
            self._known = (found.st_dev, found.st_ino)
