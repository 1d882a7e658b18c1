"""The layer table of docs/architecture.md, checked from the source: who may import whom, and what nobody may do.

The checker is a function of (module name, source), so that a test can hand it a bad module and see it reported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "realtime"

LAYERS = {
    "realtime": 5,
    "realtime.errors": 0,
    "realtime.settings": 0,
    "realtime.metrics": 0,
    "realtime.logs": 0,
    "realtime.core": 1,
    "realtime.ports": 2,
    "realtime.hub": 3,
    "realtime.mongo": 3,
    "realtime.web": 4,
    "realtime.client": 4,
    "realtime.app": 5,
    "realtime.operations": 5,
    "realtime.commands": 5,
    "realtime.demo": 5,
    "realtime.__main__": 5,
}
BESIDE = {
    ("realtime.settings", "realtime.errors"),
    ("realtime.logs", "realtime.metrics"),
    ("realtime.app", "realtime.operations"),
    ("realtime.__main__", "realtime.commands"),
    ("realtime.commands", "realtime.app"),
    ("realtime.commands", "realtime.demo"),
    ("realtime", "realtime.app"),
}
"""Imports within a layer from one unit to another; within a package everything may import everything."""
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
PURE = (frozenset(sys.stdlib_module_names) - IMPURE) | {"bson", "pydantic", "orjson", "re2"}
IMPURE_CALLS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "monotonic", "urandom", "open", "print", "input"})

HOMES = {
    "re2": {"realtime.core"},
    "motor": {"realtime.mongo"},
    "pymongo": {"realtime.mongo"},
    "gridfs": set[str](),
    "fastapi": {"realtime.web", "realtime.app", "realtime.commands"},
    "starlette": {"realtime.web"},
    "uvicorn": {"realtime.web"},
    "uvloop": {"realtime.app", "realtime.commands"},
    "websockets": {CLIENT, "realtime.web"},
}
"""Third-party packages that only these units may import."""
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb"})
BAD_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "common", "misc"})
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60


def unit_of(module: str) -> str:
    """The row of the table that a module belongs to: its package, or itself where it stands alone."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else module


def imports_of(module: str, tree: ast.Module, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, also inside functions and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*parents, base]) if base else ".".join(parents)
            # `from realtime import errors` names a module; `from realtime import __version__` does not.
            yield from ((node.lineno, f"{base}.{alias.name}" if base == PACKAGE else base) for alias in node.names)


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
    wrong += [f"{module}:{line}: {reason}" for line, reason in sizes(tree, source)]
    if bad := BAD_NAMES & set(module.split(".")):
        wrong.append(f"{module}: named {min(bad)}, which says nothing")
    return wrong


def refusal(module: str, name: str) -> str | None:
    """Why `module` may not import `name`, or None."""
    top = name.partition(".")[0]
    if top == PACKAGE:
        return refusal_inside(module, name)
    if unit_of(module) == "realtime.core" and top not in PURE:
        return f"core is pure and imports {name}"
    if top in HOMES and unit_of(module) not in HOMES[top]:
        return f"{name} belongs to {', '.join(sorted(HOMES[top])) or 'nobody'}"
    return None


def refusal_inside(module: str, name: str) -> str | None:
    unit, target = unit_of(module), unit_of(name)
    if unit == CLIENT:
        return None if target == CLIENT or name in CLIENT_MAY else f"the client may not import {name}"
    if target not in LAYERS:
        # `__version__` is data; every other name of `realtime/__init__.py` is there for users alone.
        return None if name == "realtime.__version__" else f"{name} is not in the table of layers"
    if unit not in LAYERS:
        return f"{module} is not in the table of layers"
    if unit == target or LAYERS[target] < LAYERS[unit] or (unit, target) in BESIDE:
        if unit == "realtime.web" and target == "realtime.mongo":
            return "web and mongo never see each other"
        if unit == "realtime.core" and target not in {"realtime.core", "realtime.errors"}:
            return f"core imports {name}"
        return None
    return f"{name} (layer {LAYERS[target]}) is not below layer {LAYERS[unit]}"


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


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
    if unit_of(module) != "realtime.core":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield node.lineno, "core has nothing to await"
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in IMPURE_CALLS or (name == "ObjectId" and not node.args and not node.keywords):
            yield node.lineno, f"core calls {name}"


