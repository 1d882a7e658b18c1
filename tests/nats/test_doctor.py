"""`realtime doctor --nats`: the findings of NATS behind those of MongoDB, and the exit code of the worst."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.core.relay.identity import Identity
from realtime.core.relay.permissions import users
from tests.nats.servers import one
from tests.ports import free_port
from tests.replica_set import ReplicaSet

EPOCH, DATABASE = "0123ABCD", "doctored"


def doctor(uri: str, nats: str, *more: str) -> tuple[int, dict[str, list[dict[str, str]]], str]:
    """Exit code, findings by their check, and all that was said."""
    asked = [sys.executable, "-m", "realtime", "doctor", "--uri", uri, "--database", DATABASE, "--nats", nats, "--json"]
    done = subprocess.run([*asked, *more], capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, list[dict[str, str]]] = {}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found, done.stdout + done.stderr


async def test_what_is_wrong_with_nats_stands_behind_mongodb_and_counts(
    replica_set: ReplicaSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALTIME_EPOCH", EPOCH)
    identity = Identity(EPOCH, DATABASE, "rs0")
    config = users(identity, 'user: relay, password: "r3lay"', 'user: node, password: "n0de"')
    async with one(tmp_path, f"authorization {{\n{config}\n}}") as server:
        node, wrong = (f"nats://node:{word}@127.0.0.1:{server.port}" for word in ("n0de", "wr0ng"))
        code, found, said = await asyncio.to_thread(doctor, replica_set.uri, node)
        assert (code, found["nats"][0]["level"], found["nats rights"][0]["level"]) == (2, "ok", "ok"), said
        assert identity.stream in found["stream"][0]["text"]
        assert "n0de" not in said
        code, found, said = await asyncio.to_thread(doctor, replica_set.uri, wrong)
        assert (code, "does not let us in" in found["nats"][0]["text"]) == (2, True), said
        assert found["deployment"][0]["level"] == "ok"
        assert "wr0ng" not in said
        relay = f"nats://relay:r3lay@127.0.0.1:{server.port}"
        _, found, said = await asyncio.to_thread(doctor, replica_set.uri, relay, "--relay")
        assert found["nats rights"][0]["level"] == "ok", said
    code, found, _ = await asyncio.to_thread(doctor, replica_set.uri, f"nats://127.0.0.1:{free_port()}")
    assert (code, found["nats"][0]["level"]) == (2, "error")
