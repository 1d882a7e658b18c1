"""Who asks: until when, and equal to themselves."""

from __future__ import annotations

import dataclasses

import pytest

from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.wire.closing import (
    CLOSE_EXPIRED,
    CLOSE_FORBIDDEN,
    CLOSE_REVOKED,
    CLOSE_UNAUTHENTICATED,
    CLOSINGS,
)


def test_a_principal_ends_at_its_second_and_one_without_never_does() -> None:
    one = Principal("ann", expires=100.0)
    assert (one.expired(99.9), one.expired(100.0), one.expired(101)) == (False, True, True)
    assert not ANONYMOUS.expired(1e12)


def test_a_principal_cannot_be_changed_and_can_be_a_key() -> None:
    one = Principal("ann", frozenset({"staff"}), {"team": ["a"]}, jti="t1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.sub = "bob"  # type: ignore[misc]  # reason: it must not be possible
    assert {one: 1}[Principal("ann", frozenset({"staff"}), {"team": ["a"]}, jti="t1")] == 1
    assert one != Principal("ann", frozenset({"staff"}), {"team": ["b"]}, jti="t1")
    assert dict(ANONYMOUS.claims) == {}


def test_whose_time_is_over_comes_again_and_who_was_refused_or_revoked_does_not() -> None:
    assert CLOSINGS[CLOSE_EXPIRED][1]
    assert [CLOSINGS[code][1] for code in (CLOSE_UNAUTHENTICATED, CLOSE_FORBIDDEN, CLOSE_REVOKED)] == [False] * 3


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Principal("ann", frozenset({"a"}), {"vip": True}, expires=5.0), True),
        (Principal("ann", frozenset({"a", "b"}), {"vip": True}), False),
        (Principal("ann", frozenset({"a"}), {"vip": 1}), False),
        (Principal("ann", frozenset({"a"})), False),
    ],
)
def test_who_may_the_same_has_the_same_roles_and_claims(other: Principal, *, same: bool) -> None:
    assert Principal("ann", frozenset({"a"}), {"vip": True}).may_as(other) is same
