"""What membership in the database costs: `python -m tests.bench.memberships [USERS]`. Ratios of one run, bytes a user.

As `tests.bench.groups`: a hub without sockets or MongoDB, CPU time of this thread, the best of rounds. Every user has a
set of `TEAMS` values of their own, once by their token and once by documents; an event is of a team of one of them.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.bson.keys import identity
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.journal import Journal
from realtime.core.live.query import GroupBounds, Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.hub.history import History
from realtime.hub.hub import Hub
from realtime.hub.roster import Subscription
from realtime.ports import CollectionFacts, Document, Snapshot
from tests.bench.groups import AT_ONCE, START, Empty, Everyone, document, resident

USERS, TEAMS, EVENTS, ROUNDS = 10_000, 100, 300, 5
COLLECTION, MEMBERS = "orders", "memberships"
FROM = {"$from": {"collection": MEMBERS, "where": {"user": "$user.sub"}, "values": "team"}}
RULES = Rules.model_validate(
    {
        "collections": {
            COLLECTION: {
                "token": {"read": {"team": {"$in": "$user.claims.teams"}}},
                "member": {"read": {"team": {"$in": FROM}}},
            }
        }
    }
)


def teams_of(number: int) -> list[str]:
    """Those of one user, and of nobody else."""
    return [f"t{number}-{place}" for place in range(TEAMS)]


class Members(Empty):
    """A MongoDB with memberships and nothing else."""

    async def find(
        self,
        collection: str,
        selection: Document,
        *,
        after: int,
        limit: int,
        sort: Mapping[str, int] | None = None,
        cut: bool = False,
        fields: Document | None = None,
        facts: CollectionFacts | None = None,
        rule: Mapping[str, Any] | None = None,
        spare: int = 0,
    ) -> Snapshot:
        if collection != MEMBERS:
            return Snapshot(after, [])
        user = selection["user"]["$eq"]
        return Snapshot(after, [{"_id": f"{user}/{team}", "team": team} for team in teams_of(int(user[1:]))])


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU an event, and for a change of one membership with what follows from it; bytes a user."""

    role: str
    event: float
    change: float
    bytes: float
    told: float


class Stage:
    """A hub, and users who each have a live query of their own by one role."""

    def __init__(self, role: str) -> None:
        bounds = GroupBounds(documents=10_000, bytes=64 << 20, frame_bytes=1 << 20, all_bytes=4 << 30)
        self.hub = Hub(
            Members(),
            History(Journal(START, max_bytes=1 << 20, max_seconds=300), None),
            epoch="0123ABCD",
            time=START,
            bounds=bounds,
        )
        self.role, self.policy, self.owner, self.time = role, Policy(RULES), Everyone(), START

    async def subscribe(self, users: int) -> None:
        for start in range(0, users, AT_ONCE):
            for number in range(start, min(start + AT_ONCE, users)):
                claims = {"teams": teams_of(number)} if self.role == "token" else {}
                who = Principal(f"u{number}", frozenset({self.role}), claims)
                query = Query.of(
                    mode="query",
                    collections=frozenset({COLLECTION}),
                    filter=compile_filter(None),
                    projection=compile_projection(None),
                    operations=None,
                    vision=self.policy.reading(who, COLLECTION),
                )
                self.hub.attach(Subscription(str(number), self.owner, query))
            await self.settled()
        assert all(group.live for group in self.hub.router.query_groups(COLLECTION))

    async def settled(self) -> None:
        while self.hub.groups.tasks:
            await asyncio.sleep(0)

    def write(self, op: str, collection: str, told: dict[str, Any]) -> None:
        self.time += 1
        key = told["_id"]
        event = ChangeEvent(
            op, collection, self.time, key=key, identity=identity(key), document=None if op == "delete" else told
        )
        plan = self.hub.plan(Batch((event,), self.time))
        self.hub.dispatch(plan, {})

    async def change(self, users: int) -> None:
        """One user joins a team, and leaves it again."""
        number = self.time % users
        one = {"_id": f"u{number}/new", "user": f"u{number}", "team": f"new{number}"}
        for op in ("insert", "delete"):
            self.write(op, MEMBERS, one)
            await self.settled()


async def cost(role: str, users: int) -> Cost:
    """The best round counts; memory is what the process has more of, before any event."""
    gc.collect()
    before = resident()
    stage = Stage(role)
    await stage.subscribe(users)
    gc.collect()
    used = resident() - before
    documents = [document(number, team=teams_of(number * 31 % users)[7]) for number in range(EVENTS)]
    frames, best, changing = stage.owner.frames, float("inf"), float("inf")
    gc.disable()
    try:
        for _ in range(ROUNDS):
            began = time.thread_time()
            for one in documents:
                stage.write("insert", COLLECTION, one)
                stage.write("delete", COLLECTION, one)
            best = min(best, time.thread_time() - began)
        told = (stage.owner.frames - frames) / ROUNDS / 2 / EVENTS
        for _ in range(ROUNDS if role == "member" else 0):
            began = time.thread_time()
            for _ in range(50):
                await stage.change(users)
            changing = min(changing, time.thread_time() - began)
    finally:
        gc.enable()
    await stage.hub.close()
    return Cost(role, best / 2 / EVENTS * 1e6, changing / 100 * 1e6, used / users, told)


async def main() -> None:
    users = int(sys.argv[1]) if len(sys.argv) > 1 else USERS
    sys.stdout.write(f"{users:,} users, {TEAMS} teams each, an event is of one user's team\n")
    for role in ("token", "member") if len(sys.argv) < 3 else sys.argv[2:]:
        found = await cost(role, users)
        sys.stdout.write(
            f"{role:8} {found.event:8.1f} µs an event, told {found.told:.2f} times; "
            f"{found.bytes / 1024:8.1f} KiB a user; a membership that changes: {found.change:8.1f} µs\n"
        )


if __name__ == "__main__":
    asyncio.run(main())
