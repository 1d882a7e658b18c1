"""Tries that begin one after the other: one that is silent holds up nobody, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from realtime.nats.staggered import first

SOON, NEVER = 0.01, 60.0
Try = Callable[[], Coroutine[Any, Any, str]]


class Tries:
    """Each by name; which have begun, and which were ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    def silent(self, name: str) -> Try:
        async def go() -> str:
            self.begun.append(name)
            never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            try:
                return await never
            except asyncio.CancelledError:
                self.ended.append(name)
                raise

        return go

    def answers(self, name: str) -> Try:
        async def go() -> str:
            self.begun.append(name)
            return name

        return go

    def fails(self, name: str, error: Exception) -> Try:
        async def go() -> str:
            self.begun.append(name)
            raise error

        return go


async def test_while_the_first_is_silent_the_next_begins_and_the_silent_one_is_ended() -> None:
    tries = Tries()
    told = await first([tries.silent("a"), tries.answers("b"), tries.answers("c")], SOON, (OSError,))
    assert told == "b"
    assert (tries.begun, tries.ended) == (["a", "b"], ["a"])


async def test_one_that_fails_is_followed_at_once() -> None:
    tries = Tries()
    async with asyncio.timeout(NEVER / 4):
        assert await first([tries.fails("a", OSError("no")), tries.answers("b")], NEVER, (OSError,)) == "b"
    assert tries.begun == ["a", "b"]


async def test_where_all_fail_each_says_why() -> None:
    tries = Tries()
    with pytest.raises(ExceptionGroup) as told:
        await first([tries.fails(name, OSError(name)) for name in "abc"], NEVER, (OSError,))
    assert [str(error) for error in told.value.exceptions] == ["a", "b", "c"]


async def test_what_is_no_failure_of_a_try_is_raised_and_ends_the_others() -> None:
    tries = Tries()
    with pytest.raises(ValueError, match="refused"):
        await first([tries.silent("a"), tries.fails("b", ValueError("refused")), tries.answers("c")], SOON, (OSError,))
    assert (tries.begun, tries.ended) == (["a", "b"], ["a"])


async def test_what_comes_together_with_the_first_is_dropped() -> None:
    """And nobody else has it: a connection would stay open."""
    gate, dropped = asyncio.Event(), list[str]()

    async def waits(name: str) -> str:
        await gate.wait()
        return name

    asking = asyncio.create_task(first([lambda: waits("a"), lambda: waits("b")], SOON, (OSError,), dropped.append))
    await asyncio.sleep(20 * SOON)
    gate.set()
    told = await asking
    assert {told, *dropped} == {"a", "b"}
    assert len(dropped) == 1


async def test_who_is_told_to_end_ends_all_of_them() -> None:
    tries = Tries()
    asking = asyncio.create_task(first([tries.silent("a"), tries.silent("b")], SOON, (OSError,)))
    while tries.begun != ["a", "b"]:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert sorted(tries.ended) == ["a", "b"]


async def test_what_is_raised_holds_nothing_when_nobody_holds_it() -> None:
    """It would keep all frames above it, and what is open there, until the garbage collector looks."""

    class RefusedError(Exception):
        pass

    async def fails() -> str:
        raise RefusedError

    held: list[weakref.ref[Exception]] = []
    for failures in (OSError, RefusedError):
        try:
            await first([fails, fails], NEVER, (failures,))
        except ExceptionGroup as group:
            held += map(weakref.ref, group.exceptions)
        except RefusedError as error:
            held.append(weakref.ref(error))
    await asyncio.sleep(0)
    assert [one() for one in held] == [None] * 3
