"""Of which collections nodes need images: each node says it again and again in a bucket, the relay listens.

What a relay does not know yet, or no longer, nodes read themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from typing import Any, Final

from nats import errors
from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.nats import bucket
from realtime.nats.connection import Connection
from realtime.nats.stream import UnansweredError

NEEDED_SECONDS: Final = 30.0
"""How long what a node said counts."""
SAY_SECONDS: Final = 5.0
"""How often a node says it, and at once where it has changed."""
VALUE_BYTES: Final = 32 * 1024
MOST_NODES: Final = 1000
_OF_ALL = b"null"


def encode(collections: Collection[str] | None) -> bytes:
    """What a node says; None, or more names than have room: all collections."""
    text = _OF_ALL if collections is None else json.dumps(sorted(collections)).encode()
    return text if len(text) <= VALUE_BYTES else _OF_ALL


def decode(value: bytes) -> frozenset[str] | None:
    """What a node said; None: all collections. What is nothing of the kind says nothing."""
    try:
        found = json.loads(value) if len(value) <= VALUE_BYTES else []
    except ValueError:
        return frozenset()
    if found is None:
        return None
    return frozenset(name for name in found if isinstance(name, str)) if isinstance(found, list) else frozenset()


async def say(client: Client, identity: Identity, node: str, collections: Collection[str] | None) -> None:
    """For a node, whose name is one word of letters, digits, "-" and "_". Raises `ApiError`, or `UnansweredError`."""
    await bucket.put(client, identity.needs, node, encode(collections))


class Needs:
    """What nodes said, for a relay: asked for each batch."""

    def __init__(self, identity: Identity, clock: Callable[[], float]) -> None:
        self._bucket = identity.needs
        self._clock = clock
        self._said: dict[str, tuple[frozenset[str] | None, float]] = {}

    def needed(self, collection: str) -> bool:
        """Whether some node needs its images."""
        until = self._clock() - NEEDED_SECONDS
        return any(at >= until and (names is None or collection in names) for names, at in self._said.values())

    def hear(self, node: str, value: bytes) -> None:
        """What a node says now."""
        now = self._clock()
        if node not in self._said and len(self._said) >= MOST_NODES:
            self._said = {name: said for name, said in self._said.items() if said[1] >= now - NEEDED_SECONDS}
        if node in self._said or len(self._said) < MOST_NODES:
            self._said[node] = (decode(value), now)

    async def prepare(self, client: Client, replicas: int) -> None:
        """Make the bucket where there is none."""
        await bucket.ensure(client, self._bucket, NEEDED_SECONDS, replicas)

    async def listen(self, client: Connection) -> None:
        """Hear what is said from now on, until the connection is over; what was said before is said again soon."""

        async def heard(message: Any) -> None:
            self.hear(message.subject.rpartition(".")[2], message.data)

        try:
            async with asyncio.timeout(SAY_SECONDS):
                await client.hear(bucket.subject(self._bucket, "*"), heard)
        except (errors.Error, OSError, TimeoutError) as error:
            raise UnansweredError(f"what nodes need cannot be heard: {str(error) or type(error).__name__}") from None
