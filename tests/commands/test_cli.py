"""The command line as a newcomer meets it: quick, in words of its own, and ended by Ctrl-C without a traceback."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import realtime
from realtime.commands.cli import COMMANDS, main
from realtime.errors import first_wrong
from realtime.settings import OPTIONS, Settings
from tests.parts import first

PATIENCE = 60.0
RUN = """
import runpy, sys
sys.argv = ["realtime", *{arguments!r}]
{more}
runpy.run_module("realtime", run_name="__main__")
"""
LOADED = """
import atexit
atexit.register(lambda: print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules})))
"""
INTERRUPTING = """
import os, signal
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {at!r}:
            print("interrupted", flush=True)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
"""
"""Ctrl-C at the moment in which a module begins to be imported."""
AT_THE_END = """
import os, signal, threading, time
def interrupt():
    threading.main_thread().join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
threading.Thread(target=interrupt).start()
"""
"""Ctrl-C while Python waits for a thread, after everything else."""
AFTER_ALL = """
import os, signal, sys
class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):
        kill(process, number)
sys.last_of_all = Last()
"""
"""Ctrl-C when Python has put its signals back already."""
HEAVY = {"fastapi", "motor", "starlette", "uvicorn", "uvloop", "prometheus_client", "pydantic_settings"}
HEAVIER = HEAVY | {"asyncio", "bson", "pydantic", "pymongo", "websockets", "orjson"}
COMMAND_NAMES = [name for name, (_, text) in COMMANDS.items() if text]


def ran(arguments: list[str], more: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`realtime …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", RUN.format(arguments=arguments, more=more)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **environment},
    )


# -------------------------------------------------------------------------------------------------------------- quick


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [(["--version"], HEAVIER), (["--help"], HEAVIER), (["no-such-command"], HEAVIER), (["tail", "--help"], HEAVY)],
    ids=lambda given: "-".join(given) if isinstance(given, list) else "",
)
def test_what_needs_no_service_imports_none(arguments: list[str], unneeded: set[str]) -> None:
    """`--version` took 4 s: driver, framework and server came first. Modules are asserted on; seconds depend."""
    ended = ran(arguments, LOADED)
    (loaded,) = re.findall(r"^loaded: (.*)$", ended.stdout, re.MULTILINE)
    assert {"click", "realtime"} <= set(loaded.split())
    assert set(loaded.split()) & unneeded == set()


def test_the_version_is_said() -> None:
    ended = ran(["--version"])
    assert (ended.returncode, ended.stdout) == (0, f"realtime, version {realtime.__version__}\n")


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n")[0] == COMMANDS[name][1]


def test_every_command_is_listed_but_those_of_our_own_use() -> None:
    listed = re.findall(r"^  (\w+)  +\S", ran(["--help"]).stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == ["serve", "demo", "relay", "tail", "doctor", "images", "token", "key", "revoke", "rules", "bench"]
    assert set(COMMANDS) - set(listed) == {"worker", "bench-load"}


# --------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("command", first(1, "a process each", ["serve", "demo"]))
def test_help_names_defaults_as_they_are_typed(command: str) -> None:
    """It said `(default ())`."""
    told = " ".join(ran([command, "--help"]).stdout.split())
    assert [name for name in OPTIONS if f"--{name.replace('_', '-')}" not in told] == []
    assert {"(default realtime)", "(default 8000)", "(default 127.0.0.1)", "(default info)"} <= set(
        re.findall(r"\(default [^)]*\)+", told)
    )
    assert not re.search(r"\(\)|None|False|PosixPath|Undefined", told)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    first(
        1,
        "a process each",
        [
            (["serve", "--prot", "8001"], "--port"),
            (["demo", "--data", "x"], "--data"),
            (["tail", "orders", "--fitler", "{}"], "--filter"),
            (["doctor", "--jsn"], "--json"),
            (["images", "enable", "orders", "--databse", "x"], "--database"),
        ],
    ),
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_an_unknown_option_is_refused_with_the_nearest(arguments: list[str], meant: str) -> None:
    ended = ran(arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "No such option" in ended.stderr
    assert meant in ended.stderr


def test_dir_shows_the_names_for_users() -> None:
    """Those that are loaded when asked for were not to be seen, and `Any` was."""
    ended = subprocess.run(
        [sys.executable, "-c", "import realtime; print(*(name for name in dir(realtime) if name[:2] != '__'))"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert ended.stdout.split() == sorted(set(realtime.__all__) - {"__version__"})
    assert [name for name in realtime.__all__ if not hasattr(realtime, name)] == []


def test_one_of_several_types_is_told_by_what_it_may_be_and_never_by_the_name_of_a_type() -> None:
    """It said `sort.list[any]` and `collection.constrained-str`."""
    string = {"type": "string_type", "loc": ("collection", "constrained-str"), "msg": ""}
    names = {"type": "list_type", "loc": ("collection", "list[constrained-str]"), "msg": ""}
    inner = {"type": "string_type", "loc": ("collection", "list[constrained-str]", 1), "msg": ""}
    empty = {"type": "string_too_short", "loc": ("collection", "constrained-str"), "msg": "", "ctx": {"min_length": 1}}
    other = {"type": "missing", "loc": ("id",), "msg": ""}
    assert first_wrong([string, names, other]) == ("collection", "must be a string or a list")
    assert first_wrong([string, inner]) == ("collection.1", "must be a string")
    assert first_wrong([empty, names]) == ("collection", "must be at least 1 long")
    assert first_wrong([other, string]) == ("id", "is missing")


# -------------------------------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize(
    "at", ["click", "realtime.commands.cli", "realtime.commands.service", "pydantic", "motor", "fastapi", "uvicorn"]
)
def test_ctrl_c_while_it_is_imported_has_no_traceback(at: str, tmp_path: Path) -> None:
    interrupting = INTERRUPTING.format(at=at)
    ended = ran(["serve", "--port", "0", "--data-dir", str(tmp_path)], interrupting, HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "interrupted\n", "")


@pytest.mark.parametrize("at", ["realtime.commands.tail", "websockets"])
def test_ctrl_c_while_tail_is_imported_has_no_traceback(at: str) -> None:
    ended = ran(["tail", "orders"], INTERRUPTING.format(at=at))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "interrupted\n", "")


@pytest.mark.parametrize(("more", "code"), [(AT_THE_END, 130), (AFTER_ALL, 0)], ids=["waiting", "after all"])
def test_ctrl_c_when_a_command_is_over_has_no_traceback(more: str, code: int) -> None:
    """A second one, on a busy machine, ended it by the signal, in place of its exit code."""
    ended = ran(["doctor", "--help"], more)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert "Usage" in ended.stdout


BY_OTHERS = pytest.mark.long("the same by another command")


@pytest.mark.parametrize(
    "command",
    ["serve", *(pytest.param(more, marks=BY_OTHERS) for more in ("serve --workers 2", "demo", "doctor")), "tail"],
)
@pytest.mark.parametrize("signals", [1, 2], ids=["once", "twice"])
async def test_ctrl_c_while_it_waits_for_another_has_no_traceback(command: str, signals: int, tmp_path: Path) -> None:
    """It waits for a MongoDB, or a service, that takes connections and says nothing."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    uri = f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=20000"
    to = ["orders", "--url", f"http://127.0.0.1:{port}"] if command == "tail" else ["--mongodb-uri", uri]
    listen = [] if command in {"tail", "doctor"} else ["--port", "0"]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "realtime", *command.split(), *to, *listen),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
            for _ in range(signals):
                child.send_signal(signal.SIGINT)
            said = (await child.communicate())[1].decode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        server.close()
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert "Error" not in said


def test_settings_are_what_the_options_are_of() -> None:
    assert set(OPTIONS) <= set(Settings.model_fields)
