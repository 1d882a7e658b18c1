"""Tokens of a client: asked for once at a time, checked, and refused ones known again."""

from __future__ import annotations

import asyncio

import pytest

from realtime.client.bearer import Bearer, checked, due
from realtime.errors import InvalidRequestError, TimedOutError, UnauthenticatedError

NO = UnauthenticatedError("no")


def test_a_newer_token_is_due_after_most_of_its_time_and_then_after_half_of_what_is_left() -> None:
    assert [due(100.0, chance, failed=False) for chance in (0.0, 1.0)] == [pytest.approx(70), pytest.approx(85)]
    assert due(100.0, 1.0, failed=True) == pytest.approx(50)
    assert due(0.01, 0.5, failed=True) == 0.25
    assert due(0.0, 0.5, failed=False) is None
    assert due(-3600.0, 0.5, failed=True) is None


async def test_whoever_asks_while_a_token_is_on_its_way_gets_that_one() -> None:
    asked = 0
    go = asyncio.Event()

    async def source() -> str:
        nonlocal asked
        asked += 1
        await go.wait()
        return f"t{asked}"

    bearer = Bearer(source)
    both = asyncio.gather(bearer.ask(), bearer.ask())
    await asyncio.sleep(0)
    leaves = asyncio.create_task(bearer.ask())
    await asyncio.sleep(0)
    leaves.cancel()
    go.set()
    assert list(await both) == ["t1", "t1"]
    assert await bearer.ask() == "t2"


@pytest.mark.parametrize("given", ["plain", lambda: "plain", lambda: asyncio.sleep(0, "plain")])
async def test_a_token_comes_as_text_or_from_a_function_async_or_not(given: object) -> None:
    assert await Bearer(given).ask() == "plain"  # type: ignore[arg-type]  # reason: one of the three


async def test_a_function_that_never_answers_is_given_up_and_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.client.bearer.TOKEN_SECONDS", 0.01)
    bearer = Bearer(lambda: asyncio.sleep(3600, "late"))
    for _ in range(2):
        with pytest.raises(TimedOutError, match="no token"):
            await bearer.ask()


@pytest.mark.parametrize("bad", ["", " ", "a b", "a\r\nX-Other: 1", "ä", "x" * 8193, 7])
def test_what_cannot_stand_in_a_header_is_refused_without_being_shown(bad: object) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        checked(bad)
    assert "X-Other" not in str(raised.value)
    assert checked(" as-read-from-a-file\n") == "as-read-from-a-file"
    assert checked(None) is None


def test_a_refused_token_is_known_again_another_is_tried_and_two_in_a_row_are_the_end() -> None:
    bearer = Bearer(lambda: "never called")
    assert bearer.use("old") is None
    assert bearer.refuse(NO) is None
    assert bearer.use("old") is NO
    assert bearer.use("new") is None
    assert bearer.refuse(NO) is NO
    bearer.taken()
    assert bearer.refuse(NO) is None


def test_a_token_that_is_always_the_same_is_refused_once() -> None:
    assert Bearer("text").refuse(NO) is NO
    assert Bearer(None).refuse(NO) is NO
