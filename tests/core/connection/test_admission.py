"""Who a connection is of: nobody, somebody, or being decided while frames wait."""

from __future__ import annotations

import pytest

from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.connection.admission import NOBODY_BYTES, WAITING_BYTES, WAITING_FRAMES, Admission, Ending, ending
from realtime.errors import (
    ForbiddenError,
    InvalidRequestError,
    RateLimitedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)

ANN, BOB = Principal("ann", expires=100), Principal("bob")


def nobody() -> Admission:
    return Admission(None, asked=True)


def test_nobody_may_ask_for_nothing_until_admitted() -> None:
    one = nobody()
    with pytest.raises(UnauthenticatedError):
        one.check()
    one.ask()
    one.admit(ANN, 50)
    one.check()
    assert one.principal == ANN


def test_where_nobody_is_asked_a_token_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="REALTIME_AUTH"):
        Admission(ANONYMOUS, asked=False).ask()


def test_of_nobody_little_is_taken_until_a_token_came_for_what_follows_may_be_somebodys() -> None:
    one = nobody()
    assert [one.largest(1 << 20), one.largest(5000)] == [NOBODY_BYTES, 5000]
    one.ask()
    assert one.largest(1 << 20) == 1 << 20
    one.admit(ANN, 50)
    assert one.largest(1 << 20) == 1 << 20
    assert Admission(ANONYMOUS, asked=False).largest(1 << 20) == 1 << 20


def test_frames_wait_in_order_while_a_token_is_decided_and_come_out_until_the_next_one() -> None:
    one = nobody()
    assert one.release() is None
    one.ask()
    for frame in ("a", "b", b"c"):
        one.hold(frame)
    assert one.release() is None
    one.admit(ANN, 50)
    assert one.release() == "a"
    one.ask()
    assert one.release() is None
    one.admit(ANN, 50)
    assert [one.release(), one.release(), one.release()] == ["b", b"c", None]


@pytest.mark.parametrize(("frames", "size"), [(WAITING_FRAMES, 1), (2, WAITING_BYTES // 2)])
def test_over_frames_or_bytes_nothing_more_is_to_be_read_until_it_is_decided(frames: int, size: int) -> None:
    one = nobody()
    one.ask()
    for _ in range(frames - 1):
        one.hold("x" * size)
    assert not one.crowded
    one.hold("x" * size)
    assert one.crowded
    one.admit(ANN, 50)
    one.release()
    assert not one.crowded
    one.clear()
    assert one.release() is None


def test_a_token_of_the_same_principal_renews_and_one_of_another_does_not() -> None:
    one = nobody()
    one.admit(ANN, 50)
    later = Principal("ann", expires=200)
    one.ask()
    one.admit(later, 50)
    assert one.principal is later
    one.ask()
    with pytest.raises(ForbiddenError, match="another"):
        one.admit(BOB, 50)
    assert one.principal is later
    assert one.refuse(ForbiddenError("")) is None
    assert not one.deciding


@pytest.mark.parametrize(("now", "over"), [(99.9, False), (100, True), (101, True)])
def test_a_token_whose_time_is_over_admits_nobody(now: float, over: bool) -> None:
    one = nobody()
    if not over:
        one.admit(ANN, now)
        return
    with pytest.raises(UnauthenticatedError) as refused:
        one.admit(ANN, now)
    assert (refused.value.reason, one.principal) == ("expired", None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnauthenticatedError("bad"), Ending(4501, "unauthenticated")),
        (UnavailableError("away"), Ending(4003, "unavailable")),
        (RateLimitedError("too many"), Ending(4003, "unavailable")),
    ],
)
def test_who_is_refused_as_nobody_is_closed_by_whether_it_is_worth_another_try(
    error: ServiceError, expected: Ending
) -> None:
    one = nobody()
    one.ask()
    assert one.refuse(error) == expected == ending(error)
    assert not one.deciding