def sizes(tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """Files and functions that are too long; a docstring is not counted."""
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield lines, f"{lines} lines, at most {MAX_FILE_LINES}"
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


def modules(folder: str) -> dict[str, Path]:
    """Every module below a folder, by its full name."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


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


def test_every_row_of_the_table_is_a_module_that_is_there() -> None:
    missing = [name for name in LAYERS if not is_module(name)]
    assert missing == []


def test_test_modules_are_named_for_what_they_are() -> None:
    found = modules("tests")
    assert [name for name in found if BAD_NAMES & set(name.split("."))] == []
    assert len(found) >= 20


BAD: dict[str, tuple[str, str, str]] = {
    "a loop in the core": ("realtime.core.x", "import asyncio", "core is pure and imports asyncio"),
    "a socket in the core": ("realtime.core.x", "from socket import socket", "core is pure and imports socket"),
    "the driver in the core": ("realtime.core.x", "from pymongo.errors import PyMongoError", "core is pure"),
    "a late import in the core": ("realtime.core.x", "def f():\n    import random", "core is pure and imports random"),
    "settings in the core": ("realtime.core.x", "from realtime import settings", "core imports realtime.settings"),
    "the hub in the core": ("realtime.core.x", "from realtime.hub.hub import Hub", "not below layer 1"),
    "a clock in the core": ("realtime.core.x", "import datetime as dt\nT = dt.datetime.now(dt.UTC)", "core calls now"),
    "chance in the core": ("realtime.core.x", "import uuid\nU = uuid.uuid4()", "core calls uuid4"),
    "a new id in the core": ("realtime.core.x", "from bson import ObjectId\nO = ObjectId()", "core calls ObjectId"),
    "await in the core": ("realtime.core.x", "async def f(): ...", "core has nothing to await"),
    "motor outside mongo": ("realtime.hub.hub", "import motor.motor_asyncio", "belongs to realtime.mongo"),
    "pymongo in web": ("realtime.web.x", "from pymongo import MongoClient", "belongs to realtime.mongo"),
    "fastapi in mongo": ("realtime.mongo.x", "from fastapi import Depends", "belongs to realtime.app"),
    "starlette in app": ("realtime.app", "import starlette.websockets", "belongs to realtime.web"),
    "mongo in web": ("realtime.web.x", "from realtime.mongo.client import open_client", "never see each other"),
    "mongo in web by package": ("realtime.web.x", "from realtime.mongo import client", "never see each other"),
    "mongo in web, relative": ("realtime.web.x", "from ..mongo import client", "never see each other"),
    "web in mongo": ("realtime.mongo.x", "from realtime.web import live", "not below layer 3"),
    "hub in mongo": ("realtime.mongo.x", "from realtime.hub.hub import Hub", "not below layer 3"),
    "the app in web, for types alone": (
        "realtime.web.x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from realtime.app import Realtime",
        "not below layer 4",
    ),
    "the hub in the ports": ("realtime.ports", "import realtime.hub.hub", "not below layer 2"),
    "the client and the hub": ("realtime.client.x", "from realtime.hub.hub import Hub", "the client may not import"),
    "the client and the driver": ("realtime.client.x", "from pymongo import MongoClient", "belongs to realtime.mongo"),
    "websockets in the hub": ("realtime.hub.hub", "from websockets import frames", "belongs to realtime.client"),
    "the client and the core's rest": (
        "realtime.client.x",
        "from realtime.core.live.query import Query",
        "may not import",
    ),
    "a module without a layer": ("realtime.extra", "from realtime.core.bson import ejson", "not in the table"),
    "a name for users, below": ("realtime.web.x", "from realtime import create_app", "not in the table"),
    "the environment": ("realtime.demo.writer", "import os\nX = os.environ['X']", "environ is read in settings alone"),
    "the environment by call": ("realtime.web.x", "import os\nX = os.getenv('X')", "getenv is read in settings alone"),
    "the environment by name": (
        "realtime.commands.service",
        "from os import environ as e",
        "environ is read in settings alone",
    ),
    "a name that says nothing": ("realtime.web.utils", "", "named utils"),
    "a long file": ("realtime.demo.writer", "x = 1\n" * 501, "501 lines"),
    "a long function": ("realtime.demo.writer", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
}


@pytest.mark.parametrize(("module", "source", "reason"), BAD.values(), ids=BAD.keys())
def test_the_checker_reports_a_bad_module(module: str, source: str, reason: str) -> None:
    (wrong,) = check(module, source)
    assert reason in wrong
    assert wrong.startswith(module)


GOOD = {
    "realtime.core.x": "import datetime as dt\nfrom bson import ObjectId\nfrom realtime.core.bson import ejson\n"
    "from realtime.errors import ServiceError\nO = ObjectId('5' * 24)\nT = dt.datetime.fromtimestamp(0, dt.UTC)",
    "realtime.hub.hub": "import asyncio\nfrom realtime import metrics\nfrom realtime.hub.roster import Roster",
    "realtime.mongo.x": "import motor\nimport pymongo\nfrom realtime.ports import Snapshot\nfrom . import client",
    "realtime.web.x": "import fastapi\nimport starlette\nfrom realtime.hub.hub import Hub\nfrom realtime import errors",
    "realtime.app": "import fastapi\nfrom realtime.mongo import client\nfrom realtime import __version__",
    "realtime.client.x": "import websockets\nfrom realtime.core.bson.ejson import decode\n"
    "from realtime.client.y import z",
    "realtime.settings": "import os\nX = os.environ",
    "realtime.demo.writer": "def f():\n    '''" + "Words.\n" * 30 + "'''\n" + "    x = 1\n" * 59,
}


@pytest.mark.parametrize("module", GOOD)
def test_the_checker_lets_a_good_module_pass(module: str) -> None:
    assert check(module, GOOD[module]) == []
