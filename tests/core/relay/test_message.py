"""A batch packed, cut into parts and put together again; and whatever else a stream may hold is refused."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.live.stepping import EVERY
from realtime.core.relay import message as format_
from realtime.core.relay.message import (
    MANY,
    NAMES_CHARACTERS,
    PART_BYTES,
    FormatError,
    Gatherer,
    Message,
    Part,
    TooLargeError,
    named,
    pack,
    peek,
    quoted,
)
from realtime.core.upstream.health import Instant
from tests.chance import share

EPOCH = "0A1B2C3D"
TIME = 0x65000000_00000007
DOCUMENTS = st.integers(0, 60).map(lambda size: bson.encode({"_id": size, "text": "x" * size}))
NAMES = st.text(min_size=1, max_size=12).filter(lambda name: "\0" not in name and name.isprintable()) | st.sampled_from(
    ["*", "a,b", "a b", "50%", "%41", "zeile\nzwei", "größe", "a" * 230, "müll\udcff"]
)
TIMES = st.integers(0, (1 << 64) - 1)
SOME_NAMES = st.frozensets(NAMES, max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    images = draw(st.dictionaries(NAMES, st.lists(DOCUMENTS, max_size=3).map(tuple), max_size=3))
    void = draw(SOME_NAMES)
    return Message(
        time=draw(TIMES),
        events=tuple(draw(st.lists(DOCUMENTS, max_size=5))),
        images=images,
        collections=draw(SOME_NAMES) | void | images.keys(),
        void=void,
        lost=draw(st.booleans()),
        clock=draw(st.none() | st.builds(Instant, TIMES, st.none() | TIMES)),
    )


def gathered(parts: list[Part], gatherer: Gatherer | None = None, first: int = 1) -> list[Message]:
    gatherer = gatherer or Gatherer()
    found = [gatherer.add(sequence, part.headers, part.payload) for sequence, part in enumerate(parts, first)]
    return [message for message in found if message is not None]


def large(size: int, lost: bool = False) -> Message:
    """A message whose payload has about so many bytes."""
    event = bson.encode({"_id": 1, "data": random.Random(size).randbytes(100_000)})
    return Message(TIME, (event,) * (size // len(event) + 1), collections=frozenset({"orders"}), lost=lost)


@settings(max_examples=share(400), deadline=None)
@given(messages())
def test_what_was_packed_comes_out_again(message: Message) -> None:
    (part,) = pack(message, EPOCH)
    assert gathered([part]) == [message]
    head = peek(part.headers)
    assert (head.epoch, head.time, head.lost) == (EPOCH, message.time, message.lost)
    assert (head.collections, head.void, head.part, head.parts) == (named(message), message.void, 1, 1)
    assert head.clock == message.clock
    assert all(text.isascii() and text.isprintable() for pair in part.headers.items() for text in pair)


@settings(max_examples=share(100), deadline=None)
@given(messages(), st.data())
def test_a_payload_that_is_cut_or_longer_is_refused(message: Message, data: st.DataObject) -> None:
    (part,) = pack(message, EPOCH)
    end = data.draw(st.integers(0, len(part.payload) - 1))
    for payload in (part.payload[:end], part.payload + b"\0"):
        with pytest.raises(FormatError):
            Gatherer().add(1, part.headers, payload)


@settings(max_examples=share(300), deadline=None)
@given(messages(), st.data())
def test_a_payload_with_a_wrong_byte_is_refused_or_another_message(message: Message, data: st.DataObject) -> None:
    (part,) = pack(message, EPOCH)
    at = data.draw(st.integers(0, len(part.payload) - 1))
    wrong = bytearray(part.payload)
    wrong[at] ^= data.draw(st.integers(1, 255))
    try:
        read = Gatherer().add(1, part.headers, bytes(wrong))
    except FormatError:
        return
    assert read is not None
    assert read != message


def test_a_large_batch_is_parts_of_a_bounded_size_and_is_whole_with_the_last() -> None:
    message = large(3 * PART_BYTES)
    parts = pack(message, EPOCH)
    assert len(parts) == 4
    assert max(part.size for part in parts) <= PART_BYTES
    gatherer = Gatherer()
    for number, part in enumerate(parts, 1):
        assert (peek(part.headers).part, peek(part.headers).parts) == (number, 4)
        whole = gatherer.add(10 + number, part.headers, part.payload)
        assert (whole == message) is (number == 4)
        assert gatherer.amid is (number < 4)


def test_an_empty_batch_is_one_small_part() -> None:
    (part,) = pack(Message(TIME), EPOCH)
    assert part.size < 300
    assert gathered([part]) == [Message(TIME)]


def test_the_size_of_a_part_is_at_least_what_nats_makes_of_it() -> None:
    for message in (Message(TIME), large(10), replace(large(10), lost=True, void=frozenset("abc"))):
        (part,) = pack(message, EPOCH)
        written = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in part.headers.items()) + "\r\n"
        assert part.size >= len(written) + len(part.payload)


def test_a_batch_over_the_bound_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "MESSAGE_BYTES", 250_000)
    assert len(pack(large(100_000), EPOCH)) == 1
    with pytest.raises(TooLargeError, match="250000 are allowed"):
        pack(large(300_000), EPOCH)


def test_parts_of_more_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = pack(large(2 * PART_BYTES), EPOCH)
    monkeypatch.setattr(format_, "MESSAGE_BYTES", PART_BYTES + 10)
    gatherer = Gatherer()
    gatherer.add(1, parts[0].headers, parts[0].payload)
    with pytest.raises(FormatError, match="more than"):
        gatherer.add(2, parts[1].headers, parts[1].payload)
    assert not gatherer.amid


def test_names_that_do_not_fit_a_header_are_in_the_payload() -> None:
    names = frozenset(f"collection{number}" for number in range(NAMES_CHARACTERS // 10))
    message = Message(TIME, collections=names, void=names)
    (part,) = pack(message, EPOCH)
    assert part.headers["Realtime-Collections"] == part.headers["Realtime-Void"] == MANY
    head = peek(part.headers)
    assert (head.collections, head.void) == (None, None)
    assert head.may_name(["anything"])
    assert gathered([part]) == [message]


def test_a_head_says_which_collections_may_be_inside() -> None:
    (part,) = pack(Message(TIME, collections=frozenset({"orders", "a,b"})), EPOCH)
    head = peek(part.headers)
    assert head.may_name(["a,b", "shops"])
    assert not head.may_name(["a", "b", "shops"])
    (of_all,) = pack(Message(TIME, collections=frozenset({EVERY})), EPOCH)
    assert peek(of_all.headers).may_name(["shops"])


def test_a_collection_of_any_name_is_another_one_than_every_other() -> None:
    names = ["a,b", "a", "b", "*", "%2A", "a\nb", "a b", "ä", "\udcff", "-"]
    assert len({quoted(name) for name in names}) == len(names)
    assert quoted("*") != MANY


def test_headers_say_what_is_read_and_nothing_more() -> None:
    message = replace(large(PART_BYTES, lost=True), void=frozenset({"orders"}))
    parts = pack(message, EPOCH)
    assert len(parts) > 1
    for part in parts:
        assert part.headers.keys() == {
            *("Realtime-Format", "Realtime-Epoch", "Realtime-Time", "Realtime-Collections"),
            *("Realtime-Void", "Realtime-Lost", "Realtime-Part"),
        }


def test_parts_whose_beginning_is_gone_are_skipped_and_counted() -> None:
    parts = pack(large(3 * PART_BYTES), EPOCH)
    gatherer = Gatherer()
    next_one = Message(TIME + 1)
    assert gathered([*parts[2:], *pack(next_one, EPOCH)], gatherer) == [next_one]
    assert gatherer.skipped == 2


def test_parts_that_do_not_follow_are_refused_and_what_had_begun_is_forgotten() -> None:
    parts, other = pack(large(3 * PART_BYTES), EPOCH), pack(replace(large(3 * PART_BYTES), time=TIME + 1), EPOCH)
    wrong = {
        "one is missing": (2, parts[2]),
        "a hole in the stream": (3, parts[1]),
        "another message's": (2, other[1]),
        "another epoch's": (2, pack(large(3 * PART_BYTES), "00000000")[1]),
        "lost since": (2, pack(large(3 * PART_BYTES, lost=True), EPOCH)[1]),
    }
    for what, (sequence, part) in wrong.items():
        gatherer = Gatherer()
        gatherer.add(1, parts[0].headers, parts[0].payload)
        with pytest.raises(FormatError, match="came after part 1 of 4"):
            gatherer.add(sequence, part.headers, part.payload)
        assert not gatherer.amid, what
        assert gatherer.add(9, parts[1].headers, parts[1].payload) is None
        assert gatherer.skipped == 1


def test_parts_whose_end_never_came_are_skipped_and_counted() -> None:
    """A server was killed between them, and the relay told all of it again, cut in another way perhaps."""
    message = large(3 * PART_BYTES)
    parts = pack(message, EPOCH)
    for again in (message, Message(TIME)):
        gatherer = Gatherer()
        assert gathered([*parts[:3], *pack(again, EPOCH)], gatherer) == [again]
        assert gatherer.skipped == 3


def test_a_reset_forgets_what_had_begun() -> None:
    message = large(PART_BYTES)
    parts = pack(message, EPOCH)
    gatherer = Gatherer()
    gatherer.add(1, parts[0].headers, parts[0].payload)
    gatherer.reset()
    assert gathered(parts, gatherer, first=7) == [message]


HEADERS = {
    "no headers": {},
    "no format": {"Realtime-Format": ""},
    "another format": {"Realtime-Format": "2"},
    "an epoch in lower case": {"Realtime-Epoch": "0a1b2c3d"},
    "no epoch": {"Realtime-Epoch": ""},
    "a short time": {"Realtime-Time": "1"},
    "a time with a sign": {"Realtime-Time": "-000000000000001"},
    "part 0": {"Realtime-Part": "0/1"},
    "part 2 of 1": {"Realtime-Part": "2/1"},
    "no part": {"Realtime-Part": ""},
    "many parts": {"Realtime-Part": "1/10000"},
    "lost by half": {"Realtime-Lost": "0"},
    "long names": {"Realtime-Collections": "a," * NAMES_CHARACTERS + "a"},
    "an empty name": {"Realtime-Collections": "a,,b"},
    "a name half written": {"Realtime-Collections": "a%4"},
    "void that is none": {"Realtime-Void": "a b"},
    "half a clock": {"Realtime-Clock": "0123456789ABCDEF-"},
    "names that are not inside": {"Realtime-Collections": "shops"},
}


@pytest.mark.parametrize("wrong", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_are_none_of_a_relays_are_refused(wrong: dict[str, str]) -> None:
    (part,) = pack(Message(TIME, collections=frozenset({"orders"})), EPOCH)
    headers = {**part.headers, **wrong} if wrong else None
    gatherer = Gatherer()
    with pytest.raises(FormatError) as caught:
        gatherer.add(1, headers, part.payload)
    assert 0 < len(str(caught.value)) < 300
    assert gatherer.add(2, part.headers, part.payload) is not None


def test_another_format_names_the_mend() -> None:
    with pytest.raises(FormatError, match="upgrade nodes before relays"):
        peek({"Realtime-Format": "2"})
    with pytest.raises(FormatError, match="nothing else may publish here"):
        peek(None)


PAYLOADS = {
    "nothing": b"",
    "more events than bytes": struct.pack("<II", 0xFFFFFFFF, 0),
    "a document of no bytes": struct.pack("<Ii", 1, 0) + bytes(8),
    "a document below nothing": struct.pack("<Ii", 1, -5) + bytes(8),
    "a document that is longer": struct.pack("<Ii", 1, 0x7FFFFFFF) + bytes(8),
    "a document without its end": struct.pack("<Iib", 1, 5, 1) + struct.pack("<I", 0),
    "a name twice": struct.pack("<II", 0, 2) + (struct.pack("<H", 1) + b"a\0") * 2,
    "flags of another version": struct.pack("<II", 0, 1) + struct.pack("<H", 1) + b"a\4",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_payloads_that_are_none_of_a_relays_are_refused(payload: bytes) -> None:
    (part,) = pack(Message(TIME), EPOCH)
    headers = {**part.headers, "Realtime-Collections": MANY}
    with pytest.raises(FormatError):
        Gatherer().add(1, headers, payload)
