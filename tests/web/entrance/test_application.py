"""The embedding application is asked in bounded time, about few at once, and says nothing new of when one came."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.errors import ServiceError, UnauthenticatedError, UnavailableError
from realtime.web.entrance.application import Application, Stay

PATIENCE = 10.0
ANN = Principal("ann", issued=1000.0)


class Own:
    """An application that answers when it is let, and notes how many questions it has at once."""

    def __init__(self) -> None:
        self.answer: Principal | Exception = Principal("ann", issued=2000.0)
        self.let = asyncio.Event()
        self.asked = self.now = self.most = 0

    async def __call__(self, connection: Any) -> Principal:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.let.wait()
        finally:
            self.now -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_who_is_not_known_in_time_is_unavailable_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = Own()
    application = Application(own, seconds=0.05)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(UnavailableError, match="in time"):
                    await application.who(None)
        own.let.set()
        assert await application.who(None) == Principal("ann", issued=2000.0)
    assert (own.asked, own.now) == (3, 0)
    assert caplog.text.count("did not say within") == 1


async def test_what_the_application_raises_by_itself_is_a_bug_of_its_own_and_no_wait_of_ours() -> None:
    own = Own()
    own.let.set()
    for error in (TimeoutError("its own"), ZeroDivisionError()):
        own.answer = error
        with pytest.raises(ServiceError, match="a bug; it is logged under"):
            await Application(own).who(None)


async def test_who_is_asked_about_again_stays_issued_when_they_were() -> None:
    """A recheck made them new, and a revocation of the user in between was not theirs."""
    own = Own()
    own.let.set()
    application = Application(own)
    assert (await application.still(None, ANN)).issued == 1000.0
    assert (await application.again(None, ANN)).issued == 1000.0
    with pytest.raises(UnauthenticatedError) as refused:
        await application.again(None, Principal("bob"))
    assert refused.value.reason == "somebody_else"


async def test_few_questions_are_under_way_at_once_and_all_have_their_turn() -> None:
    own = Own()
    application = Application(own, at_once=3)
    questions = [asyncio.ensure_future(application.again(None, ANN)) for _ in range(20)]
    await asyncio.sleep(0)
    given_up = questions.pop()
    given_up.cancel()
    async with asyncio.timeout(PATIENCE):
        while own.asked < 3:
            await asyncio.sleep(0.01)
        own.let.set()
        answers = await asyncio.gather(*questions)
    assert [one.sub for one in answers] == ["ann"] * 19
    assert (own.asked, own.most) == (19, 3)


async def test_after_the_end_nothing_is_asked() -> None:
    own = Own()
    application = Application(own, at_once=1)

    async def question() -> None:
        await application.still(None, ANN)

    for _ in range(3):
        application.later(question)
    async with asyncio.timeout(PATIENCE):
        while not own.now:
            await asyncio.sleep(0.01)
        application.close()
        while own.now:
            await asyncio.sleep(0.01)
    assert own.asked == 1


async def test_one_answer_goes_on_until_its_step_finds_somebody_signed_out() -> None:
    own, at, checked = Own(), [0.0], []
    own.let.set()

    def check(principal: Principal) -> None:
        checked.append(principal)

    stay = Stay(check, ANN, None, Application(own), 60.0, lambda: at[0])
    await stay.check()
    assert own.asked == 0
    at[0] = 60.0
    await stay.check()
    await stay.check()
    assert own.asked == 1
    own.answer, at[0] = UnavailableError("the store is away"), 120.0
    await stay.check()
    own.answer, at[0] = UnauthenticatedError("signed out"), 179.0
    await stay.check()
    at[0] = 180.0
    with pytest.raises(UnauthenticatedError, match="signed out"):
        await stay.check()
    assert own.asked == 3
    assert [one.issued for one in checked] == [1000.0] * 5


async def test_where_the_application_did_not_say_who_asks_it_is_not_asked() -> None:
    checked: list[Principal] = []
    await Stay(checked.append, ANN, None, None, 0.0, lambda: 0.0).check()
    assert checked == [ANN]
