"""Who has ended before their time, and who has not."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from realtime.core.access.principal import Principal
from realtime.core.access.revoked import Revocation, Revoked, read, revocation_of


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


EARLY, LATE, UNDATED = Principal("ann", issued=99.0), Principal("ann", issued=101.0), Principal("ann")
TOKEN, KEY = Principal("bob", issued=1.0, jti="t1"), Principal("job", issued=1.0, key="k1")


@pytest.mark.parametrize(
    ("revocation", "ended"),
    [
        (Revocation("sub", "ann", 100.0), {EARLY, UNDATED}),
        (Revocation("sub", "ann", 101.0), {EARLY, LATE, UNDATED}),
        (Revocation("sub", "ann"), {EARLY, LATE, UNDATED}),
        (Revocation("sub", "t1", 100.0), set()),
        (Revocation("jti", "t1", 0.0), {TOKEN}),
        (Revocation("key", "k1", 0.0), {KEY}),
        (Revocation("key", "t1"), set()),
    ],
)
def test_a_revocation_ends_whom_it_names_and_nobody_else(revocation: Revocation, ended: set[Principal]) -> None:
    everybody = {EARLY, LATE, UNDATED, TOKEN, KEY}
    assert {one for one in everybody if revocation.ends(one)} == ended
    revoked = Revoked()
    field = {} if math.isinf(revocation.at) else {"at": at(revocation.at)}
    revoked.put("x", {revocation.kind: revocation.value, **field})
    assert {one for one in everybody if revoked.reason(one) == "revoked"} == ended


def test_one_is_named_and_neither_none_nor_two() -> None:
    assert revocation_of(5.0, sub="ann", jti=None, key=None) == Revocation("sub", "ann", 5.0)
    assert revocation_of(5.0, sub=None, jti="t1", key="") == Revocation("jti", "t1", 5.0)
    assert revocation_of(5.0, sub=None, jti=None, key="k1") == Revocation("key", "k1", 5.0)
    assert revocation_of(5.0, sub=None, jti=None, key=None) is None
    assert revocation_of(5.0, sub="ann", jti="t1", key=None) is None


def test_a_document_may_name_several_and_one_that_names_nobody_revokes_nothing() -> None:
    assert read({"_id": 1, "sub": "ann", "jti": "t1", "at": at(5)}) == (
        Revocation("sub", "ann", 5.0),
        Revocation("jti", "t1", 5.0),
    )
    odd: list[dict[str, Any]] = [{}, {"sub": 7}, {"sub": ["ann"]}, {"name": "ann"}]
    assert [read(one) for one in odd] == [()] * 4
    assert read({"sub": "ann", "at": "yesterday"}) == (Revocation("sub", "ann", math.inf),)


def test_the_newest_of_several_counts_and_what_is_removed_counts_no_longer() -> None:
    revoked = Revoked()
    assert revoked.put("a", {"sub": "ann", "at": at(98)}) == (Revocation("sub", "ann", 98.0),)
    assert revoked.reason(EARLY) is None
    revoked.put("b", {"sub": "ann", "at": at(100)})
    assert revoked.reason(EARLY) == "revoked"
    assert len(revoked) == 2
    revoked.put("b", {"sub": "ann", "at": at(50)})
    assert revoked.reason(EARLY) is None
    assert revoked.reason(Principal("ann", issued=98.0)) == "revoked"
    revoked.remove("a")
    revoked.remove("b")
    revoked.remove("never there")
    assert len(revoked) == 0
    assert revoked.reason(UNDATED) is None
