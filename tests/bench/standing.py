"""Who is measured: how each is had, started and written to, as its own documents advise.

A peer whose toolchain is not there is left out by `MissingError`, which says what it lacks. What npm and Go fetch is
kept in the cache of the tests, exactly the versions named here and in `peers/package.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pymongo

from realtime.access.minting import new_token
from realtime.settings import load
from tests.bench.scenarios import OURS, RULED
from tests.kept import kept
from tests.ports import free_port
from tests.serving import roomy_environment

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).with_name("peers")
CENTRIFUGO = "6.9.1"
START_SECONDS = 90.0
LEAVE_SECONDS = 2.0
"""For a peer to end: some wait for every one of their sockets, and nothing that they do then is measured."""
RESTART_SECONDS = 20.0
"""For ours, which is to come back."""
FETCH_SECONDS = 1800.0
PARSE_AT_ONCE = 8
"""Requests to Parse Server under way."""
RULES = '"*":\n  reader: {read: {open: true}}\n'
SECRET = "of-the-bench-0123456789abcdef0123456789"
TOKENS = 200
"""People, in the variant with rules and tokens."""


class MissingError(Exception):
    """A peer cannot be had here; the text says what is missing."""


@dataclass(slots=True)
class Program:
    """A peer that runs. `counted` are the processes whose processors and memory are its own, children included."""

    port: int
    counted: list[psutil.Process]
    write: Callable[[list[dict[str, Any]]], None]
    tokens: list[str] = field(default_factory=list)
    again: Callable[[Callable[[], None]], None] | None = None
    """Ends it, does what is given, and starts it anew at the same port."""

    def _all(self) -> Iterator[psutil.Process]:
        for one in self.counted:
            yield one
            yield from one.children(recursive=True)

    def cpu(self) -> float:
        """Seconds of processors used so far, by every thread."""
        spent = 0.0
        for one in self._all():
            for task in Path(f"/proc/{one.pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    spent += int((task / "schedstat").read_text().split()[0]) / 1e9
        return spent

    def memory(self) -> int:
        """Bytes that they hold by themselves."""
        texts = (Path(f"/proc/{one.pid}/status").read_text() for one in self._all())
        return sum(int((re.findall(r"RssAnon:\s+(\d+)", text) or [0])[0]) * 1024 for text in texts)


@dataclass(frozen=True, slots=True)
class Peer:
    """One that is measured. `filters`: whether it can be asked for some documents alone. `how`: its settings."""

    name: str
    dialect: str
    start: Callable[[str, str, ExitStack], Program]
    how: str
    filters: bool = False
    most: int = 1_000_000
    """Connections that it is asked for."""


# ---------------------------------------------------------------------------------------------------------- processes


@contextmanager
def process(
    command: Sequence[str],
    said: str,
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path = ROOT,
    stdin: Any = subprocess.DEVNULL,
    errors: bool = False,
    leave: float = LEAVE_SECONDS,
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and what the first group of `said` found in its output, or in its errors. Ended with its children."""
    where = subprocess.PIPE
    child = subprocess.Popen(
        command, cwd=folder, text=True, start_new_session=True, stdin=stdin,
        stdout=None if errors else where, stderr=where if errors else None,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NODE_ENV": "production", **(environment or {})},
    )  # fmt: skip
    try:
        yield child, _found(child, said, errors=errors)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(leave)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _found(child: subprocess.Popen[str], said: str, *, errors: bool) -> str:
    """The first group of `said` in a line of a process. One that is silent for too long is ended, and with it this."""
    pipe, lines = child.stderr if errors else child.stdout, list[str]()
    assert pipe is not None
    with patience(child, START_SECONDS):
        for line in pipe:
            lines.append(line)
            if found := re.search(said, line):
                return found[1] if found.groups() else ""
    raise AssertionError(f"{child.args!r} never said {said!r}: {''.join(lines)[-500:]}")


