"""The garbage collector of a process that is ours alone: what is there to stay is not looked through again and again.

A connection is freed when it ends, without the collector, and open ones only make it slow: a full look at 10,000 of
them stops everything meanwhile. An application that embeds the service decides for itself.
"""

from __future__ import annotations

import gc

ALLOCATIONS = 20_000
"""Objects made, and not freed, between two looks of the garbage collector at the young ones."""
CONNECTIONS = 250
"""So many more connections than at the last freeze are frozen too, and so few are looked through at a time."""
LOOKS = 36_000
"""Between two looks through everything: an hour, at ten a second. Such a look takes half a second."""


class Collector:
    """`begin` once the process is ready to serve, and `look` now and then with the number of open connections."""

    def __init__(self) -> None:
        self._frozen_at = 0
        self._crowd = 0
        self._looks = LOOKS

    def begin(self) -> None:
        """What is there now stays to the end. Of 2,000 connections that came at once the collector took 40 % of the
        time.
        """
        self._freeze(0)
        gc.set_threshold(ALLOCATIONS, 20, 50)

    def look(self, connections: int) -> None:
        """Freeze where a crowd has come. Where nine in ten have gone, look through what is left of it: once an hour.

        Garbage is collected before a freeze, and what became garbage since by the look: nothing is kept for ever.
        """
        self._looks += 1
        if connections >= self._frozen_at + CONNECTIONS:
            self._freeze(connections)
        elif self._frozen_at >= CONNECTIONS and connections <= self._frozen_at // 10:
            self._crowd = max(self._crowd, self._frozen_at)
            self._freeze(connections)
        if self._looks >= LOOKS and self._crowd and connections <= self._crowd // 10:
            self._looks = self._crowd = 0
            gc.unfreeze()
            self._freeze(connections)

    def _freeze(self, connections: int) -> None:
        gc.collect()
        gc.freeze()
        self._frozen_at = connections
