"""Requests that Schemathesis makes of `/openapi.json`, with three tokens under rules: described, and never a 5xx.

Schemathesis runs in a process and from a folder of its own, fetched once a machine: it brings a plugin of pytest's and
its own versions of much else.
"""

from __future__ import annotations

import asyncio
import os
import string
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI

from realtime import Realtime
from realtime.settings import Settings
from tests.access.issuer import SECRET, signer
from tests.chance import fresh_seed
from tests.embedding import hosting
from tests.kept import kept
from tests.replica_set import ReplicaSet
from tests.serving import Service

VERSION = "4.32.5"
ENOUGH = 100
"""Answers of each operation that let something, and that refuse."""
EXAMPLES = "220"
"""Of an operation, in each run."""
OPERATIONS = (
    *("access", "collections", "list_documents", "insert", "read", "replace", "update", "delete", "events", "ticket"),
)
SIGNER = signer("HS256")
HERE = Path(__file__).parent
CONFIGURATION = """
# An object may hold what the description cannot say, a name that begins with `$` or a document that is not one's own,
# and a key or a collection may not be there.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "412", "413", "422", "429"]
"""
RULES = """
orders:
  customer: {read: &own {owner: $user.sub}, insert: *own, update: *own, delete: *own,
    fields: {hide: [margin]}}
notes:
  customer: {read: true}
"*":
  staff: {read: true, insert: true, update: true, delete: true}
"""


def fetched() -> Path:
    """Schemathesis and all that it needs, in a folder."""

    def fetch(folder: Path) -> None:
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder))
        ended = subprocess.run(
            [*command, f"schemathesis=={VERSION}"], capture_output=True, text=True, timeout=600, check=False
        )
        assert ended.returncode == 0, ended.stderr

    return kept(f"schemathesis-{VERSION}", fetch)


class Tally:
    """Counts answers by endpoint and status, and ends an event stream after its first part, as nobody else would."""

    def __init__(self, app: Any, found: Counter[tuple[str, int]]) -> None:
        self._app = app
        self._found = found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ended, streams = asyncio.Event(), False

        async def told(message: Any) -> None:
            nonlocal streams
            if ended.is_set():
                return
            if message["type"] == "http.response.start":
                self._found[getattr(scope.get("endpoint"), "__name__", "none"), message["status"]] += 1
                streams = any(b"event-stream" in value for _, value in message["headers"])
            elif streams and message.get("body"):
                message = {**message, "more_body": False}
                ended.set()
            await send(message)

        async def heard() -> Any:
            over = {asyncio.ensure_future(receive()): True, asyncio.ensure_future(ended.wait()): False}
            try:
                done, _ = await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in over:
                    task.cancel()
                await asyncio.gather(*over, return_exceptions=True)
            return next((task.result() for task in done if over[task]), {"type": "http.disconnect"})

        await self._app(scope, heard, told)


Found = Counter[tuple[str, int]]


@asynccontextmanager
async def counted(replica_set: ReplicaSet, rules: Path) -> AsyncIterator[tuple[Service, Found]]:
    """A service under rules whose answers are counted, with documents: itself and the counts."""
    found: Found = Counter()

    def shape(settings: Settings, **options: Any) -> tuple[Realtime, FastAPI]:
        rt = Realtime(settings, **options)
        app = FastAPI(lifespan=rt.lifespan)
        app.include_router(rt.router)
        app.add_middleware(Tally, found=found)
        return rt, app

    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "rules": rules}
    async with hosting(replica_set, shape, **asks) as service:
        documents = [{"_id": str(n), "owner": "ann", "status": "open", "n": n, "margin": n} for n in range(1, 1501)]
        for name in ("orders", "notes"):
            service.database[name].insert_many(documents)
        service.database.secrets.insert_one({"_id": 1})
        service.database.create_collection("view", viewOn="orders", pipeline=[])
        yield service, found


async def generated(url: str, token: str, folder: Path) -> tuple[int, str]:
    """A run of Schemathesis by whoever has this token: its exit code and what it printed."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    seed = str(fresh_seed() % 2**31)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(fetched()), str(HERE.parents[1])]),
        "SCHEMATHESIS_HOOKS": "tests.web.generated_hooks",
        "GENERATED_HOOKS_SEED": seed,
    }
    options = {
        "--header": f"Authorization: Bearer {token}",
        "--checks": "all",
        "--phases": "examples,coverage,fuzzing,stateful",
        "--max-examples": EXAMPLES,
        "--include-path-regex": "^/v1",
        "--request-timeout": "30",
        "--seed": seed,
    }
    given = [part for pair in options.items() for part in pair]
    ended = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)),
        *("run", f"{url}/openapi.json", *given, "--continue-on-failure"),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await ended.communicate()
    return ended.returncode or 0, said.decode()


async def without_parameters(service: Service) -> None:
    """Of what has no parameters a run makes few requests: the rest, each held to the description by the client."""
    dice = Random(fresh_seed())
    good = SIGNER.token(sub="ann", roles=["customer"])
    for _ in range(ENOUGH):
        forged = "".join(dice.choices(string.ascii_letters + string.digits + "-_.", k=dice.randint(1, 300)))
        for method, path, status in (("GET", "/v1/collections", 200), ("POST", "/v1/tickets", 201)):
            for token, told in ((good, status), (forged, 401)):
                answer = await service.http.request(method, path, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == told, answer.text


@pytest.mark.long("three runs of Schemathesis, thousands of requests each")
@pytest.mark.timeout(1200)
async def test_whatever_is_asked_by_three_people_is_answered_as_it_is_described(
    replica_set: ReplicaSet, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    now = time.time()
    async with counted(replica_set, rules) as (service, found):
        for sub, *roles in (("ann", "customer"), ("sue", "staff"), ("eve",)):
            token = SIGNER.token(sub=sub, roles=roles, iat=now, exp=now + 3600)
            code, said = await generated(service.url.removesuffix(service.prefix), token, tmp_path)
            assert code == 0, said[-20_000:]
        await without_parameters(service)
    broken = {endpoint: status for endpoint, status in found if status >= 500}
    assert broken == {}
    shown = {
        name: (
            sum(count for (endpoint, status), count in found.items() if endpoint == name and status < 400),
            sum(count for (endpoint, status), count in found.items() if endpoint == name and 400 <= status != 405),
        )
        for name in OPERATIONS
    }
    print(shown)  # noqa: T201 - the figures of the run
    assert {name: both for name, both in shown.items() if min(both) < ENOUGH} == {}
