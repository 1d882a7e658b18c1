"""Membership in the database costs an event what the same list in a token does, and a change of it what it concerns."""

from __future__ import annotations

import pytest

from tests.bench.memberships import cost

pytestmark = pytest.mark.alone("measures processor time")

FEW, MANY = 100, 1000
TRIES = 3


@pytest.mark.long("a thousand sets of a hundred are made and held")
async def test_an_event_costs_no_more_than_by_a_token_and_however_many_users_there_are() -> None:
    by_token, by_number = [], []
    for _ in range(TRIES):
        few, many, token = await cost("member", FEW), await cost("member", MANY), await cost("token", MANY)
        assert few.told == many.told == token.told == 1
        assert many.change < many.event * 100
        by_token.append(many.event / token.event)
        by_number.append(many.event / few.event)
    assert min(by_token) <= 1.5, by_token
    assert min(by_number) <= 2, by_number
