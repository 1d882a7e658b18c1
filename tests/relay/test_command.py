"""`realtime relay` as a newcomer meets it: its options, an environment that it shares with nodes, its probes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import click
import pytest

from realtime.commands.relay import relay
from realtime.errors import ConfigurationError
from realtime.nats.stream import ask
from realtime.settings import RelaySettings, Settings, load
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.relay.connecting import connection
from tests.relay.processes import SECONDS, Place, RelayProcess
from tests.relay.test_relay import PUBLISHES

OF_NODES = {"host": "0.0.0.0", "auth": "jwt", "port": "8000", "admin_port": 8000, "admin_host": "0.0.0.0"}


def test_it_has_the_options_that_count_for_it_and_says_what_they_are_to_it() -> None:
    found = {name: each for each in relay.params if isinstance(each, click.Option) for name in each.opts}
    assert found.keys() == {
        *("--mongodb-uri", "--uri", "--database", "--collections", "--admin-port", "--insecure", "--allow-sharded"),
        *("--nats", "--nats-creds", "--nats-ca", "--nats-cert", "--nats-key", "--log-level"),
    }
    told = " ".join(str(each.help) for each in found.values())
    assert "readyz" in told
    assert not re.search("embedded|to serve|page|/v1|nobody is authenticated", told)


@pytest.mark.parametrize("given", [{name: OF_NODES[name]} for name in ("host", "auth", "admin_host")] + [OF_NODES])
def test_how_nodes_are_reached_in_the_same_environment_keeps_no_relay_from_starting(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load(Settings, admin_port=9090, **{name: value for name, value in given.items() if name != "admin_port"})
    assert load(RelaySettings, **given).admin_host == given.get("admin_host", "127.0.0.1")


async def test_it_lives_and_is_not_ready_while_nats_is_away(here: Place, nats: NatsServer) -> None:
    """A probe of whether it lives would start relays anew through a whole outage; and it starts as the image has it."""
    one = here.relay("--admin-port", "0", REALTIME_HOST="0.0.0.0")
    await one.says(PUBLISHES)
    found = re.search(r"http://\S+:\d+", one.log)
    assert found is not None

    async def asked(path: str) -> tuple[int, dict[str, object]]:
        def get() -> tuple[int, dict[str, object]]:
            try:
                with urlopen(f"{found[0]}{path}") as answer:
                    return answer.status, json.loads(answer.read())
            except HTTPError as error:
                return error.code, json.loads(error.read())

        return await asyncio.to_thread(get)

    assert await asked("/readyz") == (200, {"status": "ready", "publishes": True})
    await asyncio.to_thread(nats.kill)
    async with asyncio.timeout(SECONDS):
        while (ready := await asked("/readyz"))[0] == 200:
            await asyncio.sleep(0.05)
    assert ready[0] == 503
    assert "NATS" in str(ready[1]["reason"])
    assert await asked("/healthz") == (200, {"status": "alive"})
    await asyncio.to_thread(nats.start)
    async with asyncio.timeout(SECONDS):
        while (await asked("/readyz"))[0] != 200:
            await asyncio.sleep(0.05)


async def test_one_that_waits_says_once_that_nats_is_away_and_that_it_is_back(here: Place, nats: NatsServer) -> None:
    """It said two reasons within half a second, and nothing when it was well again."""
    one = here.relay()
    await one.says(PUBLISHES)
    other = here.relay()
    await other.says("waits for its turn")
    await asyncio.to_thread(nats.kill)
    await other.says("nothing can be published")
    assert re.findall("nothing can be published.*until it can: (.{22})", other.log) == ["no NATS server answers"]
    other.freeze()  # so that the other one publishes again
    await asyncio.to_thread(nats.start)
    await one.says(rf"{PUBLISHES}|publishing\n", count=2)
    other.thaw()
    await other.says("waits for its turn", count=2)


async def test_one_that_is_told_to_end_says_that_it_has_handed_over(here: Place) -> None:
    one = here.relay()
    await one.says(PUBLISHES)
    other = here.relay()
    await other.says("waits for its turn")
    assert await asyncio.to_thread(one.end, signal.SIGTERM) == 0
    assert re.findall("handed over|ended", one.log) == ["handed over", "ended"]
    await other.says(PUBLISHES)
    last = here.relay()
    await last.says("waits for its turn")
    assert await asyncio.to_thread(last.end, signal.SIGTERM) == 0
    assert re.findall("handed over|ended", last.log) == ["ended"]


async def test_without_a_mongodb_at_its_start_it_ends_with_the_mend_as_a_service_does(
    nats: NatsServer, tmp_path: Path
) -> None:
    """Whoever supervises it starts it again, and sees why in one line; once it runs it waits (`test_relay.py`)."""
    uri = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0&serverSelectionTimeoutMS=500"
    relay = RelayProcess(tmp_path / "relay.log", uri, "shop", nats.url)
    command = (sys.executable, "-m", "realtime", "serve", "--port", "0", "--mongodb-uri", uri, "--database", "shop")
    serving = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, stdout=DEVNULL)
    _, said = await serving.communicate()
    assert (await asyncio.to_thread(relay.process.wait, SECONDS), serving.returncode) == (2, 2)
    ends = [[line for line in log.splitlines() if line.startswith("realtime: ")] for log in (relay.log, said.decode())]
    assert all(len(lines) == 1 for lines in ends), ends
    for (line,) in ends:
        assert "no MongoDB answers" in line
        assert "check REALTIME_MONGODB_URI and that the server runs and has a primary" in line


async def test_one_that_finds_what_no_relay_made_says_how_to_go_on(here: Place, nats: NatsServer) -> None:
    one = here.relay()
    await one.says(PUBLISHES)
    assert await asyncio.to_thread(one.end, signal.SIGTERM) == 0
    found = re.search(r"made the stream (\S+)", one.log)
    assert found is not None
    async with connection(nats.url) as client:
        await client.request(found[1].replace("-", ".", 3), b"hello", timeout=SECONDS)
        other = here.relay()
        assert await asyncio.to_thread(other.process.wait, SECONDS) == 2
        (line,) = [line for line in other.log.splitlines() if line.startswith("realtime: ")]
        assert "holds what no relay made: a message that no relay of this service made" in line
        assert f"(nats stream rm {found[1]})" in line
        await ask(client, f"STREAM.DELETE.{found[1]}")
    await here.relay().says(PUBLISHES)
