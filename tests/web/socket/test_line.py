"""A connection after its handshake, without a socket: how much it takes in a turn of the loop, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from realtime.core.access.limits import Rate
from realtime.web.socket import line as lines
from realtime.web.socket import turns
from realtime.web.socket.line import Line, Lines
from tests.core.connection.test_frames import masked

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Wires(asyncio.Transport):
    """What is written, and whether anything is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.reads = True
        self.ends: list[str] = []

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & set(self.ends))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ends.append("eof")

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")

    def get_write_buffer_size(self) -> int:
        return 0


class Owner:
    """What it was told."""

    def __init__(self, works: Callable[[], None] = lambda: None) -> None:
        self.told: list[str | None] = []
        self.ends = 0
        self._works = works

    def receive(self, text: str) -> None:
        self.told.append(text)
        self._works()

    def receive_binary(self) -> None:
        self.told.append(None)

    def ended(self) -> None:
        self.ends += 1


def shared() -> Lines:
    return Lines(asyncio.get_running_loop(), limit=10_000, connections=set(), tasks=set(), interval=None, timeout=None)


async def test_what_is_said_to_many_frames_is_one_write_and_a_snapshot_is_written_as_it_is_made() -> None:
    line, wires = begun(Owner())
    line.data_received(masked(PING, b"x") * 30)
    assert wires.written == b"\x8a\x01x" * 30
    assert wires.writes == 1
    line.hold()
    for part in (b"a" * 16_000, b"b" * 300, b"c" * 200, b"d" * 20_000):
        line.write(part)
    assert wires.writes == 4
    line.flush()
    assert wires.writes == 4
    assert wires.written.endswith(b"a" + b"b" * 300 + b"c" * 200 + b"d" * 20_000)


def begun(owner: Owner, together: Lines | None = None, rate: Rate | None = None) -> tuple[Line, Wires]:
    wires = Wires()
    line = Line(together or shared(), wires)
    line.start(owner, rate=rate)
    return line, wires


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


def pongs(wires: Wires) -> int:
    return wires.written.count(b"\x8a\x00")


async def test_a_flood_of_pings_is_answered_32_in_a_turn_and_nothing_is_read_meanwhile() -> None:
    """200,000 of them were answered at full speed, and everybody else waited."""
    line, wires = begun(Owner())
    line.data_received(masked(PING) * 100)
    answered = [pongs(wires)]
    while not wires.reads:
        await turn()
        answered.append(pongs(wires))
    assert answered == [32, 64, 96, 100]
    line.data_received(masked(PING))
    assert pongs(wires) == 101


async def test_messages_and_their_fragments_count_alike_and_keep_their_order() -> None:
    owner = Owner()
    line, wires = begun(owner)
    whole = [masked(TEXT, b"%d" % n) for n in range(40)]
    cut = masked(TEXT, b"c", final=False) + masked(0, b"t", final=True)
    line.data_received(b"".join(whole) + cut * 20)
    assert len(owner.told) == 32
    while not wires.reads:
        await turn()
    assert owner.told == [*(str(n) for n in range(40)), *["ct"] * 20]


FRAGMENT = masked(TEXT, b"a", final=False)


