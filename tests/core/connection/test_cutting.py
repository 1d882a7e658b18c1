"""Frames for who says how large a frame they take."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from realtime.core.connection import cutting
from realtime.core.live.events import format_position
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.wire import protocol
from realtime.errors import InvalidRequestError, TooLargeError
from tests.core.examples import EPOCH, query

POSITION = format_position(EPOCH, 1)
TARGET = protocol.channel_target(7)


@pytest.mark.parametrize(("given", "bound"), [([], None), (["4096"], 4096), (["104857600"], 104857600)])
def test_a_bound_is_a_number_of_bytes(given: list[str], bound: int | None) -> None:
    assert cutting.parse_bound(given) == bound


@pytest.mark.parametrize(
    "given",
    [
        ["4095"], ["0"], ["-1"], [""], [" 5000"], ["5e3"], ["5000.0"], ["0x2000"], ["1_000_000"], ["٥٠٠٠"], ["1MiB"],
        ["9" * 19], ["5000", "5000"],
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_bound_is_refused_by_name_and_says_the_least(given: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match="at least 4096") as raised:
        cutting.parse_bound(given)
    assert raised.value.details == {"field": "max_frame", "limit": 4096}


def entry(key: Any, size: int) -> bytes:
    return protocol.change_entry("enter", orjson.dumps(key).decode(), orjson.dumps({"_id": key, "text": "x" * size}))


@pytest.mark.parametrize("most", [4096, 5000, 20_000, 1 << 20])
def test_a_moment_is_cut_to_what_is_taken_and_loses_nothing(most: int) -> None:
    entries = [entry(number, 37 * number % 3000) for number in range(100)]
    frames = list(cutting.moment("changes", TARGET, entries, POSITION, 1 << 20, most))
    assert max(map(len, frames)) <= most
    told = [orjson.loads(frame) for frame in frames]
    assert [one["key"] for frame in told for one in frame["changes"]] == list(range(100))
    assert [frame.get("more", False) for frame in told] == [True] * (len(told) - 1) + [False]


def test_no_frame_is_larger_than_is_usual_for_who_would_take_more() -> None:
    entries = [entry(number, 900) for number in range(100)]
    usual = list(protocol.moment_frames("changes", TARGET, entries, POSITION, 8192))
    assert list(cutting.moment("changes", TARGET, entries, POSITION, 8192, 1 << 20)) == usual
    assert list(cutting.moment("changes", TARGET, entries, POSITION, 8192, None)) == usual


@pytest.mark.parametrize("key", ["large", 7, {"$oid": "5f0000000000000000000000"}, None])
def test_an_entry_over_it_is_too_large_and_named(key: Any) -> None:
    entries = [entry("a", 10), entry(key, 9000), entry("b", 10)]
    with pytest.raises(TooLargeError, match="max_frame") as raised:
        cutting.moment("changes", TARGET, entries, POSITION, 1 << 20, 8192)
    assert raised.value.details == {"limit": 8192, "count": len(entries[1]), "key": key}


def test_an_event_without_a_key_is_too_large_without_one() -> None:
    with pytest.raises(TooLargeError) as raised:
        cutting.moment(
            "events", TARGET, [orjson.dumps({"op": "drop", "collection": "x" * 5000})], POSITION, 1 << 20, 4096
        )
    assert raised.value.details is not None
    assert "key" not in raised.value.details


def group(sizes: list[int], frame_bytes: int) -> QueryGroup:
    held = QueryGroup(query(), 7, EPOCH, GroupBounds(1000, 1 << 24, frame_bytes))
    for number, size in enumerate(sizes):
        held.put({"_id": number, "text": "x" * size})
    held.loaded(1, len(sizes))
    held.caught_up({}, 1)
    return held


@pytest.mark.parametrize("most", [None, 4096, 5000, 20_000, 1 << 20])
def test_a_snapshot_is_cut_to_what_is_taken_and_loses_nothing(most: int | None) -> None:
    held = group([53 * number % 3000 for number in range(100)], 16_384)
    frames = list(cutting.snapshot("s", held, most))
    assert max(map(len, frames)) <= min(most or 1 << 20, 16_384)
    told = [orjson.loads(frame) for frame in frames]
    assert [one["_id"] for frame in told for one in frame["documents"]] == list(range(100))
    assert [frame["first"] for frame in told] == [True] + [False] * (len(told) - 1)
    assert [frame["last"] for frame in told] == [False] * (len(told) - 1) + [True]
    assert [frame.get("position") for frame in told] == [None] * (len(told) - 1) + [POSITION]


@pytest.mark.parametrize("most", [None, 4096, 1 << 20])
def test_an_empty_snapshot_is_one_frame(most: int | None) -> None:
    (frame,) = cutting.snapshot("s", group([], 16_384), most)
    assert orjson.loads(frame)["documents"] == []


@pytest.mark.parametrize(("frame_bytes", "most"), [(1 << 20, 8192), (8192, 20_000), (8192, 8192)])
def test_a_document_over_it_is_too_large_before_a_frame_is_made(frame_bytes: int, most: int) -> None:
    with pytest.raises(TooLargeError) as raised:
        cutting.snapshot("s", group([10, 30_000, 10], frame_bytes), most)
    assert raised.value.details is not None
    assert (raised.value.details["key"], raised.value.details["limit"]) == (1, most)


@pytest.mark.parametrize("frame_bytes", [4096, 1 << 20])
def test_a_document_whose_frame_is_just_as_large_is_sent(frame_bytes: int) -> None:
    held = group([6000], frame_bytes)
    (frame,) = cutting.snapshot("s", held, None)
    assert list(cutting.snapshot("s", held, len(frame))) == [frame]
    with pytest.raises(TooLargeError):
        cutting.snapshot("s", held, len(frame) - 1)


def test_an_answer_that_fits_is_sent_as_it_is() -> None:
    frame = protocol.Pong(id="p", position=POSITION).encode()
    assert cutting.answer(frame, None) is frame
    assert cutting.answer(frame, 4096) is frame


def test_a_result_over_it_says_that_the_write_was_done() -> None:
    frame = protocol.Result(id="w", position=POSITION, key="x" * 5000).encode()
    told = orjson.loads(cutting.answer(frame, 4096))
    assert (told["type"], told["id"], told["code"]) == ("error", "w", "too_large")
    assert told["details"] == {"limit": 4096, "count": len(frame), "maybe_written": True}


def test_a_farewell_over_it_leaves_out_what_is_long() -> None:
    error = TooLargeError("m" * 5000, details={"key": "x" * 5000})
    told = orjson.loads(cutting.answer(protocol.ErrorFrame.of(error, "s").encode(), 4096))
    assert (told["type"], told["id"], told["code"], told["details"]) == ("error", "s", "too_large", {"limit": 4096})
