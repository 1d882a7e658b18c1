"""The rooms of docs/architecture.md, checked from the source: who may import whom, and what nobody may do.

The checker is a function of (module name, source), so that a test can hand it a bad module and see it reported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import pytest

from tests.rooms import LEVEL, PACKAGE, circle, graph, imports_of, is_module, modules, room_of, written

CORE = "realtime.core"
CLIENT, CLIENT_MAY = "realtime.client", {"realtime.core.bson.ejson", "realtime.core.wire.protocol", "realtime.errors"}

# fmt: off
IMPURE = frozenset({
    "asyncio", "concurrent", "ctypes", "fcntl", "getpass", "glob", "http", "io", "locale", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "platform", "random", "sched", "secrets", "select", "selectors",
    "shelve", "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "webbrowser", "wsgiref",
})
# fmt: on
"""Of the standard library: loops, clocks, chance, logs, files, processes, the network."""
PURE = (frozenset(sys.stdlib_module_names) - IMPURE) | {"bson", "pydantic", "orjson", "re2", "sortedcontainers", "yaml"}
IMPURE_CALLS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "monotonic", "urandom", "open", "print", "input"})

HOMES = {
    "re2": {"realtime.core"},
    "sortedcontainers": {"realtime.core"},
    "yaml": {"realtime.core"},
    "motor": {"realtime.mongo"},
    "pymongo": {"realtime.mongo"},
    "gridfs": set[str](),
    "fastapi": {"realtime.web", "realtime.app"},
    "starlette": {"realtime.web"},
    "uvicorn": {"realtime.web"},
    "uvloop": {"realtime.commands"},
    "websockets": {CLIENT, "realtime.web"},
    "jwt": {"realtime.access"},
    "cryptography": {"realtime.access"},
    "nats": {"realtime.nats"},
    "nkeys": set[str](),
}
"""Third-party packages that only these may import."""
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb"})
BAD_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "common", "misc"})
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60
HUB, MAX_HUB_LINES, MAX_HUB_CLASS_LINES = "realtime.hub", 400, 250
LARGE_LINES = 400
LARGE = {
    "realtime.app": "everything is put together in one place",
    "realtime.client.client": "all that a program holds: the client, its views and events, reads and writes",
    "realtime.client.link": "one connection's state machine: connecting, frames, silence, backoff",
    "realtime.core.bson.ejson": "encoder and decoder stand beside each other, type by type",
    "realtime.core.connection.session": "one state machine: what each frame, token and change of rules asks for",
    "realtime.core.live.query": "a query group's whole life: loading, catching up, live, judged later",
    "realtime.core.mql.filters": "one compiler, which calls itself for conditions inside of conditions",
    "realtime.core.mql.operators": "one closure for each operator of the language",
    "realtime.core.mql.regex": "one pass over a pattern, and the tables of what is taken and what is not",
    "realtime.core.wire.protocol": "every frame of the protocol, as its page lists them",
    "realtime.settings": "every setting, as its page lists them",
    "realtime.web.socket.socket": "one connection's shell: each effect of its session, carried out",
    "realtime.mongo.snapshot": "every read whose time is known, and what is to be known of a collection first",
    "realtime.mongo.feed": "the stream's loop and what becomes of each of its errors",
}
"""Files over 400 lines, each with why it is one file."""


def check(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with a module of the package, one line each."""
    tree = ast.parse(source)
    wrong = [
        f"{module}:{line}: {reason}"
        for line, name in dict.fromkeys(imports_of(module, tree, is_package=is_package))
        for reason in [refusal(module, name)]
        if reason is not None
    ]
    wrong += [
        f"{module}:{line}: {reason}" for line, reason in [*environment_reads(module, tree), *impure(module, tree)]
    ]
    wrong += [
        f"{module}:{line}: {reason}"
        for line, reason in sizes(tree, source, MAX_HUB_LINES if within(module, HUB) else MAX_FILE_LINES)
    ]
    if within(module, HUB):
        wrong += [f"{module}:{line}: {reason}" for line, reason in classes(tree)]
    if bad := BAD_NAMES & set(module.split(".")):
        wrong.append(f"{module}: named {min(bad)}, which says nothing")
    return wrong


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def refusal(module: str, name: str) -> str | None:
    """Why `module` may not import `name`, or None."""
    top = name.partition(".")[0]
    if top == PACKAGE:
        return refusal_inside(module, name)
    if within(module, CORE) and top not in PURE:
        return f"core is pure and imports {name}"
    if top in HOMES and not any(within(module, home) for home in HOMES[top]):
        return f"{name} belongs to {', '.join(sorted(HOMES[top])) or 'nobody'}"
    return None


