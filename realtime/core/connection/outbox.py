"""The queue of frames for one connection whose transport is over its mark.

Moments of channels are bounded. Over their bound the heaviest channel *lapses*: what waits of it is dropped whole, and
nothing of it is taken until the rest has been pulled. Then `take_lapsed` says from which cluster time on each channel
was not told. Answers, the frames of no channel, are never dropped and have room of their own: where that is full the
outbox is `crowded`, and nothing more that has to be answered should be taken from its peer.

What says how far a connection is holds only with everything that was queued before it. Where a moment is dropped, such
frames behind it are withdrawn.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

ANSWER_BYTES = 256 * 1024
"""Of answers that wait or are owed; half of it has to be free before more requests are taken."""
OWED_BYTES = 256
"""What is kept free for an answer that has to wait for something."""
ALL_ROOM = ANSWER_BYTES // OWED_BYTES + 1
"""So many owed answers leave no room: nothing more is taken from the peer until they are no longer owed."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a live frame belongs: the channel, and whether it is the first of its moment.

    `after`: the cluster time up to which the channel's subscribers had been told before this moment.
    """

    channel: int
    after: int
    first: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Of a frame that says how far the connection is: it holds if nothing that waits before it is dropped.

    `again` is called in place of the frame where something was.
    """

    again: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Claimed:
    frame: bytes
    claim: Claim


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
    """Frames in order. A run of frames (a snapshot) waits as its iterator and counts when pulled.

    `limit`, in bytes, is for moments that have not begun. One of them alone may be larger: no bound makes a moment
    undeliverable. `size`: everything that waits. `on_lapse` is called with a channel when it lapses.
    """

    def __init__(self, limit: int, on_lapse: Callable[[int], None] = lambda _channel: None) -> None:
        self.limit = limit
        self.size = 0
        self.crowded = False
        self._answers = 0
        self._owed = 0
        self._moments = 0
        self._on_lapse = on_lapse
        self._lapsed: dict[int, int] = {}
        self._entries: deque[bytes | _Claimed | Iterator[bytes] | _Moment] = deque()

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, is owed or has lapsed: another one would do as well."""
        return not (self._entries or self._owed or self._lapsed)

    # ------------------------------------------------------------------------------------------------------------- in

    def put(self, frame: bytes, part: Part | Claim | None = None) -> None:
        """Queue a frame, `part` of a channel or an answer."""
        if isinstance(part, Part):
            self._put_part(frame, part)
            return
        self._entries.append(frame if part is None else _Claimed(frame, part))
        self._answered(len(frame))

    def put_run(self, frames: Iterator[bytes]) -> None:
        """Queue frames that are made as the transport drains."""
        self._entries.append(frames)

    def owe(self, answers: int) -> None:
        """So many more answers (fewer, where negative) are to come when what they wait for has happened."""
        self._owed += answers * OWED_BYTES
        self._weigh()

    def _answered(self, size: int) -> None:
        self.size += size
        self._answers += size
        self._weigh()

    def _weigh(self) -> None:
        weight = self._answers + self._owed
        if weight > ANSWER_BYTES:
            self.crowded = True
        elif weight <= ANSWER_BYTES // 2:
            self.crowded = False

    def _put_part(self, frame: bytes, part: Part) -> None:
        if part.channel in self._lapsed:
            return
        # The frames of a moment come without another between them.
        tail = self._entries[-1] if self._entries else None
        if not part.first and isinstance(tail, _Moment) and tail.part.channel == part.channel:
            moment = tail
        else:
            moment = _Moment(part, begun=not part.first)
        if not moment.begun and not self._admits(len(frame), moment):
            self._lapse(part.channel, part.after)
            return
        if moment is not tail:
            self._entries.append(moment)
        moment.add(frame)
        self.size += len(frame)
        if not moment.begun:
            self._moments += len(frame)

    def _admits(self, size: int, moment: _Moment) -> bool:
        """Make room by the heaviest channel, again and again; False when that is the moment's own."""
        while self._moments + size > self.limit:
            weights: Counter[int] = Counter()
            for other in self._droppable():
                if other is not moment:
                    weights[other.part.channel] += other.size
            if not weights:
                return True
            weights[moment.part.channel] += moment.size + size
            heaviest, _ = weights.most_common(1)[0]
            if heaviest == moment.part.channel:
                return False
            self._lapse(heaviest)
        return True

    def _droppable(self) -> list[_Moment]:
        return [entry for entry in self._entries if isinstance(entry, _Moment) and not entry.begun]

    def lapse(self, channel: int, after: int) -> None:
        """Drop what waits of a channel, which was told up to `after`; it goes on when the rest has been pulled."""
        self._lapse(channel, after)
        self._lapsed[channel] = after

    def withholds(self, channel: int) -> bool:
        """Whether the channel has lapsed, and nothing of it is taken for now."""
        return channel in self._lapsed

    def forget(self, channel: int) -> int | None:
        """Drop what waits of a channel for good: nobody of this connection is to hear any more of it.

        Returns the cluster time up to which it was told, where it was not told everything.
        """
        told = self._lapsed.pop(channel, None)
        withdrawn = self._withdraw(channel)
        dropped = self._drop(channel)
        for one in withdrawn:
            one.again()
        return dropped[0].part.after if dropped else told

    def _lapse(self, channel: int, after: int = 0) -> None:
        withdrawn = self._withdraw(channel)
        dropped = self._drop(channel)
        self._lapsed[channel] = dropped[0].part.after if dropped else after
        self._on_lapse(channel)
        for claim in withdrawn:
            claim.again()

    def _withdraw(self, channel: int) -> list[Claim]:
        """What says more than is true without the moments of a channel that have not begun; it is no longer here."""
        dropped = {id(moment) for moment in self._droppable() if moment.part.channel == channel}
        kept: deque[bytes | _Claimed | Iterator[bytes] | _Moment] = deque()
        withdrawn: list[Claim] = []
        behind = False
        for entry in self._entries:
            behind = behind or id(entry) in dropped
            if behind and isinstance(entry, _Claimed):
                withdrawn.append(entry.claim)
                self._answered(-len(entry.frame))
            else:
                kept.append(entry)
        self._entries = kept
        return withdrawn

    def _drop(self, channel: int) -> list[_Moment]:
        """The moments of a channel that have not begun, which are no longer here."""
        dropped = [moment for moment in self._droppable() if moment.part.channel == channel]
        size = sum(moment.size for moment in dropped)
        self.size -= size
        self._moments -= size
        gone = {id(moment) for moment in dropped}
        self._entries = deque(entry for entry in self._entries if id(entry) not in gone)
        return dropped

    # ------------------------------------------------------------------------------------------------------------ out

    def pull(self) -> bytes | None:
        """The next frame, or None when there is none."""
        while self._entries:
            entry = self._entries[0]
            if isinstance(entry, bytes | _Claimed):
                self._entries.popleft()
                frame = entry if isinstance(entry, bytes) else entry.frame
                self._answered(-len(frame))
                return frame
            if isinstance(entry, _Moment):
                return self._pull_part(entry)
            made = next(entry, None)
            if made is not None:
                return made
            if self._entries and self._entries[0] is entry:  # making a frame may have cleared everything
                self._entries.popleft()
        return None

    def _pull_part(self, moment: _Moment) -> bytes:
        frame = moment.frames.popleft()
        if not moment.begun:
            # From here on it has to be finished, so that it stands in nobody's way.
            moment.begun = True
            self._moments -= moment.size
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
        self.size = self._answers = self._moments = 0
        self._weigh()
