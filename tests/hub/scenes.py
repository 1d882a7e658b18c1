"""What several tests of the hub begin with: five documents, somebody who watches, and the view that must come of it."""

from __future__ import annotations

import orjson
from prometheus_client import REGISTRY

from realtime.core.live.query import Query
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, Store
from tests.hub.view import Held, View, check_exact, expected

RED = {"team": "red"}


def counter(name: str) -> float:
    """A counter's value now."""
    return REGISTRY.get_sample_value(name) or 0.0


def watch(peer: Peer, what: Query, name: str = "s") -> Subscription:
    return Subscription(name, peer, what)


def teams(store: Store, collection: str = "items", count: int = 5) -> None:
    for number in range(1, count + 1):
        store.insert(collection, {"_id": number, "team": "red" if number % 2 else "blue", "n": 0})


def types(peer: Peer) -> list[str]:
    return [orjson.loads(frame)["type"] for frame in peer.frames]


def exact(peer: Peer, store: Store, what: Query, name: str = "s") -> Held:
    """The subscription's view is `find`'s at every position, and it is at the end of all that happened."""
    held = View(peer.frames)[name]
    check_exact(held, store, what)
    assert held.live
    assert held.documents == expected(store, what, store.now)
    return held


async def two_collections(service: Service) -> tuple[Peer, Peer]:
    """Somebody live on `items`, somebody else on `others`, five documents in each."""
    teams(service.store)
    teams(service.store, "others")
    await service.flow()
    concerned, neighbour = Peer(), Peer()
    await service.subscribed(watch(concerned, query(RED)))
    await service.subscribed(watch(neighbour, query(RED, collections="others")))
    return concerned, neighbour