def refusal_inside(module: str, name: str) -> str | None:
    here, there = room_of(module), room_of(name)
    if within(module, CLIENT):
        return None if within(name, CLIENT) or name in CLIENT_MAY else f"the client may not import {name}"
    if name == "realtime.__version__":
        return None  # data; every other name of `realtime/__init__.py` is there for users alone
    for room, full in ((there, name), (here, module)):
        if room not in LEVEL or (room == "__init__" and here != "__main__" and full == name):
            return f"{full} is in no room"
    if within(module, CORE) and not (within(name, CORE) or there == "errors"):
        return f"core imports {name}"
    if here.partition(".")[0] == "web" and there == "mongo":
        return "web and mongo never see each other"
    return None if here == there or LEVEL[there] < LEVEL[here] else f"{there} is not below {here}"


def environment_reads(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Uses of the process environment outside `settings`."""
    if module == "realtime.settings":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            yield node.lineno, f"{node.attr} is read in settings alone"
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "posix"}:
            for alias in node.names:
                if alias.name in ENVIRONMENT:
                    yield node.lineno, f"{alias.name} is read in settings alone"


def impure(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls in the core that ask a clock, chance or the outside, by way of a module that is pure otherwise."""
    if not within(module, CORE):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield node.lineno, "core has nothing to await"
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in IMPURE_CALLS or (name == "ObjectId" and not node.args and not node.keywords):
            yield node.lineno, f"core calls {name}"


def classes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Classes of the hub that are too long."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_HUB_CLASS_LINES:
                yield node.lineno, f"{node.name} has {length} lines, at most {MAX_HUB_CLASS_LINES}"


def sizes(tree: ast.Module, source: str, most: int) -> Iterator[tuple[int, str]]:
    """Files and functions that are too long; a docstring is not counted."""
    lines = len(source.splitlines())
    if lines > most:
        yield lines, f"{lines} lines, at most {most}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                length -= (first.end_lineno or first.lineno) - first.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"


def test_every_module_keeps_to_its_layer() -> None:
    found = modules(PACKAGE)
    wrong: list[str] = []
    imports = 0
    for module, path in found.items():
        source, is_package = path.read_text(), path.name == "__init__.py"
        imports += len(list(imports_of(module, ast.parse(source), is_package=is_package)))
        wrong += check(module, source, is_package=is_package)
    assert wrong == []
    # Not an empty check: about 40 modules with about 700 names between them when this was written.
    assert len(found) >= 35
    assert imports >= 400


def test_every_room_of_the_list_is_there_and_every_module_is_in_one() -> None:
    assert [room for room in LEVEL if not room.startswith("__") and not is_module(f"{PACKAGE}.{room}")] == []
    homeless = {module for module in modules(PACKAGE) if room_of(module) not in LEVEL}
    assert homeless == {"realtime.core", "realtime.web"}  # the packages of packages, which hold a sentence


def test_the_rooms_see_each_other_one_way() -> None:
    seen = graph(modules(PACKAGE))
    assert circle(seen) is None
    assert sum(sum(there.values()) for there in seen.values()) >= 300
    assert len(written(seen).splitlines()) == len(LEVEL) >= 25


def test_the_files_that_are_large_are_known_and_why() -> None:
    large = {name for name, path in modules(PACKAGE).items() if len(path.read_text().splitlines()) > LARGE_LINES}
    assert large == set(LARGE)
    assert min(map(len, LARGE.values())) > 20


def test_a_circle_of_rooms_is_found() -> None:
    assert circle({"a": {"b": 1}, "b": {"c": 1, "d": 1}, "d": {"b": 1}}) == ["b", "d", "b"]


def test_test_modules_are_named_for_what_they_are() -> None:
    found = modules("tests")
    assert [name for name in found if BAD_NAMES & set(name.split("."))] == []
    assert len(found) >= 20


BAD: dict[str, tuple[str, str, str]] = {
    "a loop in the core": ("realtime.core.mql.x", "import asyncio", "core is pure and imports asyncio"),
    "a socket in the core": ("realtime.core.mql.x", "from socket import socket", "core is pure and imports socket"),
    "the driver in the core": ("realtime.core.mql.x", "from pymongo.errors import PyMongoError", "core is pure"),
    "a late import in the core": (
        "realtime.core.mql.x",
        "def f():\n    import random",
        "core is pure and imports random",
    ),
    "settings in the core": ("realtime.core.mql.x", "from realtime import settings", "core imports realtime.settings"),
    "the hub in the core": ("realtime.core.mql.x", "from realtime.hub.hub import Hub", "core imports realtime.hub.hub"),
    "a clock in the core": (
        "realtime.core.mql.x",
        "import datetime as dt\nT = dt.datetime.now(dt.UTC)",
        "core calls now",
    ),
    "chance in the core": ("realtime.core.mql.x", "import uuid\nU = uuid.uuid4()", "core calls uuid4"),
    "a new id in the core": ("realtime.core.mql.x", "from bson import ObjectId\nO = ObjectId()", "core calls ObjectId"),
    "await in the core": ("realtime.core.mql.x", "async def f(): ...", "core has nothing to await"),
    "motor outside mongo": ("realtime.hub.hub", "import motor.motor_asyncio", "belongs to realtime.mongo"),
    "pymongo in web": ("realtime.web.http.x", "from pymongo import MongoClient", "belongs to realtime.mongo"),
    "fastapi in mongo": ("realtime.mongo.x", "from fastapi import Depends", "belongs to realtime.app"),
    "starlette in app": ("realtime.app", "import starlette.websockets", "belongs to realtime.web"),
    "mongo in web": ("realtime.web.http.x", "from realtime.mongo.client import open_client", "never see each other"),
    "mongo in web by package": ("realtime.web.http.x", "from realtime.mongo import client", "never see each other"),
    "mongo in web, relative": ("realtime.web.http.x", "from ...mongo import client", "never see each other"),
    "web in mongo": ("realtime.mongo.x", "from realtime.web.entrance import live", "web.entrance is not below mongo"),
    "hub in mongo": ("realtime.mongo.x", "from realtime.hub.hub import Hub", "hub is not below mongo"),
    "the app in web, for types alone": (
        "realtime.web.http.x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from realtime.app import Realtime",
        "app is not below web.http",
    ),
    "the hub in the ports": ("realtime.ports", "import realtime.hub.hub", "hub is not below ports"),
    "the client and the hub": ("realtime.client.x", "from realtime.hub.hub import Hub", "the client may not import"),
    "the client and the driver": ("realtime.client.x", "from pymongo import MongoClient", "belongs to realtime.mongo"),
    "websockets in the hub": ("realtime.hub.hub", "from websockets import frames", "belongs to realtime.client"),
    "the client and the core's rest": (
        "realtime.client.x",
        "from realtime.core.live.query import Query",
        "may not import",
    ),
    "events in the query language": (
        "realtime.core.mql.x",
        "from realtime.core.live.events import Batch",
        "core.live is not below core.mql",
    ),
    "the language in the values": ("realtime.core.bson.x", "import realtime.core.mql.filters", "not below core.bson"),
    "the frames in the language": ("realtime.core.mql.x", "from realtime.core.wire import protocol", "not below"),
    "a connection in what is live": (
        "realtime.core.live.x",
        "from realtime.core.connection.outbox import Part",
        "core.connection is not below core.live",
    ),
    "the socket in the HTTP": (
        "realtime.web.http.x",
        "from realtime.web.socket import uvicorn_sink",
        "not below web.http",
    ),
    "a module without a room": ("realtime.extra", "from realtime.core.bson import ejson", "is in no room"),
    "a name for users, below": ("realtime.web.http.x", "from realtime import create_app", "create_app is in no room"),
    "the environment": ("realtime.demo.writer", "import os\nX = os.environ['X']", "environ is read in settings alone"),
    "the environment by call": (
        "realtime.web.http.x",
        "import os\nX = os.getenv('X')",
        "getenv is read in settings alone",
    ),
    "the environment by name": (
        "realtime.commands.cli",
        "from os import environ as e",
        "environ is read in settings alone",
    ),
    "a name that says nothing": ("realtime.web.utils", "", "named utils"),
    "a long file": ("realtime.demo.writer", "x = 1\n" * 501, "501 lines"),
    "a long file of the hub": ("realtime.hub.x", "x = 1\n" * 401, "401 lines"),
    "a long class of the hub": ("realtime.hub.x", "class C:\n" + "    x = 1\n" * 250, "C has 251 lines"),
    "a long function": ("realtime.demo.writer", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
}


@pytest.mark.parametrize(("module", "source", "reason"), BAD.values(), ids=BAD.keys())
def test_the_checker_reports_a_bad_module(module: str, source: str, reason: str) -> None:
    (wrong,) = check(module, source)
    assert reason in wrong
    assert wrong.startswith(module)


GOOD = {
    "realtime.core.mql.x": "import datetime as dt\nfrom bson import ObjectId\nfrom realtime.core.bson import ejson\n"
    "from realtime.errors import ServiceError\nO = ObjectId('5' * 24)\nT = dt.datetime.fromtimestamp(0, dt.UTC)",
    "realtime.hub.hub": "import asyncio\nfrom realtime import metrics\nfrom realtime.hub.roster import Roster",
    "realtime.mongo.x": "import motor\nimport pymongo\nfrom realtime.ports import Snapshot\nfrom . import client",
    "realtime.web.http.x": "import fastapi\nimport starlette\nfrom realtime.hub.hub import Hub\n"
    "from realtime import errors",
    "realtime.app": "import fastapi\nfrom realtime.mongo import client\nfrom realtime import __version__",
    "realtime.client.x": "import websockets\nfrom realtime.core.bson.ejson import decode\n"
    "from realtime.client.y import z",
    "realtime.settings": "import os\nX = os.environ",
    "realtime.demo.writer": "def f():\n    '''" + "Words.\n" * 30 + "'''\n" + "    x = 1\n" * 59,
}


@pytest.mark.parametrize("module", GOOD)
def test_the_checker_lets_a_good_module_pass(module: str) -> None:
    assert check(module, GOOD[module]) == []
