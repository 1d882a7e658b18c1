"""What is measured: connections, writes, and who hears of what. Sizes are such that all of it takes 45 minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

PAYLOAD = 200
PART = "of all this"
OURS = "realtime"
RULED = "realtime, ruled"
OUR_OWN = (OURS, RULED)
DESIGNS = ("a stream each", "a loop that awaits", "a task each", "a queue each", "a plain call", "shared bytes")
"""One server in Python, its ways of telling many apart: of the essay's scenario alone."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Connections, documents a second, at a time and in all; 0 documents: who connects is measured alone.

    `only`: who is asked for it; otherwise everybody but those of the essay, and `without` these.
    """

    name: str
    text: str
    connections: int
    rate: float = 0.0
    batch: int = 1
    documents: int = 0
    slow: int = 0
    filters: int = 0
    each: int = 1
    resume: bool = False
    payload: int = PAYLOAD
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def smaller(self, share: float) -> Scenario:
        """The same, of that share: to see that everything works."""
        if share >= 1:
            return self

        def part(number: int, least: int) -> int:
            return max(round(number * share), min(least, number))

        connections = part(self.connections, 10)
        return replace(
            self,
            text=f"{self.text}; {PART} {share:g}",
            connections=connections,
            documents=part(self.documents, 20),
            batch=part(self.batch, 10),
            slow=part(self.slow, 2),
            # Each is asked by somebody, whatever the rounding.
            filters=min(part(self.filters, 20), connections * self.each) if self.filters else 0,
        )

    def seconds(self) -> float:
        """About how long a run takes that nobody has made yet: a guess for the time that is left."""
        asked = self.connections * self.each
        deliveries = self.documents * (self.connections if not self.filters else 1)
        return 6.0 + asked * 0.0005 + max(self.documents / (self.rate or 1.0), deliveries * 12e-6)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("steady", "500 connections, 400 documents/s", 500, 400, documents=1600),
    # What Parse Server tells of is written through it, an object a request: that is no `insert_many`.
    Scenario(
        "burst", "500 connections, 4,000 documents by one `insert_many`", 500, 4000, batch=4000, documents=4000,
        without=("parse",),
    ),
    Scenario("wide", "5,000 connections, 20 documents/s", 5000, 20, documents=100),
    Scenario("widest", "18,000 connections, 20 documents/s", 18_000, 20, documents=100, only=OUR_OWN),
    Scenario("isolated", "one connection, 100 documents/s", 1, 100, documents=300),
    Scenario("latency", "100 connections, 50 documents/s", 100, 50, documents=200),
    Scenario("connect", "2,000 connections, 100 at once, nothing written", 2000),
    Scenario(
        "filters", "100 connections of 100 different filters each, 50 documents/s", 100, 50, documents=250,
        filters=10_000, each=100,
    ),
    Scenario(
        "few filters", "100 connections of 10 different filters each, 200 documents/s, each of which concerns one", 100,
        200, documents=1000, filters=1000, each=10, only=(OURS,),
    ),
    Scenario(
        "many filters", "100 connections of 1,000 different filters each, 200 documents/s, each of which concerns one",
        100, 200, documents=1000, filters=100_000, each=1000, only=(OURS,),
    ),
    Scenario(
        "slow", "200 connections, of which 20 read nothing until all is written; 60 documents/s of 16 KB", 200, 60,
        documents=320, slow=20, payload=16_000,
    ),
    Scenario(
        "resume", "2,000 connections come back by position after a restart, and get what was written meanwhile", 2000,
        100, documents=100, resume=True, only=OUR_OWN,
    ),
    Scenario("designs", "50 connections, 100 documents/s", 50, 100, documents=300, only=(*DESIGNS, OURS, "floor")),
)  # fmt: skip
