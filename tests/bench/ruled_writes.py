"""What a write costs under a rule, in CPU of this process and in time: `python -m tests.bench.ruled_writes [URI]`.

Each figure is the median of rounds in which writes without rules and under them take turns, as a ratio of the two.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.writing import Rulings
from realtime.core.mql.dialect import NEWEST
from realtime.core.wire.collections import Collections
from realtime.mongo import client as clients
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.faults import Gate
from realtime.mongo.ruled_writes import RuledWriter
from realtime.mongo.snapshot import MongoReader
from realtime.ports import Writer
from tests import replica_set as lanes

OWN = {"owner": "$user.sub"}
GRANT = {"read": OWN, "insert": OWN, "update": OWN, "delete": OWN, "fields": {"hide": ["margin"]}}
POLICY = Policy(Rules.model_validate({"collections": {"orders": {"customer": GRANT}}}))
RULINGS = Rulings()
ANN = Principal("ann", frozenset({"customer"}))
ROUNDS, WRITES = 15, 60

Write = Callable[[Writer, Any], Awaitable[Any]]
WRITES_OF: dict[str, Write] = {
    "insert": lambda writer, n: writer.insert("orders", {"_id": f"new{n}", "owner": "ann", "margins": 1}),
    "update": lambda writer, n: writer.update("orders", n, {"$inc": {"n": 1}}),
    "update, with its document": lambda writer, n: writer.update("orders", n, {"$inc": {"n": 1}}, image=True),
    "update of what the rule reads": lambda writer, n: writer.update("orders", n, {"$set": {"owner": "ann"}}),
    "replace": lambda writer, n: writer.replace("orders", n, {"owner": "ann", "n": n}),
    "delete": lambda writer, n: writer.delete("orders", n),
}


async def ratios(uri: str) -> dict[str, tuple[float, float]]:
    """For each write: CPU of this process, and seconds, under rules by without."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    client, motors = clients.open_database(uri, name)
    reader = MongoReader(client, motors, Gate(10))
    plain = CheckedWriter(client, motors, Gate(10), Collections())
    found = {}
    try:
        for kind, write in WRITES_OF.items():
            spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for turn in range(ROUNDS * 2):
                ruled = bool(turn % 2)
                await motors.orders.drop()
                await motors.orders.insert_many(
                    [{"_id": n, "owner": "ann", "n": 0, "margin": 1} for n in range(WRITES)]
                )
                cpu, clock = time.process_time(), time.perf_counter()
                for n in range(WRITES):
                    await write(
                        RuledWriter(plain, RULINGS.of(POLICY, ANN, NEWEST), reader.zones) if ruled else plain, n
                    )
                spent[ruled].append((time.process_time() - cpu, time.perf_counter() - clock))
            both = [[statistics.median(one[part] for one in spent[way]) for part in (0, 1)] for way in (True, False)]
            found[kind] = (both[0][0] / both[1][0], both[0][1] / both[1][1])
    finally:
        await client.drop_database(name)
        client.close()
    return found


def main() -> None:
    if len(sys.argv) > 1:
        shown = asyncio.run(ratios(sys.argv[1]))
    else:
        with lanes.running(lanes.choose(os.environ), os.environ) as replica_set:
            shown = asyncio.run(ratios(replica_set.uri))
    for kind, (cpu, clock) in shown.items():
        sys.stdout.write(f"{kind}: {cpu:.2f} of the CPU of one without rules, {clock:.2f} of its time\n")


if __name__ == "__main__":
    main()