@contextmanager
def patience(child: subprocess.Popen[Any], seconds: float) -> Iterator[None]:
    """A process that is read from inside is killed after so long, so that nobody waits for it for ever."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _to_mongodb(uri: str, database: str, stack: ExitStack) -> Callable[[list[dict[str, Any]]], None]:
    client = stack.enter_context(pymongo.MongoClient[dict[str, Any]](uri))
    orders = client[database].orders

    def write(documents: list[dict[str, Any]]) -> None:
        orders.insert_many(documents) if len(documents) > 1 else orders.insert_one(documents[0])

    return write


def _program(child: subprocess.Popen[str], port: str, write: Callable[[list[dict[str, Any]]], None]) -> Program:
    return Program(int(port), [psutil.Process(child.pid)], write)


# ---------------------------------------------------------------------------------------------------------------- ours


def started(uri: str, database: str, stack: ExitStack, tree: Path = ROOT, **more: str) -> Program:
    """The service of that tree of the source; `more` are its variables."""
    environment = {**roomy_environment(), "REALTIME_LOG_LEVEL": "error", "PYTHONPATH": str(tree), **more}
    port = free_port()
    command = [
        *(sys.executable, "-m", "realtime", "serve", "--port", str(port)),
        *("--mongodb-uri", uri, "--database", database),
    ]
    inner = stack.enter_context(ExitStack())

    def begin() -> subprocess.Popen[str]:
        child, _ = inner.enter_context(process(command, "live at", environment, folder=tree, leave=RESTART_SECONDS))
        return child

    program = _program(begin(), str(port), _to_mongodb(uri, database, stack))

    def again(meanwhile: Callable[[], None]) -> None:
        inner.close()
        meanwhile()
        program.counted = [psutil.Process(begin().pid)]

    program.again = again
    return program


def _ruled(uri: str, database: str, stack: ExitStack) -> Program:
    """Everybody has a token of their own, and a rule that lets them read what is open."""
    folder = Path(stack.enter_context(_folder()))
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    given = {"REALTIME_AUTH": "jwt", "REALTIME_JWT_SECRET": SECRET, "REALTIME_RULES": str(rules)}
    program = started(uri, database, stack, ROOT, **given)
    settings, now = load(auth="jwt", jwt_secret=SECRET), time.time()
    program.tokens = [
        new_token(settings, sub=f"somebody-{number}", roles=("reader",), claims={}, now=now, seconds=7200)
        for number in range(TOKENS)
    ]
    return program


# ----------------------------------------------------------------------------------------------------- written by hand


def _python(module: str, *more: str) -> Callable[[str, str, ExitStack], Program]:
    def start(uri: str, database: str, stack: ExitStack) -> Program:
        command = [sys.executable, "-m", f"tests.bench.peers.{module}", uri, database, *more]
        child, port = stack.enter_context(process(command, r"live at (\d+)"))
        return _program(child, port, _to_mongodb(uri, database, stack))

    return start


def _floor(uri: str, database: str, stack: ExitStack) -> Program:
    """Its reader of the change stream is another process, and not counted."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingError("a C compiler")
    source = PEERS / "floor.c"

    def compile_it(path: Path) -> None:
        subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", path, source], check=True, timeout=FETCH_SECONDS)

    program = kept(f"floor-{_digest(source)}", compile_it)
    command = [sys.executable, "-m", "tests.bench.peers.bridge", uri, database, "lines"]
    reader, writer = os.pipe()
    child, port = stack.enter_context(process([str(program)], r"live at (\d+)", stdin=reader))
    os.close(reader)
    bridge = subprocess.Popen(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    os.close(writer)
    stack.callback(_end, bridge)
    _found(bridge, "ready", errors=True)
    return _program(child, port, _to_mongodb(uri, database, stack))


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


# -------------------------------------------------------------------------------------------------------------- on Node


def _node_modules() -> Path:
    """What `peers/package.json` names, as npm installs it, once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingError("node and npm")
    wanted = PEERS / "package.json"

    def install(path: Path) -> None:
        path.mkdir()
        shutil.copy(wanted, path)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(command, cwd=path, check=True, timeout=FETCH_SECONDS, stdout=subprocess.DEVNULL)

    try:
        return kept(f"peers-{_digest(wanted)}", install)
    except subprocess.SubprocessError as error:
        raise MissingError(f"what npm installs ({error})") from None


def _node(script: str, writer: Callable[..., Callable[[list[dict[str, Any]]], None]] | None = None) -> Any:
    def start(uri: str, database: str, stack: ExitStack) -> Program:
        # Node looks for modules beside the script.
        folder = Path(stack.enter_context(_folder()))
        (folder / "node_modules").symlink_to(_node_modules() / "node_modules")
        for name in (script, "package.json"):
            shutil.copy(PEERS / name, folder)
        child, port = stack.enter_context(process(["node", script, uri, database], r"live at (\d+)", folder=folder))
        write = _to_mongodb(uri, database, stack) if writer is None else writer(port, stack)
        return _program(child, port, write)

    return start


def _to_parse(port: str, stack: ExitStack) -> Callable[[list[dict[str, Any]]], None]:
    """By its REST interface, an object a request, a few at once: `/batch` of 9.10.0 answers with a TypeError of it."""
    headers = {"Content-Type": "application/json", "X-Parse-Application-Id": "bench", "X-Parse-Master-Key": "bench"}
    pool = stack.enter_context(ThreadPoolExecutor(PARSE_AT_ONCE))
    mine = threading.local()

    def post(path: str, body: Any) -> None:
        if not hasattr(mine, "line"):
            mine.line = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        mine.line.request("POST", path, json.dumps(body), headers)
        answer = mine.line.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(content[:300])

    # Parse makes a class by its first object, and two that come at once fail.
    fields = {name: {"type": "Number"} for name in ("n", "at", "f")}
    fields |= {"open": {"type": "Boolean"}, "text": {"type": "String"}}
    post("/parse/schemas/Orders", {"className": "Orders", "fields": fields})

    def write(documents: list[dict[str, Any]]) -> None:
        objects = [{name: value for name, value in one.items() if name != "_id"} for one in documents]
        for _ in pool.map(lambda one: post("/parse/classes/Orders", one), objects):
            pass

    return write


# ---------------------------------------------------------------------------------------------------------------- on Go


def _centrifugo_binary() -> Path:
    go = shutil.which("go")
    if go is None:
        raise MissingError("go")

    def install(path: Path) -> None:
        path.mkdir()
        command = [go, "install", f"github.com/centrifugal/centrifugo/v6@v{CENTRIFUGO}"]
        subprocess.run(command, check=True, timeout=FETCH_SECONDS, env={**os.environ, "GOBIN": str(path)})

    try:
        return kept(f"centrifugo-{CENTRIFUGO}", install) / "centrifugo"
    except subprocess.SubprocessError as error:
        raise MissingError(f"what go installs ({error})") from None


def _centrifugo(uri: str, database: str, stack: ExitStack) -> Program:
    """With its bridge, whose processor counts: it is what there has to be beside it."""
    binary, folder, port, key = (
        _centrifugo_binary(),
        Path(stack.enter_context(_folder())),
        free_port(),
        secrets.token_hex(8),
    )
    channel = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
    told = {
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "http_api": {"key": key},
        "client": {"allow_anonymous_connect_without_token": True, "connection_limit": 0},
        "channel": {"without_namespace": channel},
        "log": {"level": "info"},
    }
    (folder / "config.json").write_text(json.dumps(told))
    command = [str(binary), "-c", str(folder / "config.json")]
    child, _ = stack.enter_context(
        process(command, "serving .*http|running.*node|starting", folder=folder, errors=True)
    )
    _listens(port)
    bridge = [sys.executable, "-m", "tests.bench.peers.bridge", uri, database, "centrifugo", str(port), key]
    other, _ = stack.enter_context(process(bridge, "ready", errors=True))
    program = _program(child, str(port), _to_mongodb(uri, database, stack))
    program.counted.append(psutil.Process(other.pid))
    return program


def _listens(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


def _restheart(uri: str, database: str, stack: ExitStack) -> Program:
    """Its parts are published one by one: the core as 3.1.3, 3.2.2 and 9.5.2, what reads change streams 5.1.3 at most.

    The core 3.2.2 has no change streams, and a part of 5.1.3 cannot be put into a core of 9.5.2. No Java mends that.
    """
    raise MissingError(
        "a release of it in Maven's repository: of the core there are 3.2.2, which has no change streams, and 9.5.2, "
        "whose part with change streams (`restheart-mongodb`) is there as 5.1.3 at most"
    )


# -------------------------------------------------------------------------------------------------------------- others


@contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as folder:
        yield folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


STANDING: tuple[Peer, ...] = (
    Peer(OURS, "realtime", started, "`realtime serve` as it is, the limits of one address raised; a live query", True),
    Peer(
        RULED, "realtime", _ruled,
        f"the same with the tokens of {TOKENS} people and a rule, `read: {{open: true}}`", True,
    ),
    Peer(
        "fastapi", "plain", _python("fastapi_manager"),
        "FastAPI's `ConnectionManager` and Motor's `watch`, on uvloop and httptools, without compression",
    ),
    Peer(
        "a stream each", "plain", _python("fastapi_streams"),
        "FastAPI, a change stream of Motor's for each socket, its pool without a bound; for 100 sockets at most, since "
        "each holds a connection, and MongoDB does everything once for each", most=100,
    ),
    Peer(
        "node ws", "plain", _node("ws.js"),
        "`ws` with `bufferutil`, one `JSON.stringify` and one frame an event, written to each socket as it is",
    ),
    Peer(
        "socket.io", "socketio", _node("socketio.js"),
        "WebSocket alone, `bufferutil`, the requests of handshakes let go; `emit` to all",
    ),
    Peer(
        "parse", "parse", _node("parse.js", _to_parse),
        "Parse Server with LiveQuery in one process, written through its REST interface, which is in its figures: of "
        "what others write it tells nothing", True,
    ),
    Peer(
        "centrifugo", "centrifugo", _centrifugo,
        "its defaults, anonymous clients; a bridge in Python reads the change stream and publishes what one reply "
        "brought in one request, and is counted with it",
    ),
    Peer("restheart", "plain", _restheart, "change streams of RESTHeart"),
    *(
        Peer(name, "plain", _python("designs", way), f"`websockets` on uvloop, {how}")
        for name, way, how in (
            ("a loop that awaits", "loop", "`await send` for each socket in turn"),
            ("a task each", "task", "a task for each socket and event"),
            ("a queue each", "queue", "a queue for each socket, emptied by a task of its own"),
            ("a plain call", "call", "its `broadcast`: no task, a frame made for each socket"),
            ("shared bytes", "shared", "no task, one frame for all, written as it is"),
        )
    ),
    Peer(
        "floor", "plain", _floor,
        "C: one `write` for each event and socket. Who reads the change stream for it is not counted",
    ),
)  # fmt: skip
