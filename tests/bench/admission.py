"""What it costs to know who connects: `python -m tests.bench.admission [--pairs N]`. Real processes and sockets.

Beside a service that asks nobody who they are, one for each algorithm; the same peers connect to both and subscribe,
those of the second with a JSON Web Token in their handshake: one of their own, and then one that was shown before, as a
browser's is with its next page. They take turns, so that what else the machine does falls on all. The ratios are of
CPU, of all threads of the service; the median of all pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pymongo
import uvloop

from realtime.mongo import embedded
from tests.access.issuer import AUDIENCE, SECRET, Signer, signer
from tests.bench.connections import ROOT, Server, gone, peers, serving

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
PAIRS, EACH, WARM, AT_ONCE = 15, 150, 150, 50


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a connection and its subscription, milliseconds of CPU."""

    algorithm: str
    without: float
    with_token: float
    ratio: float
    again: float
    """The ratio where the token was shown before."""

    def row(self) -> str:
        own = f"{self.with_token:.3f} ms | {self.ratio:.2f}"
        return f"| {self.algorithm} | {self.without:.3f} ms | {own} | {self.again:.2f} |"


async def cost(server: Server) -> float:
    """Milliseconds of CPU for one of `EACH` that connect and subscribe."""
    before = server.cpu()
    held = await peers(server, EACH, AT_ONCE)
    spent = server.cpu() - before
    await gone(held)
    return spent / EACH * 1000


def shown(one: Signer, number: int) -> str:
    """The line of a handshake; the token is a user's as providers make them, of one with this number."""
    claims: dict[str, Any] = {
        "name": "Ann Example",
        "email": "ann@shop.example",
        "roles": ["staff", "buyer"],
        "jti": f"t{number}",
    }
    return f"Authorization: Bearer {one.token(exp=2**33, **claims)}\r\n"


async def measured(uri: str, algorithm: str, pairs: int = PAIRS) -> Cost:
    """Both services side by side."""
    one, database = signer(algorithm), f"bench_{random.randrange(1 << 40):x}"
    client: pymongo.MongoClient[Any]
    with tempfile.TemporaryDirectory() as place, pymongo.MongoClient(uri) as client:
        asks = {"REALTIME_AUTH": "jwt", "REALTIME_JWT_AUDIENCE": AUDIENCE}
        if algorithm == "HS256":
            asks["REALTIME_JWT_SECRET"] = SECRET
        else:
            (Path(place) / "public.pem").write_bytes(one.pem)
            asks["REALTIME_JWT_PUBLIC_KEY"] = f"{place}/public.pem"
        try:
            async with AsyncExitStack() as stack:
                open_ = await stack.enter_async_context(serving(ROOT, uri, database))
                asking = await stack.enter_async_context(serving(ROOT, uri, database, **asks))
                before = shown(one, 0)
                asking.shows = partial(str, before)
                for server in (open_, asking):
                    await gone(await peers(server, WARM, AT_ONCE))
                costs: list[tuple[float, float, float]] = []
                for number in range(pairs):
                    each = iter([shown(one, number * EACH + own) for own in range(1, EACH + 1)])
                    ways: dict[str, Callable[[], str]]
                    ways = {"open": str, "own": partial(next, each), "again": partial(str, before)}
                    spent = {}
                    for way in sorted(ways, reverse=bool(number % 2)):
                        server = open_ if way == "open" else asking
                        server.shows = ways[way]
                        spent[way] = await cost(server)
                    costs.append((spent["open"], spent["own"], spent["again"]))
        finally:
            client.drop_database(database)
    without, beside, _ = (statistics.median(side) for side in zip(*costs, strict=True))
    first, again = (statistics.median(row[way] / row[0] for row in costs) for way in (1, 2))
    return Cost(algorithm, without, beside, first, again)


async def main(pairs: int) -> None:
    """One row for each algorithm."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.stdout.write("| | nobody asked | with a JWT | ratio | shown before |\n|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as place:
        async with embedded.running(Path(place), None) as mongo:
            for algorithm in ALGORITHMS:
                sys.stdout.write(f"{(await measured(mongo.uri, algorithm, pairs)).row()}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.admission")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"of {EACH} connections each")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args().pairs))
