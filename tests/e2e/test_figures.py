"""Figures in the documents that the code decides: seconds, sizes, limits, each read from where it is used."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from realtime import logs
from realtime.client import connect
from realtime.commands import tail, workers
from realtime.core.upstream import health as lag
from realtime.hub import slow
from realtime.keeping import guard
from realtime.mongo import client, embedded, feed
from realtime.nats import clock
from realtime.operations import health
from realtime.settings import Settings
from realtime.web import server
from realtime.web.socket import fence, line, uvicorn_sink

ROOT = Path(__file__).parents[2]
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
GIB = UNITS["GiB"]


def default(name: str) -> Any:
    """What a setting is where nobody sets it."""
    return Settings.model_fields[name].default


def parameter(name: str) -> Any:
    """What a parameter of the Python client's `connect` is where nobody gives it."""
    return inspect.signature(connect).parameters[name].default


def flag(name: str) -> float:
    """What the embedded mongod is told."""
    command = embedded._command(Path("mongod"), Path("data"), 1, [])
    return float(command[command.index(name) + 1])


async def _nothing() -> None:
    return None


WEB = server.make_server(FastAPI(), Settings(), _nothing).config
COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()
REQUESTS, FEED = client._REQUEST_DEFAULTS, client._FEED_DEFAULTS

FIGURES: list[tuple[str, str, list[float]]] = [
    ("operations", r"the cache to (\d+) GB", [flag("--wiredTigerCacheSizeGB")]),
    ("operations", r"The oplog is limited to (\d+ GiB)", [flag("--oplogSize") * 1024**2]),
    ("operations", r"and by SIGKILL after (\d+) s", [guard.STOP_SECONDS]),
    ("operations", r"at most about (\d+ MiB); the one before", [guard.LOG_BYTES]),
    ("operations", r"that dies \(([\d.]+) s later, then doubling to (\d+) s\)", [*workers.BACKOFF_SECONDS]),
    ("operations", r"idle timeout over (\d+) s", [default("heartbeat_seconds")]),
    ("operations", r"between heartbeats, which is (\d+) s", [default("heartbeat_seconds")]),
    ("operations", r"has been degraded for (\d+) s", [health.READY_GRACE_SECONDS]),
    ("operations", r"not answered the change stream for (\d+) s", [feed.DEGRADED_AFTER_SECONDS]),
    ("operations", r"(\d+) s behind the time of a `ping`", [lag.SILENT_SECONDS]),
    ("operations", r"comes once in (\d+) s at most", [logs.REPEAT_SECONDS]),
    ("operations", r"up to `REALTIME_OUTBOX_BYTES`, one moment, and (\d+ KiB) each", [uvicorn_sink.HIGH_WATER]),
    ("operations", r"at most (\d+) s after grace and drain", [server.FINISH_SECONDS]),
    ("operations", r"`docker/compose.yaml` allows (\d+) s", [float(n) for n in re.findall(r"period: (15)s", COMPOSE)]),
    ("operations", r"with a heartbeat every (\d+) s", [client._FOLLOWER_DEFAULTS["heartbeatFrequencyMS"] / 1000]),
    ("faults", r"heard of MongoDB's clock for (\d+) s", [clock.TOLD_SECONDS]),
    ("faults", r"no relay says it \(one does every ([\d.]+) s\)", [lag.LOOK_SECONDS]),
    (
        "operations",
        r"selection (\d+) s, connecting (\d+) s, heartbeat (\d+) s, socket timeout (\d+) s \(feed: (\d+) s\)",
        [
            REQUESTS["serverSelectionTimeoutMS"] / 1000,
            REQUESTS["connectTimeoutMS"] / 1000,
            REQUESTS["heartbeatFrequencyMS"] / 1000,
            REQUESTS["socketTimeoutMS"] / 1000,
            FEED["socketTimeoutMS"] / 1000,
        ],
    ),
    (
        "protocol",
        r"WebSocket pings every (\d+) seconds and drops a peer that neither answers within (\d+)",
        [float(WEB.ws_ping_interval or 0), float(WEB.ws_ping_timeout or 0)],
    ),
    ("protocol", r"a fence was not passed in (\d+) s", [fence.FENCE_SECONDS]),
    ("protocol", r"\| changes and events that wait for one connection \| (\d+ MiB)", [default("outbox_bytes")]),
    ("protocol", r"\| body of an HTTP request \| (\d+ MiB)", [default("document_bytes")]),
    ("protocol", r"\| wait for MongoDB in a request \| (\d+) s", [default("request_timeout_seconds")]),
    ("protocol", r"`sort`, `group` or `throttle` \| (\d+ MiB)", [default("group_bytes")]),
    ("protocol", r"reads each snapshot from MongoDB, up to (\d+ MiB)", [default("all_groups_bytes")]),
    ("protocol", r"of one `group` are made of[^|]* \| ([\d,]+)", [default("group_documents")]),
    (
        "faults",
        r"unanswered ping \(every (\d+) s, (\d+) s to answer\)",
        [float(WEB.ws_ping_interval or 0), float(WEB.ws_ping_timeout or 0)],
    ),
    ("faults", r"less than (\d+ KiB) acknowledged in (\d+) s", [line.LEAST_BYTES, uvicorn_sink.STUCK_SECONDS]),
    ("faults", r"up to (\d+ KiB) in the transport", [uvicorn_sink.HIGH_WATER]),
    ("faults", r"one `resync`, at most one in (\d+) s", [slow.LEAST_SECONDS]),
    ("faults", r"stop, SIGKILL after (\d+) s", [guard.STOP_SECONDS]),
    ("faults", r"later and later \(up to (\d+) s\)", [guard.MOST_SECONDS]),
    ("faults", r"starts at ([\d.]+) s, doubles to at most (\d+) s", [*feed.BACKOFF_SECONDS]),
    ("clients", r"`connect_timeout` \| (\d+) s", [parameter("connect_timeout")]),
    ("clients", r"`request_timeout` \| (\d+) s", [parameter("request_timeout")]),
    ("clients", r"`buffer_bytes` \| (\d+ MiB)", [parameter("buffer_bytes")]),
    ("clients", r"says so at once, and tries for (\d+) s", [tail.CONNECT_SECONDS]),
]
"""Page, the words with a figure in brackets for each, and what the code says."""


def read(page: str) -> str:
    return " ".join((ROOT / "docs" / f"{page}.md").read_text().split())


def number(text: str) -> float:
    """`"64 MiB"`, `"10,000"` or `"0.5"`."""
    figure, _, unit = text.replace(",", "").partition(" ")
    return float(figure) * UNITS.get(unit, 1)


@pytest.mark.parametrize(("page", "words", "code"), FIGURES, ids=[f"{page}: {words}" for page, words, _ in FIGURES])
def test_a_figure_is_what_the_code_says(page: str, words: str, code: list[float]) -> None:
    """The cache was 256 MiB in one document and 1 GB in the code, a ping 20 s in one and 8 s in another."""
    found = re.findall(words, read(page))
    assert found, "nobody says so any more"
    assert len(code) == re.compile(words).groups
    for one in found:
        assert [number(text) for text in ([one] if isinstance(one, str) else one)] == code


def test_the_limits_of_the_protocol_are_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+(?: MiB)?) \|", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)
    told = {name: number(text) for name, text in rows if name in Settings.model_fields}
    assert set(told) >= {"frame_bytes", "subscriptions", "documents", "pending_writes", "filter_depth", "filter_nodes"}
    assert told == {name: default(name) for name in told}
