"""Tickets: signed, bound to one address, and silent about who asks."""

from __future__ import annotations

import datetime as dt
import random
import uuid

import pytest
from bson import ObjectId

from realtime.core.access.principal import Principal
from realtime.core.access.tickets import (
    LONGEST_SECONDS,
    identifier_of,
    last_second,
    principal_of,
    signed,
    stream_of,
    told_of,
)
from realtime.errors import ForbiddenError, UnauthenticatedError

KEY, OTHER = b"k" * 32, b"o" * 32
NAME = b"0123456789abcdef"


def test_a_ticket_gives_its_identifier_back_under_its_own_key_alone() -> None:
    text = signed(NAME, KEY)
    assert identifier_of(text, KEY) == NAME
    assert len(text) == 43
    with pytest.raises(UnauthenticatedError):
        identifier_of(text, OTHER)


def test_no_text_with_one_character_changed_is_a_ticket() -> None:
    text, chance = signed(NAME, KEY), random.Random(3)
    tried = 0
    for place in range(len(text) - 1):  # the last one carries two bits that mean nothing
        other = chance.choice([one for one in "abcXYZ019-_" if one != text[place]])
        with pytest.raises(UnauthenticatedError):
            identifier_of(text[:place] + other + text[place + 1 :], KEY)
        tried += 1
    assert tried == 42


@pytest.mark.parametrize("text", ["", "a", "ä" * 43, "x" * 100_000, "+" * 43, "=" * 43, "\0"])
def test_what_is_no_ticket_at_all_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError) as refused:
        identifier_of(text, KEY)
    assert refused.value.reason == "bad_ticket"


def test_the_stream_is_that_of_the_address_whatever_its_position_and_ticket() -> None:
    one = stream_of("/v1/collections/a/events", [("filter", "{}"), ("since", "x")])
    assert one == stream_of(
        "/v1/collections/a/events", [("since", "x"), ("ticket", "t"), ("filter", "{}"), ("position", "p")]
    )
    others = [
        stream_of("/v1/collections/b/events", [("filter", "{}"), ("since", "x")]),
        stream_of("/v1/collections/a/events", [("filter", "{}")]),
        stream_of("/v1/collections/a/events", [("filter", "{}since"), ("x", "")]),
    ]
    assert len({one, *others}) == 4


def test_a_ticket_serves_as_long_as_its_principal_and_a_day_at_most() -> None:
    assert last_second(Principal("a", expires=50.0), 10.0) == 50.0
    assert last_second(Principal("a"), 10.0) == 10.0 + LONGEST_SECONDS
    assert last_second(Principal("a", expires=1e9), 10.0) == 10.0 + LONGEST_SECONDS


def test_a_principal_comes_back_as_it_was() -> None:
    claims = {"$where": 1, "a.b": ["x", {"": None}]}
    one = Principal("ann", frozenset({"b", "a"}), claims, 5.0, 4.0, "j", "k")
    assert principal_of(told_of(one)) == one


def test_claims_that_json_has_no_word_for_come_back_too() -> None:
    """An application's claims are its own, and those of a key may be what MongoDB stores: it was a bug of ours."""
    team, at = uuid.uuid4(), dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
    claims = {"team": team, "at": at, "of": ObjectId("5ff2e7270000000000000001"), "deep": {"$date": [at]}, "big": 2**53}
    assert principal_of(told_of(Principal("ann", claims=claims))).claims == claims
    plain = {"$date": "no date", "$oid": "5ff2e7270000000000000001", "big": 2**80, "odd": "\ud800"}
    assert principal_of(told_of(Principal("ann", claims=plain))).claims == plain
    before = {name: value for name, value in told_of(Principal("ann", claims=plain)).items() if name != "extended"}
    assert principal_of(before).claims == plain


def test_claims_that_cannot_be_kept_are_refused_and_no_bug() -> None:
    circle: dict[str, object] = {}
    circle["circle"] = circle
    deep: object = "x"
    for _ in range(100_000):
        deep = [deep]
    refused = 0
    for claims in ({"roles": {1, 2}}, {"it": object()}, circle, {"deep": deep}, {"long": "x" * 70_000}):
        with pytest.raises(ForbiddenError, match="a ticket cannot carry"):
            told_of(Principal("ann", claims=claims))
        refused += 1
    assert refused == 5
