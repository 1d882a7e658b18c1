"""Which of several relays publishes: the one that holds a key, which is gone when it does not say it again.

It only keeps others from reading MongoDB for nothing. Two that both hold it, as after one was frozen, are told apart by
the stream's sequence (`publisher.py`).
"""

from __future__ import annotations

from typing import Final

from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.nats import bucket
from realtime.nats.stream import ApiError

LEASE_SECONDS: Final = 3.0
RENEW_SECONDS: Final = 0.75
LOOK_SECONDS: Final = 0.25
"""How often one that waits looks whether it is its turn."""
_KEY = "relay"
_HELD = frozenset({10071, 10164})
_TRIES: Final = 3
"""What was said before may be stored, and what is held may be gone, between a look and what is said after it."""


class Lease:
    """Of one relay, by its name."""

    def __init__(self, identity: Identity, holder: str, replicas: int) -> None:
        self._bucket = identity.lease
        self._holder = holder.encode()
        self._replicas = replicas
        self._revision = 0

    @property
    def held(self) -> bool:
        """Whether it was this relay's when that was last asked."""
        return self._revision > 0

    async def prepare(self, client: Client) -> None:
        """Make its bucket where there is none."""
        await bucket.ensure(client, self._bucket, LEASE_SECONDS, self._replicas)

    async def take(self, client: Client) -> bool:
        """Take it where nobody holds it, or say again that it is held; False: another relay holds it.

        Where the answer to what was said before was lost, as while NATS was frozen or cut off, the key has a revision
        that this relay has not heard of, and is its own all the same.
        """
        revision = self._revision
        for _ in range(_TRIES):
            try:
                self._revision = await bucket.put(client, self._bucket, _KEY, self._holder, revision=revision)
            except ApiError as error:
                if error.code not in _HELD:
                    raise
            else:
                return True
            said = await bucket.look(client, self._bucket, _KEY)
            if said is not None and said.value != self._holder:
                break
            revision = 0 if said is None else said.revision
        self._revision = 0
        return False

    async def release(self, client: Client) -> None:
        """Another relay may begin at once; one that holds it by now keeps it."""
        if revision := self._revision:
            self._revision = 0
            await bucket.remove(client, self._bucket, _KEY, revision=revision)
