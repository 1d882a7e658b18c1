"""Logs on stderr, for people or as JSON: a reference on every error, and no line again and again."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from realtime import metrics

Format = Literal["console", "json"]

REPEAT_SECONDS = 5.0
"""What is retried and said again sooner, by the same words of the source, is counted and not shown."""
RETRIED = {"retried": True}
CONSOLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(message)s"
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger"}
_WHOSE = "process"


def configure(level: str, form: Format, whose: str = "") -> None:
    """All logs of the process to stderr, from `level` on; each line says `whose` it is, where there are several."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Console(f"{_before(whose)}{CONSOLE}") if form == "console" else _json(whose))
    handler.addFilter(refer)
    handler.addFilter(Calm())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("pymongo", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def of_another(line: str, whose: str) -> str:
    """A line that another process wrote, with whose it is: as `configure` has it."""
    if line.startswith("{"):
        return f'{{"{_WHOSE}": {json.dumps(whose)}, {line[1:]}'
    return f"{_before(whose)}{line}"


def _before(whose: str) -> str:
    return f"{whose} | " if whose else ""


def _json(whose: str) -> logging.Formatter:
    said = {_WHOSE: whose} if whose else {}
    formatter = JsonFormatter(JSON, rename_fields=_NAMES, static_fields=said, json_ensure_ascii=False)
    formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    formatter.converter = time.gmtime
    return formatter


def refer(record: logging.LogRecord) -> bool:
    """Every error can be named by whoever asks about it."""
    if record.levelno >= logging.ERROR and getattr(record, "reference", None) is None:
        record.reference = metrics.reference()
    return True


class Console(logging.Formatter):
    """A line for people; the reference is added where the words do not have it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        line = super().formatMessage(record)
        reference = getattr(record, "reference", None)
        return line if reference is None or reference in line else f"{line} (reference {reference})"


class Calm(logging.Filter):
    """Of what is said at every retry, by `extra=RETRIED`, one line in `REPEAT_SECONDS`; everything else passes."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show it; the next one that is shown says how many were not."""
        if not getattr(record, "retried", False):
            return True
        record.__dict__.pop("retried")
        key, now = (record.name, str(record.msg)), time.monotonic()
        with self._lock:
            at, hidden = self._said.get(key, (float("-inf"), 0))
            if now - at < REPEAT_SECONDS:
                self._said[key] = at, hidden + 1
                return False
            self._said[key] = now, 0
        if hidden:
            record.msg = f"{record.getMessage()} ({hidden} more like it before)"
            record.args = ()
        return True
