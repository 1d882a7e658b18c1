"""MongoDB's clock as a relay says it: of now or not at all, and never further back than what is known."""

from __future__ import annotations

import pytest

from realtime.core.relay.message import FormatError, peek
from realtime.core.upstream.health import Instant
from realtime.nats import clock as clocks
from realtime.nats.clock import RelayedClock
from tests.nats_server import NatsServer
from tests.relay.following import following, message, relaying


class Asked:
    """MongoDB's own clock, and how often it was asked."""

    def __init__(self, *answers: Instant | None) -> None:
        self.answers = list(answers)
        self.times = 0

    async def __call__(self) -> Instant | None:
        self.times += 1
        return self.answers.pop(0)


async def test_who_was_told_just_now_does_not_ask() -> None:
    clock, ask = RelayedClock(), Asked()
    clock.hear(Instant(7, 3))
    assert [await clock.read(ask) for _ in range(3)] == [Instant(7, 3)] * 3
    assert ask.times == 0


async def test_who_is_told_nothing_asks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ask = RelayedClock(), Asked(Instant(5, None), None, Instant(9, 2))
    assert await clock.read(ask) == Instant(5, None)
    assert await clock.read(ask) is None, "MongoDB does not answer"
    clock.hear(Instant(8, 1))
    monkeypatch.setattr(clocks, "TOLD_SECONDS", 0.0)
    assert await clock.read(ask) == Instant(9, 2), "what was heard is of some time ago"
    assert ask.times == 3


async def test_it_does_not_go_back_and_the_oplogs_beginning_is_the_newest_word() -> None:
    clock, ask = RelayedClock(), Asked(Instant(20, 2))
    assert await clock.read(ask) == Instant(20, 2)
    clock.hear(Instant(10, 4))
    assert await clock.read(ask) == Instant(20, 4)
    clock.hear(Instant(30, None))
    assert await clock.read(ask) == Instant(30, None)
    assert ask.times == 1


async def test_a_node_hears_the_clock_of_the_streams_last_message_alone(nats: NatsServer) -> None:
    """What was said with those before it is the clock of then: by it a node that is behind would not know it."""
    heard: list[Instant] = []
    async with relaying(nats.url) as relay:
        await relay.publish(*(message(moment, moment, clock=Instant(moment, 1)) for moment in range(10, 40)))
        async with following(nats.url, start=10, on_clock=heard.append) as node:
            await node.at(39)
            assert heard == [Instant(39, 1)]
            await relay.publish(message(40, "a"))
            await node.at(40)
            assert heard == [Instant(39, 1)], "nothing was said"
            await relay.publish(message(41, clock=Instant(44, None)))
            await node.at(41)
            # The same position once more, as where nothing is written.
            await relay.publish(message(41, clock=Instant(45, None)), message(42))
            await node.at(42)
    assert heard[:2] == [Instant(39, 1), Instant(44, None)]
    assert len(node.events) == 30


@pytest.mark.parametrize("text", ["7", "0" * 16 + "-", "0" * 16 + "-7", "x" * 16, "0" * 33, "0" * 16 + "-" + "0" * 17])
def test_a_clock_that_is_none_is_refused(text: str) -> None:
    sound = {"Realtime-Format": "1", "Realtime-Epoch": "0A1B2C3D", "Realtime-Time": "0" * 16, "Realtime-Part": "1/1"}
    assert peek(sound).clock is None
    assert peek(sound | {"Realtime-Clock": "0" * 15 + "A-" + "0" * 15 + "B"}).clock == Instant(10, 11)
    with pytest.raises(FormatError, match="Realtime-Clock"):
        peek(sound | {"Realtime-Clock": text})
