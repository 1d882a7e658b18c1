"""`docker/compose.scale.yaml` without Docker: what it says is what settings, servers and certificates are."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml  # type: ignore[import-untyped]  # reason: without stubs

from realtime.core.relay.identity import Identity
from realtime.core.relay.permissions import users
from realtime.errors import RealtimeError
from realtime.nats.access import access_of
from realtime.nats.connection import close, connect
from realtime.nats.stream import Limits, ensure
from realtime.settings import ENV_PREFIX, Settings, load
from tests.nats_server import binary
from tests.ports import free_ports

DOCKER = Path(__file__).parents[2] / "docker"
IDENTITY = Identity("5CA1AB1E", "realtime", "rs0")
SECRETS = {"RELAY_PASSWORD": "relay-for-trying", "NODE_PASSWORD": "node-for-trying"}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.scale.yaml").read_text())["services"]
    return found


def certificates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("certificates", DOCKER / "certificates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_the_parts_that_the_page_promises_and_sets_what_there_is() -> None:
    found = services()
    for kind, count in (("mongo", 3), ("nats", 3), ("relay", 2), ("node", 3)):
        assert sum(bool(re.fullmatch(rf"{kind}\d", name)) for name in found) == count, kind
    given = [name for one in found.values() for name in one.get("environment", ()) if name.startswith(ENV_PREFIX)]
    assert len(given) >= 20
    assert {name.removeprefix(ENV_PREFIX).lower() for name in given} <= set(Settings.model_fields)
    published = [port for one in found.values() for port in one.get("ports", ())]
    assert published == ["127.0.0.1:${REALTIME_PORT:-8000}:80"]
    # The relay is not excused from TLS and a user; a node listens beyond loopback.
    assert "REALTIME_INSECURE" not in found["relay1"]["environment"]


def test_the_users_are_those_of_its_stream() -> None:
    text = users(IDENTITY, "user: relay, password: $RELAY_PASSWORD", "user: node, password: $NODE_PASSWORD")
    assert f"authorization {{\n{text}\n}}" in (DOCKER / "nats.conf").read_text()
    environment = services()["relay1"]["environment"]
    assert (environment["REALTIME_EPOCH"], environment["REALTIME_DATABASE"]) == (IDENTITY.epoch, IDENTITY.database)


async def test_three_servers_of_that_configuration_are_a_cluster_and_take_the_relays_stream(tmp_path: Path) -> None:
    names = ["nats1", "nats2", "nats3"]
    made = certificates()
    made.main(tmp_path, names)
    authority = (tmp_path / "ca.pem").read_bytes()
    made.main(tmp_path, names)
    assert (tmp_path / "ca.pem").read_bytes() == authority
    ports = {name: free_ports(2) for name in names}
    text = (DOCKER / "nats.conf").read_text()
    for name, (_, route) in ports.items():
        text = text.replace(f"nats://{name}:6222", f"nats://127.0.0.1:{route}")
    running = []
    try:
        for name, (port, route) in ports.items():
            own = text.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("0.0.0.0:6222", f"127.0.0.1:{route}")
            own = own.replace('http: "127.0.0.1:8222"', "").replace('"/data"', f'"{tmp_path / name}"')
            # By their names the certificates are checked; here all of them are 127.0.0.1.
            own = own.replace("verify: true", "insecure: true")
            (tmp_path / f"{name}.conf").write_text(own)
            files = {"CERTIFICATE": f"{tmp_path / name}.pem", "KEY": f"{tmp_path / name}.key"}
            given = {**os.environ, **SECRETS, **files, "AUTHORITY": str(tmp_path / "ca.pem"), "SERVER_NAME": name}
            running.append(await asyncio.to_thread(started, tmp_path / f"{name}.conf", given))
        address = f"tls://relay:relay-for-trying@127.0.0.1:{ports['nats1'][0]}"
        access = access_of(load(nats=address, nats_ca=tmp_path / "ca.pem"))
        assert access.tls is not None
        access.tls.check_hostname = False
        async with asyncio.timeout(60):
            state = await stream_of(access)
        assert state.config["num_replicas"] == 3
    finally:
        for each in running:
            each.kill()
            await asyncio.to_thread(each.wait)


def started(config: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([binary(), "-c", config], env=environment, stderr=subprocess.DEVNULL)


async def stream_of(access: Any) -> Any:
    """Made as soon as the cluster has a leader."""
    while True:
        with contextlib.suppress(RealtimeError):
            connection = await connect(access, "test")
            try:
                return await ensure(connection, IDENTITY, Limits(64 << 20, 3600, 3))
            finally:
                await close(connection)
        await asyncio.sleep(0.2)


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx is not None, "make tools installs it"
    text = re.sub(r"node\d:8000", "127.0.0.1:8000", (DOCKER / "nginx.conf").read_text())
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\n{text}")
    subprocess.run([nginx, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], check=True, capture_output=True)
