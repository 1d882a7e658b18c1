"""`docker/` on a real engine: the compose file comes up, serves, stops, and the image by itself says what it needs.

Collected only where REALTIME_TEST_DOCKER=1 and an engine answers (conftest.py). MONGO_IMAGE and PYTHON_IMAGE name local
images where no registry is in reach. Every run has a project, a port, images and volumes of its own, and removes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

COMPOSE_FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
WAIT_SECONDS = 60.0
STOP_SECONDS = 10.0
USER = "10001"
T = TypeVar("T")

# The first build fetches the base image and the dependencies.
pytestmark = pytest.mark.timeout(900)

MEMBER_STATES = """
import os, pymongo
with pymongo.MongoClient(os.environ["REALTIME_MONGODB_URI"]) as client:
    for member in client.admin.command("replSetGetStatus")["members"]:
        print(member["name"], member["stateStr"])
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running compose project; `port` is where its service is published on this machine."""

    project: str
    port: int

    def compose(self, *arguments: str) -> str:
        environment = {**os.environ, "REALTIME_PORT": str(self.port)}
        return run(
            *_compose(), "--file", str(COMPOSE_FILE), "--project-name", self.project, *arguments, env=environment
        )

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).strip()

    def inspect(self, service: str, template: str) -> str:
        return run("docker", "inspect", "--format", template, self.container(service)).strip()

    @property
    def image(self) -> str:
        return self.inspect("realtime", "{{.Image}}")

    def wait_until_healthy(self) -> None:
        wait_for(lambda: self.inspect("realtime", "{{.State.Health.Status}}"), lambda is_: is_ == "healthy")

    def left(self) -> str:
        """What the engine still has of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return "".join(run("docker", *kind, "--quiet", "--filter", label) for kind in kinds)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """`up --build`, and everything of it gone afterwards, whatever happened."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stack = Stack(f"realtime-test-{os.getpid()}", port)
    try:
        try:
            stack.compose("up", "--detach", "--build")
            stack.wait_until_healthy()
        except AssertionError as failed:
            failed.add_note(stack.compose("logs", "--no-color", "--tail", "50", "initiate", "realtime"))
            raise
        yield stack
    finally:
        # Not MongoDB's own 15 s for a primary's farewell: its data goes too.
        stack.compose("down", "--timeout", "3", "--volumes", "--remove-orphans", "--rmi", "local")
        assert stack.left() == ""


def test_three_members_elect_a_primary(stack: Stack) -> None:
    """One primary and two secondaries, as the set itself sees it."""

    def states() -> dict[str, str]:
        lines = run("docker", "exec", stack.container("realtime"), "python3", "-c", MEMBER_STATES).splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    seen = wait_for(states, lambda now: sorted(now.values()) == ["PRIMARY", "SECONDARY", "SECONDARY"])
    assert set(seen) == {"mongo1:27017", "mongo2:27017", "mongo3:27017"}
    assert stack.inspect("initiate", "{{.State.ExitCode}}") == "0"


def test_up_again_changes_nothing(stack: Stack) -> None:
    """The initiator runs once more, finds its set, and the service goes on undisturbed."""
    before = stack.inspect("realtime", "{{.Id}} {{.State.StartedAt}}")
    stack.compose("up", "--detach")
    assert stack.inspect("initiate", "{{.State.ExitCode}}") == "0"
    assert "a member of rs0 already" in stack.compose("logs", "--no-color", "initiate")
    assert stack.inspect("realtime", "{{.Id}} {{.State.StartedAt}}") == before


def test_a_write_by_rest_reaches_a_subscriber_through_the_published_port(stack: Stack) -> None:
    """Each write's own key, once, at or after the write's position; update and leave too."""
    documents = f"http://127.0.0.1:{stack.port}/v1/collections/orders/documents"
    with subscribed(stack, {"status": "open"}) as socket, httpx.Client(timeout=10) as http:
        for number in range(10):
            answer = http.post(documents, json={"number": number, "status": "open"})
            assert answer.status_code == 201, answer.text
            written = answer.json()
            frame = receive(socket, "changes")
            [change] = frame["changes"]
            assert change["op"] == "enter"
            assert change["key"] == written["keys"][0]
            assert change["document"]["number"] == number
            assert frame["position"] >= written["position"]
        key = written["keys"][0]["$oid"]
        for update, op in (({"number": -1}, "update"), ({"status": "closed"}, "leave")):
            answer = http.patch(f"{documents}/{key}", json={"$set": update})
            assert answer.status_code == 200, answer.text
            frame = receive(socket, "changes")
            assert [(change["op"], change["key"]) for change in frame["changes"]] == [(op, {"$oid": key})]
            assert frame["position"] >= answer.json()["position"]


def test_no_process_of_the_service_is_root(stack: Stack) -> None:
    """As the engine sees the running processes, and as the image says for any other command in it."""
    _, *processes = run("docker", "top", stack.container("realtime"), "-eo", "pid,uid,args").splitlines()
    assert any("realtime serve" in process for process in processes)
    assert {process.split()[1] for process in processes} == {USER}
    assert run("docker", "exec", stack.container("realtime"), "id", "-u").strip() == USER


def test_the_port_is_published_on_loopback_alone(stack: Stack) -> None:
    """Nobody is authenticated: no other machine may reach it, nor MongoDB."""
    bindings = json.loads(stack.inspect("realtime", "{{json .NetworkSettings.Ports}}"))
    assert bindings == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}
    for member in ("mongo1", "mongo2", "mongo3"):
        assert json.loads(stack.inspect(member, "{{json .HostConfig.PortBindings}}")) in ({}, None)


def test_the_image_alone_says_what_it_needs(stack: Stack) -> None:
    """`docker run` without REALTIME_INSECURE: exit 2 and one line that names the mend."""
    ended = docker_run(stack.image)
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("realtime: host 0.0.0.0 ")
    assert "REALTIME_INSECURE=true" in line


def test_the_image_without_a_mongodb_says_what_it_needs(stack: Stack) -> None:
    """There is no mongod in it to embed: exit 2 and one line that names the URI."""
    ended = docker_run("--env", "REALTIME_INSECURE=true", stack.image)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "--mongodb-uri" in line


def test_the_health_check_fails_where_nothing_answers(stack: Stack) -> None:
    """By a status that Docker understands, with a reason and no traceback."""
    [_, *command] = json.loads(run("docker", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", stack.image))
    ended = docker_run("--entrypoint", command[0], stack.image, *command[1:])
    assert ended.returncode == 1
    assert ended.stderr.startswith("/healthz on port 8000 does not answer")


def test_the_image_holds_no_build_tools(stack: Stack) -> None:
    """The environment has no pip, and none of its files can be changed by the service's user."""
    script = '! python3 -m pip --version && ! command -v gcc && test -z "$(find /opt/realtime -writable ! -type l)"'
    ended = docker_run("--entrypoint", "sh", stack.image, "-c", script)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_docker_stop_ends_it_cleanly_with_a_subscriber_connected(stack: Stack) -> None:
    """In time, exit 0, the subscriber told, nothing in the log that looks like a fault; and it comes back."""
    with subscribed(stack, {}) as socket:
        began = time.monotonic()
        run("docker", "stop", stack.container("realtime"))
        took = time.monotonic() - began
        with pytest.raises(ConnectionClosed) as closed:
            receive(socket, "none that there is")
    assert took < STOP_SECONDS
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in {1001, 1012, 4000}
    assert stack.inspect("realtime", "{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"
    log = stack.compose("logs", "--no-color", "realtime")
    assert "Traceback" not in log
    assert "ERROR" not in log
    run("docker", "start", stack.container("realtime"))
    stack.wait_until_healthy()


@contextlib.contextmanager
def subscribed(stack: Stack, query: dict[str, Any]) -> Iterator[ClientConnection]:
    """A plain client with a live subscription to the orders that match."""
    with connect(f"ws://127.0.0.1:{stack.port}/v1/ws", proxy=None) as socket:
        assert receive(socket, "welcome")["protocol"] == 1
        socket.send(json.dumps({"type": "subscribe", "id": "a", "collection": "orders", "filter": query}))
        receive(socket, "live")
        yield socket


def receive(socket: ClientConnection, kind: str) -> Any:
    """The next frame of that type; those of a subscription's beginning and heartbeats pass by."""
    while True:
        frame = json.loads(socket.recv(timeout=20))
        assert frame["type"] not in {"error", "unsubscribed", "resync"}, frame
        if frame["type"] == kind:
            return frame


def docker_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`docker run`, waited for; the container does not stay."""
    command = ["docker", "run", "--rm", "--network", "none", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def wait_for(ask: Callable[[], T], good: Callable[[T], bool], seconds: float = WAIT_SECONDS) -> T:
    deadline = time.monotonic() + seconds
    while not good(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer} after {seconds:.0f} s"
        time.sleep(0.5)
    return answer


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Its output; what it said when it failed."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=env)
    assert ended.returncode == 0, f"{' '.join(command)}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def _compose() -> list[str]:
    """`docker compose` where the plugin is installed, else `docker-compose`."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
