"""Every block of the README is run, as it stands but for addresses and ports."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from playwright.async_api import Browser, ConsoleMessage, expect

import realtime
from tests.e2e.browser import browser, opened
from tests.embedding import listening
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service
from tests.wire import wired

__all__ = ["browser", "service"]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SNIPPET_LINES = 4
"""Without imports and what is left empty."""
KEYS = ("before", "after")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the README."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]


def block(mark: str) -> Block:
    """The one block that holds `mark`."""
    (found,) = [one for one in BLOCKS if mark in one.text]
    return found


def test_every_block_is_run_by_a_test_here() -> None:
    marks = [
        "make demo",
        "activate",
        "pip install",
        "import { connect }",
        "curl -X",
        "curl -N",
        "rt.query",
        "realtime tail",
        "include_router",
        "realtime serve",
        "docker compose",
    ]
    assert [next(mark for mark in marks if mark in one.text) for one in BLOCKS] == marks


def test_the_snippets_of_the_first_screen_are_short() -> None:
    for mark in ("import { connect }", "curl -X", "curl -N", "rt.query", "realtime tail", "include_router"):
        lines = block(mark).text.splitlines()
        said = [line for line in lines if line and not line.startswith(("import ", "from "))]
        assert 1 <= len(said) <= SNIPPET_LINES


def at(url: str, text: str) -> str:
    """The block with the address of the service under test."""
    assert "127.0.0.1:8000" in text
    return text.replace("127.0.0.1:8000", url.removeprefix("http://").rstrip("/"))


def commands() -> list[str]:
    """The lines of the first block, without their comments."""
    return [line.split("#")[0].strip() for line in block("make demo").text.splitlines()]


@pytest.mark.long("the whole demo, by make")
async def test_make_demo_prints_the_address_of_a_page(browser: Browser, tmp_path: Path) -> None:
    demo = commands()[0]
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    environment = {**outer, "REALTIME_PORT": "0", "REALTIME_DATA_DIR": str(tmp_path)}
    child = await asyncio.create_subprocess_exec(
        *shlex.split(demo), cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(90):
            lines: list[str] = []
            while "live at" not in "".join(lines[-1:]):
                line = (await child.stdout.readline()).decode()
                assert line, "".join(lines)
                lines.append(line)
        address = re.search(r"live at (\S+)", lines[-1])
        assert address is not None
        page, complaints = await opened(browser, address[1])
        await expect(page.get_by_test_id("newest-at")).to_be_visible(timeout=15_000)
        assert complaints == []
    finally:
        child.terminate()
        await child.communicate()


def test_make_test_is_what_runs_these_tests() -> None:
    assert commands()[1] == "make test"
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m tests.parts" in planned.stdout
    assert re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


@pytest.mark.long("pip makes a wheel, into an environment of its own")
def test_what_is_installed_puts_realtime_on_the_path(tmp_path: Path) -> None:
    """Both lines as they stand, the second into an environment of its own, where everything else is there already."""
    (activate,), (install,) = (block(mark).text.splitlines() for mark in ("activate", "pip install"))
    mine = tmp_path / "mine"
    subprocess.run([sys.executable, "-m", "venv", str(mine)], check=True)
    (site,) = mine.glob("lib/python*/site-packages")
    (site / "there.pth").write_text(sysconfig.get_path("purelib"))
    here = Path(sys.prefix)
    installed = f"{install.replace('/path/to/clone', str(ROOT))} --no-deps --quiet --disable-pip-version-check"
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def told(environment: Path, script: str) -> list[str]:
        line = activate.replace(".venv", shlex.quote(str(environment)))
        command = ["bash", "-ec", f"{line}\n{script}"]
        ended = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.split("\n")

    assert told(here, "command -v realtime; realtime --version")[0] == str(here / "bin" / "realtime")
    place, version, package, *_ = told(
        mine,
        f"{installed}\ncommand -v realtime; realtime --version\npython -c 'import realtime; print(realtime.__file__)'",
    )
    assert (place, version) == (str(mine / "bin" / "realtime"), f"realtime, version {realtime.__version__}")
    assert site in Path(package).parents
    page = "web/static/index.html"
    assert (Path(package).parent / page).read_text() == (ROOT / "realtime" / page).read_text()


async def test_the_browser_snippet_logs_the_documents_and_what_becomes_of_them(
    browser: Browser, service: Service
) -> None:
    service.database.orders.insert_one({"_id": "before", "status": "open"})
    # The service's own page allows no script beside its files; what is run here is a page's own.
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.goto(f"{service.url}/")
    script = at(service.url, block("import { connect }").text)

    def logs(*keys: str) -> Callable[[ConsoleMessage], bool]:
        return lambda message: (
            message.text.startswith("live") and [key for key in KEYS if key in message.text] == [*keys]
        )

    async with page.expect_console_message(logs("before"), timeout=20_000):
        await page.add_script_tag(content=script, type="module")
    async with page.expect_console_message(logs("before", "after"), timeout=20_000):
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "after", "status": "open"})
    async with page.expect_console_message(logs("after"), timeout=20_000):
        await asyncio.to_thread(service.database.orders.delete_one, {"_id": "before"})
    await context.close()


async def test_the_curl_snippet_is_pushed_to_a_subscriber(service: Service) -> None:
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", filter={"status": "open"})
        command = at(service.url, block("curl -X").text)
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-ec", f"{command.strip()} -sS"], capture_output=True, text=True, check=True
        )
        await wire.when(lambda: bool(view.documents))
    answer = json.loads(done.stdout)
    (document,) = view.documents.values()
    assert document == {"_id": answer["keys"][0], "status": "open", "total": 12.5}
    assert view.position >= answer["position"]


async def test_the_curl_snippet_of_server_sent_events_shows_what_is_there_and_what_comes(service: Service) -> None:
    service.database.orders.insert_many([{"_id": "before", "status": "open"}, {"_id": "other", "status": "paid"}])
    command = at(service.url, block("curl -N").text)
    child = await asyncio.create_subprocess_exec(
        "bash", "-ec", f"exec {command.strip()} -sS", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    frames: list[dict[str, object]] = []
    try:
        async with asyncio.timeout(30):
            while not frames or frames[-1]["type"] != "changes":
                line = (await child.stdout.readline()).decode()
                assert line
                if line.startswith("data: "):
                    frames.append(json.loads(line.removeprefix("data: ")))
                    if frames[-1]["type"] == "live":
                        await service.http.post(service.documents, json={"_id": "after", "status": "open"})
    finally:
        child.kill()
        await child.wait()
    assert [frame["type"] for frame in frames] == ["subscribed", "snapshot", "live", "changes"]
    assert '"before"' in json.dumps(frames[1])
    assert '"other"' not in json.dumps(frames)
    assert '"after"' in json.dumps(frames[3])


async def test_the_python_snippet_prints_the_documents_and_then_each_moment(service: Service) -> None:
    service.database.orders.insert_one({"_id": "before", "status": "open"})
    body = textwrap.indent(at(service.url, block("rt.query").text), "    ")
    program = f"import asyncio\nfrom realtime.client import connect\nasync def main():\n{body}\nasyncio.run(main())"
    child = await asyncio.create_subprocess_exec(sys.executable, "-u", "-c", program, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = (await child.stdout.readline()).decode()
            made = await service.http.post(service.documents, json={"_id": "after", "status": "open"})
            second = (await child.stdout.readline()).decode()
    finally:
        child.kill()
        await child.wait()
    assert first == "[{'_id': 'before', 'status': 'open'}]\n"
    assert second.startswith(made.json()["position"])
    assert "Change(op='enter', key='after', document={'_id': 'after', 'status': 'open'}" in second


async def test_the_tail_line_prints_what_happened_and_what_happens(service: Service) -> None:
    async with wired(service.url) as wire:
        await wire.subscribe("orders")
    service.database.orders.insert_one({"_id": "before", "status": "open"})
    program, *arguments = shlex.split(at(service.url, block("realtime tail").text))
    assert program == "realtime"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "realtime", *arguments), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = (await child.stdout.readline()).decode()
            await service.http.post(service.documents, json={"_id": "after", "status": "open"})
            second = (await child.stdout.readline()).decode()
    finally:
        child.kill()
        await child.wait()
    assert 'insert    "before"  {"_id":"before","status":"open"}' in first
    assert 'insert    "after"' in second


async def test_the_application_of_ones_own_serves_under_its_prefix(replica_set: ReplicaSet) -> None:
    name = f"t_{uuid.uuid4().hex[:12]}"
    given = {"mongodb://127.0.0.1:27017/?replicaSet=rs0": replica_set.uri, '"shop"': f'"{name}"'}
    program = block("include_router").text
    for shown, real in given.items():
        assert shown in program
        program = program.replace(shown, real)
    names: dict[str, Any] = {}
    exec(program, names)
    async with listening(names["app"]) as url, wired(f"{url}/live") as wire, httpx.AsyncClient(base_url=url) as http:
        view = await wire.subscribe("orders")
        made = await http.post("/live/v1/collections/orders/documents", json={"_id": "a"})
        assert made.headers["location"] == "/live/v1/collections/orders/documents/a"
        await wire.when(lambda: bool(view.documents))
        await (await names["rt"].database()).client.drop_database(name)


async def test_serve_takes_a_uri_and_a_database(replica_set: ReplicaSet, tmp_path: Path) -> None:
    name = f"t_{uuid.uuid4().hex[:12]}"
    program, command, *arguments = shlex.split(block("realtime serve").text)
    assert (program, command) == ("realtime", "serve")
    given = {"mongodb://127.0.0.1:27017/?replicaSet=rs0": replica_set.uri, "shop": name}
    assert set(given) <= set(arguments)
    async with process(command, *(given.get(one, one) for one in arguments), "--port", "0", home=tmp_path) as running:
        assert name in running.output[-1]
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(replica_set.uri)
    client.drop_database(name)
    client.close()


def test_compose_names_a_file_that_is_there_and_is_run_where_an_engine_is() -> None:
    path = shlex.split(block("docker compose").text)[3]
    assert (ROOT / path).is_file()
    assert f"`{block('docker compose').text.strip()}`" in (ROOT / "docs" / "operations.md").read_text()
    assert path.rsplit("/", 1)[1] in (ROOT / "tests" / "e2e" / "test_docker.py").read_text()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)|(?:src|srcset)=\"([^\"]+)\"", README))))
def test_links_lead_somewhere(link: tuple[str, str]) -> None:
    assert (ROOT / next(part for part in link if part)).exists()
