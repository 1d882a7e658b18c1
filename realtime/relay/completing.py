"""From a batch to its message: what is told of it, with the images that nodes need, as far as a budget goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from realtime.bugs import bug
from realtime.core.live.events import Batch
from realtime.core.live.stepping import EVERY, stepped_over
from realtime.core.relay.message import Message
from realtime.core.relay.telling import Told, Wanted, tell
from realtime.mongo.images import NoImagesError
from realtime.relay import figures

log = logging.getLogger("realtime.relay")

IMAGE_BYTES: Final = 4 * 1024 * 1024
IMAGE_SECONDS: Final = 1.0
"""For the images of one message; what takes more is left to those who need it."""


class Images(Protocol):
    """Reads documents at one time, as `realtime.mongo.images` does."""

    async def read(
        self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any, room: int, seconds: float
    ) -> tuple[bytes, ...]: ...


class Completer:
    """Of one database's batches."""

    def __init__(self, images: Images, database: str, needed: Callable[[str], bool]) -> None:
        self._images = images
        self._database = database
        self._needed = needed

    async def complete(self, batch: Batch) -> Message:
        """The batch's message; the images of its collections are read side by side."""
        told = self._told(batch)
        found = await asyncio.gather(
            *(self._read(name, wanted, batch.time, len(told.reads)) for name, wanted in told.reads.items())
        )
        images = dict.fromkeys(told.complete, ()) | {
            name: documents for name, documents in zip(told.reads, found, strict=True) if documents is not None
        }
        void = told.void | (told.reads.keys() - images.keys())
        figures.VOID.inc(len(void))
        return Message(
            time=batch.time,
            events=told.events,
            images=images,
            collections=told.collections | ({EVERY} if batch.lost else frozenset()),
            void=void,
            lost=batch.lost,
        )

    def _told(self, batch: Batch) -> Told:
        try:
            return tell(batch, self._database, self._needed)
        except Exception as error:
            # It would be so again: marks stand in the place of what happened, as where a node cannot tell it.
            bug("relay", error)
            return tell(stepped_over(batch), self._database, self._needed)

    async def _read(self, collection: str, wanted: Wanted, time: int, among: int) -> tuple[bytes, ...] | None:
        """None where they cannot be had."""
        figures.IMAGES.inc(len(wanted.keys))
        room = IMAGE_BYTES // among
        try:
            async with asyncio.timeout(IMAGE_SECONDS):
                return await self._images.read(
                    collection, wanted.keys, time, uuid=wanted.uuid, room=room, seconds=IMAGE_SECONDS
                )
        except (NoImagesError, TimeoutError) as error:
            log.debug("no images of %s: %s", collection, error)
        except Exception as error:
            bug("relay", error)
        return None
