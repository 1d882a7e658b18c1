"""What a query means beside its text: it follows the dialect and is told its zones, under one key."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from realtime.core.live import meaning
from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import Share, Vision
from tests.core.examples import query

OLD = replace(NEWEST, six_digits=True)


def test_filter_and_projection_follow_the_dialect() -> None:
    text = {"$toString": "$a"}
    by_filter, by_projection = query({"$expr": {"$eq": [text, "0.333333"]}}), query({}, projection={"t": text})
    plain = query({"a": 1})
    assert meaning.asks(by_filter) == meaning.asks(by_projection) == {"six_digits"}
    assert meaning.spoken(plain, OLD) is plain
    assert meaning.spoken(by_filter, NEWEST) is by_filter
    document: dict[str, Any] = {"_id": 1, "a": 1 / 3}
    assert not by_filter.filter.matches(document)
    assert meaning.spoken(by_filter, OLD).filter.matches(document)
    shown = meaning.spoken(by_projection, OLD)
    assert shown.projection.apply(document)["t"] == "0.333333"
    assert shown.key == by_projection.key


def test_filter_and_projection_are_told_their_zones() -> None:
    hour = {"$hour": {"date": "$a", "timezone": "Europe/Berlin"}}
    asked = query({"$expr": {"$eq": [hour, 5]}}, projection={"t": hour})
    assert meaning.zones(asked) == {"Europe/Berlin": "$expr.$eq.0.$hour.timezone"}
    told = meaning.told(asked, {"Europe/Berlin": UTC})
    document = {"_id": 1, "a": dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)}
    assert told.filter.matches(document)
    assert told.projection.apply(document) == {"_id": 1, "t": 5}
    assert told.key == asked.key
    assert meaning.zones(query({"a": 1})) == {}


def test_what_a_rule_of_an_events_query_means_is_as_the_server_has_it() -> None:
    text = compile_filter({"$expr": {"$eq": [{"$toString": "$a"}, "0.333333"]}})
    hour = compile_filter({"$expr": {"$eq": [{"$hour": {"date": "$a", "timezone": "Europe/Berlin"}}, 5]}})
    sight = Sight({"items": Vision.of([Share(text)])}, Vision.of([Share(hour)]), {}, others_readable=True)
    asked = replace(query({}, mode="events", collections=None), sight=sight)
    assert meaning.asks(asked) == {"six_digits"}
    assert meaning.zones(asked) == {"Europe/Berlin": "$expr.$eq.0.$hour.timezone"}
    assert meaning.spoken(asked, NEWEST) is asked
    spoken, told = meaning.spoken(asked, OLD), meaning.told(asked, {"Europe/Berlin": UTC})
    assert spoken.sight is not None
    assert told.sight is not None
    assert spoken.sight.of("items").sees({"_id": 1, "a": 1 / 3})
    assert told.sight.of("others").sees({"_id": 1, "a": dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)})
    assert spoken.key == told.key == asked.key
