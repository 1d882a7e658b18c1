"""The bounded queue of frames for one connection whose transport is over its mark.

Over its bound the outbox lets the heaviest channel *lapse*: what waits of it is dropped whole, and nothing of it is
taken until the rest has been pulled. Then `take_lapsed` says from which cluster time on each channel was not told.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """Where a live frame belongs: the channel, and whether it is the first of its moment.

    `after`: the cluster time up to which the channel's subscribers had been told before this moment.
    """

    channel: int
    after: int
    first: bool


@dataclass(slots=True)
class _Moment:
    """A moment's frames. Once the first is on its way the others must follow: no view may be left with half of it."""

    part: Part
    begun: bool
    frames: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)


class Outbox:
    """Frames in order, bounded in bytes. A run of frames (a snapshot) waits as its iterator and counts when pulled.

    An empty outbox takes one frame of any size, so that no bound makes a document undeliverable. `on_lapse` is called
    with a channel when it lapses.
    """

    def __init__(self, limit: int, on_lapse: Callable[[int], None] = lambda _channel: None) -> None:
        self.limit = limit
        self.size = 0
        self._on_lapse = on_lapse
        self._lapsed: dict[int, int] = {}
        self._entries: deque[bytes | Iterator[bytes] | _Moment] = deque()

    def __bool__(self) -> bool:
        return bool(self._entries)

    # ------------------------------------------------------------------------------------------------------------- in

    def put(self, frame: bytes, part: Part | None = None) -> bool:
        """Queue a frame, `part` of a channel or for itself.

        False when it goes over the bound, belongs to no channel and no channel's moments can make room.
        """
        if part is not None:
            self._put_part(frame, part)
            return True
        if not self._admits(len(frame)):
            return False
        self._entries.append(frame)
        self.size += len(frame)
        return True

    def put_run(self, frames: Iterator[bytes]) -> None:
        """Queue frames that are made as the transport drains."""
        self._entries.append(frames)

    def _put_part(self, frame: bytes, part: Part) -> None:
        if part.channel in self._lapsed:
            return
        # The frames of a moment come without another between them.
        tail = self._entries[-1] if self._entries else None
        if not part.first and isinstance(tail, _Moment) and tail.part.channel == part.channel:
            moment = tail
        else:
            moment = _Moment(part, begun=not part.first)
        if not moment.begun and not self._admits(len(frame), part.channel):
            self._lapse(part.channel, part.after)
            return
        if moment is not tail:
            self._entries.append(moment)
        moment.add(frame)
        self.size += len(frame)

    def _admits(self, size: int, channel: int | None = None) -> bool:
        """Make room by the heaviest channel, again and again; False when that is `channel` itself, or none is left."""
        while self._entries and self.size + size > self.limit:
            weights: Counter[int] = Counter()
            for moment in self._droppable():
                weights[moment.part.channel] += moment.size
            if channel is not None:
                weights[channel] += size
            if not weights:
                return False
            heaviest, _ = weights.most_common(1)[0]
            if heaviest == channel:
                return False
            self._lapse(heaviest)
        return True

    def _droppable(self) -> list[_Moment]:
        return [entry for entry in self._entries if isinstance(entry, _Moment) and not entry.begun]

    def _lapse(self, channel: int, after: int = 0) -> None:
        dropped = [moment for moment in self._droppable() if moment.part.channel == channel]
        self._lapsed[channel] = dropped[0].part.after if dropped else after
        self.size -= sum(moment.size for moment in dropped)
        gone = {id(moment) for moment in dropped}
        self._entries = deque(entry for entry in self._entries if id(entry) not in gone)
        self._on_lapse(channel)

    # ------------------------------------------------------------------------------------------------------------ out

    def pull(self) -> bytes | None:
        """The next frame, or None when there is none."""
        while self._entries:
            entry = self._entries[0]
            if isinstance(entry, bytes):
                self._entries.popleft()
                self.size -= len(entry)
                return entry
            if isinstance(entry, _Moment):
                return self._pull_part(entry)
            frame = next(entry, None)
            if frame is not None:
                return frame
            if self._entries and self._entries[0] is entry:  # making a frame may have cleared everything
                self._entries.popleft()
        return None

    def _pull_part(self, moment: _Moment) -> bytes:
        frame = moment.frames.popleft()
        moment.begun = True
        moment.size -= len(frame)
        self.size -= len(frame)
        if not moment.frames:
            self._entries.popleft()
        return frame

    def take_lapsed(self) -> dict[int, int]:
        """The channels that lapsed, each with the cluster time after which it was not told; they may go on now."""
        lapsed, self._lapsed = self._lapsed, {}
        return lapsed

    def clear(self) -> None:
        """Forget everything that waits."""
        self._entries.clear()
        self._lapsed.clear()
        self.size = 0
