"""Documents of the change stream to events: whole where anybody asks, else no more than what names them, or a mark."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from realtime.core.live.decoding import Decoder
from realtime.core.live.events import STEPPED_OVER, UNSENT, to_timestamp, whole
from realtime.core.live.fragments import Whole
from realtime.core.live.stepping import EVERY
from realtime.core.live.undecodable import marks

TIME = 7 << 32 | 1


def document(op: str = "insert", collection: str = "items", **more: Any) -> RawBSONDocument:
    fields = {"operationType": op, "clusterTime": to_timestamp(TIME), "ns": {"db": "shop", "coll": collection}, **more}
    return RawBSONDocument(bson.encode(fields))


def inserted(collection: str = "items", key: Any = 1) -> RawBSONDocument:
    return document(collection=collection, documentKey={"_id": key}, fullDocument={"_id": key, "a": [1, {"b": 2}]})


@pytest.mark.parametrize("asked", [None, {"items"}, {"others", "items"}])
def test_what_somebody_asks_for_is_decoded_whole(asked: Collection[str] | None) -> None:
    decoder = Decoder("shop", lambda: asked)
    decoder.look()
    event = decoder.event(inserted())
    assert event is not None
    assert (event.raw, event.document) == (None, {"_id": 1, "a": [1, {"b": 2}]})


@pytest.mark.parametrize("asked", [frozenset[str](), {"others"}])
def test_of_what_nobody_asks_for_only_what_names_it_is_decoded(asked: Collection[str]) -> None:
    decoder = Decoder("shop", lambda: asked)
    decoder.look()
    decoder.look()
    raw = inserted(key={"a": 1})
    event = decoder.event(raw)
    assert event is not None
    assert (event.raw, event.document, event.key, event.time) == (raw.raw, None, {"a": 1}, TIME)
    assert whole(event).document == {"_id": {"a": 1}, "a": [1, {"b": 2}]}


def test_a_replacement_is_decoded_whoever_asks() -> None:
    """It may give `_id` another type, which only its document says."""
    decoder = Decoder("shop", lambda: ())
    decoder.look()
    event = decoder.event(document("replace", documentKey={"_id": 1}, fullDocument={"_id": 1.0}))
    assert event is not None
    assert (event.raw, event.document) == (None, {"_id": 1.0})


def test_what_came_in_fragments_is_an_event_of_their_size() -> None:
    put_together = {"operationType": "drop", "clusterTime": to_timestamp(TIME), "ns": {"db": "shop", "coll": "items"}}
    event = Decoder("shop").put_together(Whole(put_together, 123))
    assert event is not None
    assert (event.op, event.collection, event.size) == ("drop", "items", 123)


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (document(), ["items"]),
        (document("rename", to={"db": "shop", "coll": "others"}), ["items", "others"]),
        (document("dropDatabase", ns={"db": "shop"}), [EVERY]),
    ],
)
def test_what_cannot_be_decoded_is_marked_by_the_names_that_it_begins_with(
    raw: RawBSONDocument, names: list[str]
) -> None:
    made = marks(raw, TIME + 9, UNSENT)
    assert [(one.collection, one.time, one.op) for one in made] == [(name, TIME, UNSENT) for name in names]


def test_what_does_not_even_say_its_time_may_be_of_any_collection() -> None:
    (one,) = marks(RawBSONDocument(bson.encode({"operationType": "insert"})), TIME)
    assert (one.collection, one.time, one.op) == (EVERY, TIME, STEPPED_OVER)