@pytest.mark.parametrize(
    ("begin", "frame"), [(b"", masked(PING)), (b"", masked(PONG)), (FRAGMENT, masked(0, final=False))]
)
async def test_what_nobody_can_refuse_has_a_rate_too_and_over_it_nothing_more_is_read(
    begin: bytes, frame: bytes
) -> None:
    """A million pings on one socket took the time of everybody else."""
    line, wires = begun(Owner(), rate=Rate(1))
    line.data_received(begin + frame * 1000)
    left = []
    for _ in range(10):
        await turn()
        left.append((len(line._reader._buffer) - line._reader._at) // len(frame))
    # A turn takes 32 frames, or what it can in 2 ms; the ones after it take nothing.
    assert left == left[:1] * 10
    assert 1000 - 32 <= left[0] - bool(begin) < 1000
    assert not wires.reads
    # It is slow, and nothing worse.
    assert wires.ends == []


async def test_a_connection_that_has_rested_goes_on_as_fast_as_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [asyncio.get_running_loop().time()]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    owner = Owner()
    line, wires = begun(owner, rate=Rate(100))
    line.data_received(masked(PING) * 1200 + masked(TEXT, b"after"))
    said = []
    for _ in range(10):
        for _ in range(50):
            await turn()
        said.append(pongs(wires))
        now[0] += 0.5
    # A burst of ten seconds' worth, and what the turn took before it was looked at; then what half a second brings.
    assert [1000 + 50 * halves <= count < 1032 + 50 * halves for halves, count in enumerate(said[:4])] == [True] * 4
    assert said[-1] == 1200
    assert (owner.told, wires.reads, wires.ends) == (["after"], True, [])


class Clock:
    """Stands still but for what is worked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(lines, "clock", lambda: self.now)

    def works(self, seconds: float) -> Owner:
        """An owner whom every message takes so long."""

        def work() -> None:
            self.now += seconds

        return Owner(work)


async def test_a_connection_that_takes_long_has_two_milliseconds_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Clock(monkeypatch).works(0.0015)
    line, wires = begun(owner)
    line.data_received(masked(TEXT, b"x") * 6)
    assert len(owner.told) == 2
    assert not wires.reads
    while not wires.reads:
        await turn()
    assert len(owner.told) == 6


async def test_all_together_have_ten_milliseconds_of_a_turn_and_everybody_gets_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    together, owners = shared(), [clock.works(0.003) for _ in range(20)]
    for owner in owners:
        line, _ = begun(owner, together)
        line.data_received(masked(TEXT, b"x") * 2)
    # Who comes to find somebody waiting waits as well.
    assert sum(len(owner.told) for owner in owners) == 1
    for _ in range(50):
        before = sum(len(owner.told) for owner in owners)
        await turn()
        counts = [len(owner.told) for owner in owners]
        assert sum(counts) - before <= 4
        # The first had theirs while nobody waited; of the rest nobody comes twice before everybody came once.
        assert max(counts[1:]) - min(counts[1:]) <= 1
        if sum(counts) == 40:
            break
    assert [len(owner.told) for owner in owners] == [2] * 20


async def test_work_that_waits_is_done_in_the_order_in_which_it_came() -> None:
    queue, done = turns.Turns(asyncio.get_running_loop()), []
    queue.spend(turns.ALL_SECONDS)
    assert not queue.left
    for n in range(5):
        queue.later(lambda n=n: done.append(n))  # type: ignore[misc]  # reason: its default binds it now
    await turn()
    assert done == [0, 1, 2, 3, 4]
    assert queue.left


# ----------------------------------------------------------------------------------------------------------- the end


async def test_a_close_frame_is_answered_with_its_own_payload_and_the_transport_ends() -> None:
    owner = Owner()
    line, wires = begun(owner)
    line.data_received(masked(CLOSE, b"\x03\xe8bye") + masked(TEXT, b"after"))
    assert wires.written == b"\x88\x05\x03\xe8bye"
    assert wires.ends == ["close"]
    await turn()
    assert (owner.told, owner.ends) == ([], 1)
    line.connection_lost(None)
    assert owner.ends == 1


async def test_what_breaks_a_rule_is_told_so_and_what_still_comes_is_forgotten() -> None:
    owner = Owner()
    line, wires = begun(owner)
    line.data_received(masked(TEXT, b"a") + masked(3))
    assert wires.written == b"\x88\x10\x03\xeaprotocol_error"
    # Half an end: with bytes of the peer unread a whole one would be a reset, and the close frame lost.
    assert wires.ends == ["eof"]
    assert wires.reads
    line.data_received(masked(TEXT, b"b") * 1000)
    await turn()
    assert (owner.told, owner.ends) == (["a"], 1)


async def test_a_transport_that_has_no_half_end_is_ended_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of TLS has none."""
    monkeypatch.setattr(Wires, "can_write_eof", lambda _: False)
    line, wires = begun(Owner())
    line.data_received(masked(3))
    assert wires.ends == ["close"]


async def test_a_late_pong_does_not_come_after_the_close() -> None:
    line, wires = begun(Owner())
    line.pause_writing()
    line.data_received(masked(PING, b"late"))
    line.finish(4000, "draining")
    said = wires.written
    line.resume_writing()
    assert wires.written == said == b"\x88\x0a\x0f\xa0draining"


async def test_our_own_close_waits_for_the_peers_and_then_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CLOSE_SECONDS", 0.05)
    owner = Owner()
    line, wires = begun(owner)
    line.finish(4000, "draining")
    line.finish(4000, "draining")
    assert wires.written == b"\x88\x0a\x0f\xa0draining"
    line.data_received(masked(TEXT, b"late") + masked(PING) + masked(CLOSE))
    assert (owner.told, wires.ends) == ([], ["close"])
    _, deaf = begun(Owner())
    _.finish(4000, "draining")
    async with asyncio.timeout(10):
        while not deaf.ends:
            await asyncio.sleep(0.01)
    assert deaf.ends == ["abort"]


async def test_a_peer_that_is_not_there_is_ended_and_one_that_is_goes_on() -> None:
    owner, taken = Owner(), [0]
    line, wires = begun(owner)
    line.__class__.taken, original = lambda _: taken[0], Line.taken  # type: ignore[method-assign,assignment]  # reason: no kernel here
    try:
        line.ping()
        assert wires.written[:2] == b"\x89\x04"
        taken[0] = lines.LEAST_BYTES
        assert line.unanswered()
        line.ping()
        assert not line.unanswered()
    finally:
        Line.taken = original  # type: ignore[method-assign]  # reason: put back
    assert wires.written.endswith(b"\x03\xf3no_pong")
    await turn()
    assert owner.ends == 1


async def test_nothing_holds_a_connection_that_was_lost() -> None:
    gc.collect()
    gc.disable()
    try:
        owner = Owner()
        together = shared()
        line, _ = begun(owner, together)
        line.data_received(masked(PING) * 100)
        await turn()
        line.connection_lost(None)
        while together.turns._waiting:
            await turn()
        resting, _ = begun(owner, together, Rate(1))
        resting.data_received(masked(PING) * 100)
        assert resting._rest is not None
        resting.connection_lost(None)
        seen, rests = weakref.ref(line), weakref.ref(resting)
        del line, resting
        assert (seen(), rests()) == (None, None)
        assert not together.connections
    finally:
        gc.enable()
