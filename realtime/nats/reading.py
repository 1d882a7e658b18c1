"""Where a stream goes on after a time, and runs of its messages without a consumer."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from nats import errors
from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.nats import stream
from realtime.nats.stream import State, Stored, UnansweredError

RUN_SECONDS: Final = 5.0
"""For each message of a run."""


async def place(client: Client, identity: Identity, state: State, time: int) -> tuple[int, bool]:
    """The sequence of the first message after a time, and whether everything after that time is in the stream.

    That is sure where the message before it is there as well: a message says up to where it goes, and not from where.
    """
    found = await stream.first_after(client, identity, state, time)
    start = state.last + 1 if found is None else found.sequence
    if start <= 1:
        return start, False
    # Looked at last: what was trimmed while this looked for it is not there now.
    before = await stream.get(client, identity, start - 1)
    return start, before is not None and before.sequence == start - 1 and before.head.time <= time


async def run(client: Client, identity: Identity, start: int, *, most: int, max_bytes: int) -> list[Stored]:
    """Messages from a sequence on, as many as there are up to two bounds; any replica answers. `UnansweredError`."""
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def take(message: Any) -> None:
        arrived.put_nowait(message)

    inbox = client.new_inbox()
    asked = {"seq": start, "batch": most, "max_bytes": max_bytes, "next_by_subj": identity.subject}
    try:
        subscription = await client.subscribe(inbox, cb=take)
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{identity.stream}", json.dumps(asked).encode(), reply=inbox)
            return await _gathered(arrived)
        finally:
            if not client.is_closed:
                await subscription.unsubscribe()
    except (errors.Error, OSError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise UnansweredError(f"no messages of {identity.stream} from {start} on ({said})") from None


async def _gathered(arrived: asyncio.Queue[Any]) -> list[Stored]:
    """What comes until the server says that it was all."""
    found: list[Stored] = []
    while True:
        async with asyncio.timeout(RUN_SECONDS):
            message = await arrived.get()
        headers = message.headers or {}
        if "Nats-Sequence" not in headers:
            if headers.get("Status") not in {"204", "404"}:
                raise UnansweredError(f"{headers.get('Status')} {headers.get('Description')}")
            return found
        found.append(Stored(int(headers["Nats-Sequence"]), headers, message.data))
