"""What somebody sees of several collections."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import EVERYTHING, NOTHING, Cut, Share, Vision
from realtime.errors import ForbiddenError

MINE = Vision.of([Share(compile_filter({"owner": "ann"}))])
CUT = Vision.of([Share(compile_filter({}), Cut(hide=["margin"]))])


def sight(named: dict[str, Vision], others: Vision = NOTHING, readable: dict[str, bool] | None = None) -> Sight:
    told = {name: vision.granted for name, vision in named.items()} if readable is None else readable
    return Sight(named, others, told, others_readable=others.granted)


def test_a_collection_that_nobody_names_is_seen_as_the_others_are() -> None:
    made = sight({"orders": MINE}, CUT)
    assert made.of("orders") is MINE
    assert made.of("made later") is CUT


def test_names_are_told_by_themselves_and_others_as_the_others_are() -> None:
    made = sight({"orders": MINE}, NOTHING, {"orders": True, "audit": False})
    assert [made.tells(name) for name in ("orders", "audit", "made later")] == [True, False, False]
    assert sight({}, MINE, {"audit": False}).tells("made later")


def test_every_row_is_seen_where_no_collection_that_may_be_asked_for_hides_one() -> None:
    assert sight({"orders": CUT, "audit": NOTHING}).every_row
    assert not sight({"orders": CUT}, MINE).every_row


def test_everything_is_seen_where_nothing_is_hidden_and_no_name_is() -> None:
    assert sight({"orders": EVERYTHING}, EVERYTHING).everything
    assert not sight({"orders": EVERYTHING}).everything  # other names are hidden
    assert not sight({"orders": EVERYTHING}, EVERYTHING, {"audit": False}).everything
    assert not sight({"orders": CUT}, EVERYTHING).everything


def test_sights_are_named_alike_where_they_see_the_same() -> None:
    mine = Vision.of([Share(compile_filter({"$and": [{"owner": "ann"}]}))])
    assert sight({"orders": MINE}).canonical == sight({"orders": mine}).canonical
    # What is seen as the others are need not be named.
    assert sight({"orders": MINE, "b": CUT}, CUT).canonical == sight({"orders": MINE}, CUT, {"orders": True}).canonical
    different = [
        sight({"orders": MINE}),
        sight({"orders": CUT}),
        sight({"other": MINE}),
        sight({}, MINE),
        sight({"orders": MINE}, NOTHING, {"orders": True, "audit": True}),
        sight({"orders": Vision.of([Share(compile_filter({"owner": "ann"}), key=b"rule 1, ann")])}),
    ]
    assert len({one.canonical for one in different}) == len(different)


def test_a_rule_that_another_server_means_otherwise_is_said_anew_and_its_zones_are_known() -> None:
    asks: dict[str, Any] = {"a": {"$bitsAllSet": 1}}
    older = Dialect(any_decimal_has_bits=not NEWEST.any_decimal_has_bits)
    made = sight({"orders": Vision.of([Share(compile_filter(asks))])}, MINE)
    assert made.asks == {"any_decimal_has_bits"}
    assert made.changed(lambda rule: rule) is made
    spoken = made.changed(lambda rule: rule.spoken(older))
    assert spoken.of("orders").shares[0].filter.dialect == older
    assert spoken.tells("orders")
    zoned = {"$expr": {"$eq": [{"$hour": {"date": "$at", "timezone": "Europe/Paris"}}, 1]}}
    assert set(sight({}, Vision.of([Share(compile_filter(zoned))])).zones) == {"Europe/Paris"}


def test_whoever_asks_for_what_is_not_theirs_or_by_what_is_hidden_is_refused() -> None:
    nothing, all_fields = compile_filter({}), compile_projection(None)
    made = sight({"orders": CUT, "audit": NOTHING})
    made.check(["orders"], nothing, all_fields)
    made.check(None, compile_filter({"n": 1}), all_fields)
    for asked in (["orders", "audit"], ["made later"]):
        with pytest.raises(ForbiddenError):
            made.check(asked, nothing, all_fields)
    with pytest.raises(ForbiddenError):
        sight({"audit": NOTHING}).check(None, nothing, all_fields)
    with pytest.raises(ForbiddenError, match="margin"):
        made.check(["orders"], compile_filter({"margin": 1}), all_fields)
