"""New rules: all workers take them or none does, whoever dies or starts in between."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from realtime.commands import exchange
from realtime.commands.exchange import Answers, Exchange, Line, Offers, encoded, lines
from realtime.errors import ConfigurationError


@dataclass(eq=False)
class Worker:
    """One in memory. `refuses`: what it says to an offer; `deaf`: to which of the lines it says nothing."""

    number: int
    refuses: str | None = None
    deaf: str | None = None
    offered: str | None = None
    holds: str = "old"
    ended: bool = False
    gone: bool = False
    heard: list[str] = field(default_factory=list)
    on_offer: Callable[[], None] = lambda: None

    async def ask(self, line: Line) -> Line | None:
        await asyncio.sleep(0)
        kind = next(iter(line))
        self.heard.append(kind)
        if self.gone:
            return None
        if self.deaf == kind:
            raise TimeoutError
        if kind == "take":
            assert self.offered is not None
            self.holds = self.offered
            return {"answer": line["take"]}
        self.on_offer()
        self.offered = line["rules"]
        return {"answer": line["offer"], "refused": self.refuses}

    def say(self, line: Line) -> None:
        self.heard.append(next(iter(line)))
        self.offered = None

    def end(self) -> None:
        self.ended = True


async def test_all_take_what_all_would_take() -> None:
    workers = [Worker(1), Worker(2), Worker(3)]
    rules = Exchange("old", lambda: workers)
    assert await rules.offer("new") == 3
    assert rules.text == "new"
    assert [one.holds for one in workers] == ["new"] * 3


async def test_none_takes_what_one_refuses_and_its_reason_is_told() -> None:
    workers = [Worker(1), Worker(2, refuses="line 3: there is no $users"), Worker(3)]
    rules = Exchange("old", lambda: workers)
    with pytest.raises(ConfigurationError, match="line 3"):
        await rules.offer("new")
    assert rules.text == "old"
    assert [one.holds for one in workers] == ["old"] * 3
    assert [one.heard for one in workers] == [["offer", "drop"]] * 3


async def test_none_takes_what_one_says_nothing_to() -> None:
    workers = [Worker(1), Worker(2, deaf="offer")]
    with pytest.raises(ConfigurationError, match="worker 2"):
        await Exchange("old", lambda: workers).offer("new")
    assert [one.holds for one in workers] == ["old"] * 2


async def test_one_that_does_not_say_that_it_took_them_is_ended() -> None:
    workers = [Worker(1), Worker(2, deaf="take")]
    rules = Exchange("old", lambda: workers)
    assert await rules.offer("new") == 1
    assert [one.ended for one in workers] == [False, True]
    assert rules.text == "new", "with which it starts again"


async def test_one_that_starts_meanwhile_is_asked_too_and_one_that_died_is_not_waited_for() -> None:
    workers = [Worker(1), Worker(2, gone=True)]
    late = Worker(3)
    workers[0].on_offer = lambda: workers.append(late) if late not in workers else None
    assert await Exchange("old", lambda: list(workers)).offer("new") == 2
    assert late.holds == "new"


async def test_one_offer_after_the_other() -> None:
    workers = [Worker(1), Worker(2)]
    rules = Exchange("old", lambda: workers)
    await asyncio.gather(rules.offer("one"), rules.offer("two"))
    assert workers[0].heard == ["offer", "take", "offer", "take"]
    assert {one.holds for one in workers} == {"two"}


async def test_an_answer_is_taken_by_who_asked_and_none_comes_of_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = Answers()
    answer = await answers.to(7, lambda: answers.take({"answer": 7, "refused": None}))
    assert answer == {"answer": 7, "refused": None}
    waiting = asyncio.create_task(answers.to(8, lambda: None))
    await asyncio.sleep(0)
    answers.take({"answer": 7})
    answers.end()
    assert await waiting is None
    assert await answers.to(9, lambda: pytest.fail("it is gone")) is None
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        await Answers().to(1, lambda: None)


def test_lines_are_put_together_of_what_comes() -> None:
    parts = [b'{"a":', b'1}\n{"b":2}\n{"c"', b":3}\n", b""]
    assert list(lines(lambda: parts.pop(0), b'{"z":0}\n')) == [{"z": 0}, {"a": 1}, {"b": 2}, {"c": 3}]


# -------------------------------------------------------------------------------------------------------- in a worker


def read(text: str) -> str:
    if "bad" in text:
        raise ConfigurationError(f"line 1: {text}")
    return text.upper()


class Parent:
    """The other end of a worker's pair."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rest: bytes = b"") -> None:
        self.socket, self.theirs = socket.socketpair()
        self.socket.settimeout(10)
        self.ended = threading.Event()
        monkeypatch.setattr(os, "_exit", lambda _: self.ended.set())
        self.offers: Offers[str] = Offers(self.theirs, rest, read)
        self.offers.begin()
        self._lines = iter(lines(lambda: self.socket.recv(1024)))

    async def says(self, line: Line) -> None:
        self.socket.sendall(encoded(line))

    async def hears(self) -> Line:
        return await asyncio.to_thread(lambda: next(self._lines))

    async def end(self) -> None:
        self.socket.close()
        assert await asyncio.to_thread(self.ended.wait, 10), "a worker does not outlive its parent"
        self.theirs.close()


async def test_a_worker_takes_what_it_was_offered_and_says_so_when_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(monkeypatch)
    held: list[str] = []
    parent.offers.serve(held.append)
    await parent.says({"offer": 1, "rules": "one"})
    assert await parent.hears() == {"answer": 1, "refused": None}
    assert held == []
    await parent.says({"take": 1})
    assert await parent.hears() == {"answer": 1}
    assert held == ["ONE"]
    await parent.end()


async def test_a_worker_says_why_it_refuses_and_takes_nothing_that_was_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(monkeypatch)
    held: list[str] = []
    parent.offers.serve(held.append)
    await parent.says({"offer": 1, "rules": "bad"})
    assert await parent.hears() == {"answer": 1, "refused": "line 1: bad"}
    await parent.says({"offer": 2, "rules": "two"})
    assert (await parent.hears())["refused"] is None
    await parent.says({"drop": 2})
    await parent.says({"take": 2})
    await parent.says({"offer": 3, "rules": "three"})
    assert (await parent.hears())["answer"] == 3, "nothing was said to what it had dropped"
    assert held == []
    await parent.end()


async def test_a_worker_that_is_starting_takes_them_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(monkeypatch, encoded({"offer": 1, "rules": "one"}))
    assert (await parent.hears())["refused"] is None
    await parent.says({"take": 1})
    assert await parent.hears() == {"answer": 1}
    held: list[str] = []
    parent.offers.serve(held.append)
    assert held == ["ONE"]
    await parent.end()
