"""All clients by which one service, or one relay, reaches MongoDB."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from realtime.mongo import client as clients


@dataclass(frozen=True, slots=True)
class Reach:
    """MongoDB by its clients: of the requests, of the feed, and one that waits long for the oplog. Motor's.

    Each connects when it is first used: behind a relay those of the feed never do.
    """

    uri: str
    client: Any
    database: Any
    feed_client: Any
    feed_database: Any
    far_database: Any


def reach_of(stack: AsyncExitStack, uri: str, database: str, *, app: str = "realtime", follower: bool = False) -> Reach:
    """Clients of a MongoDB, which close with the stack. `app`: how it knows the one of the requests.

    `follower`: of a node behind a relay.
    """
    requests, feed = clients.open_client(uri, app=app, follower=follower), clients.open_feed_client(uri)
    far = clients.open_feed_client(uri, far=True)
    for client in (requests, feed, far):
        stack.callback(clients.close, client)
    return Reach(
        uri,
        requests,
        clients.database_of(requests, database),
        feed,
        clients.database_of(feed, database),
        clients.database_of(far, database),
    )
