"""WebSocket frames as bytes: what a server makes of whatever a peer may send, one frame at a time."""

from __future__ import annotations

import pytest
from websockets.frames import Close, Frame, Opcode

from realtime.core.connection import frames
from realtime.core.connection.frames import Binary, Broken, Closed, Fragment, FrameReader, Incoming, Ping, Pong, Text

LIMIT = 1000
KEY = b"\x01\x02\x03\x04"


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, key: bytes = KEY) -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    first = (0x80 if final else 0) | reserved | opcode
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2) if size < 1 << 16 else b""
    head = bytes([first]) + (length or b"\xff" + size.to_bytes(8))
    # As one number: byte by byte, the megabytes of the vectors take longer to mask than all the pure tests to run.
    mask = int.from_bytes((key * (size // 4 + 1))[:size])
    return head + key + (int.from_bytes(payload) ^ mask).to_bytes(size)


def read(*parts: bytes, limit: int = LIMIT) -> list[Incoming]:
    """Everything that is said by bytes that come in these parts."""
    reader, said = FrameReader(limit), []
    for part in parts:
        reader.feed(part)
        while (incoming := reader.pull()) is not None:
            said.append(incoming)
    return said


def test_a_message_is_unmasked_whatever_its_key() -> None:
    for size in (0, 1, 3, 4, 5, 125, 126, 127, 999):
        text = ("aé" * size)[: size // 2]
        for key in (bytes(4), KEY, b"\xff\x00\xfe\x80"):
            assert read(masked(1, text.encode(), key=key)) == [Text(text)]
    assert read(masked(2, b"\xff\x00")) == [Binary(b"\xff\x00")]
    assert read(masked(1, b"x" * 70_000), limit=70_000) == [Text("x" * 70_000)]


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    sent = masked(1, b"a" * 130) + masked(9, b"p") + masked(1, b"b", final=False) + masked(0, b"c") + masked(10)
    whole = [Text("a" * 130), Ping(b"p"), Fragment(), Text("bc"), Pong(b"")]
    assert read(sent) == whole
    assert read(*(sent[n : n + 1] for n in range(len(sent)))) == whole
    for cut in range(len(sent)):
        assert read(sent[:cut], sent[cut:]) == whole


def test_frames_wait_until_they_are_pulled_and_what_was_pulled_is_not_held() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(masked(1, b"one") + masked(1, b"two") + masked(1, b"three")[:5])
    assert reader.pull() == Text("one")
    reader.feed(masked(1, b"three")[5:])
    assert [reader.pull() for _ in range(3)] == [Text("two"), Text("three"), None]
    assert len(reader._buffer) == 0
    reader.feed(masked(1, b"x" * 900) + b"\x81")
    assert [reader.pull(), reader.pull()] == [Text("x" * 900), None]
    assert bytes(reader._buffer) == b"\x81"


def test_the_largest_message_may_grow_from_one_frame_to_the_next() -> None:
    reader = FrameReader(10)
    reader.feed(masked(1, b"x" * 10) + masked(1, b"y" * 500) + masked(1, b"z" * 501))
    assert reader.pull() == Text("x" * 10)
    reader.limit = 500
    assert [reader.pull(), reader.pull(), reader.pull()] == [Text("y" * 500), Broken(1009), None]


@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_an_opcode_that_is_not_there_breaks_a_rule(opcode: int) -> None:
    assert read(masked(opcode)) == [Broken(1002)]


@pytest.mark.parametrize(
    "wrong",
    [
        masked(1, b"x", reserved=0x40),
        masked(1, b"x", reserved=0x20),
        masked(9, b"x", reserved=0x10),
        b"\x81\x01x",
        masked(9, final=False),
        masked(8, b"x" * 126),
        masked(0, b"x"),
        masked(1, b"x", final=False) + masked(1, b"y"),
        masked(8, b"\x03"),
        masked(8, (1005).to_bytes(2)),
    ],
    ids=[
        "rsv1",
        "rsv2",
        "rsv3",
        "unmasked",
        "cut ping",
        "long close",
        "no begin",
        "twice begun",
        "half a code",
        "1005",
    ],
)
def test_what_breaks_a_rule_is_answered_with_1002_and_nothing_is_read_after_it(wrong: bytes) -> None:
    said = read(wrong + masked(1, b"after"), masked(1, b"later"))
    assert [one for one in said if not isinstance(one, Fragment)] == [Broken(1002)]


def test_a_message_over_the_limit_is_refused_by_its_head_alone() -> None:
    assert read(masked(1, b"x" * LIMIT)) == [Text("x" * LIMIT)]
    assert read(masked(1, b"x" * (LIMIT + 1))[:4]) == [Broken(1009)]
    assert read(masked(1, b"x" * LIMIT, final=False) + masked(0, b"y")[:2]) == [Fragment(), Broken(1009)]
    assert read(b"\x82\xff" + b"\xff" * 8) == [Broken(1009)]


def test_a_length_may_be_written_in_a_longer_form_than_it_needs() -> None:
    for form in (b"\xfe\x00\x01", b"\xff" + (1).to_bytes(8)):
        assert read(b"\x81" + form + bytes(4) + b"x") == [Text("x")]
        assert read(b"\x89" + form + bytes(4) + b"x") == [Ping(b"x")]


def test_fragments_are_bounded_in_count_although_they_hold_nothing() -> None:
    reader, count = FrameReader(LIMIT), 0
    reader.feed(masked(1, final=False))
    while isinstance(said := reader.pull(), Fragment):
        count += 1
        reader.feed(masked(0, final=False))
    assert said == Broken(1009)
    assert count == frames.MOST_FRAGMENTS == 65_536


def test_text_that_is_no_utf8_is_1007_and_may_be_cut_within_a_letter() -> None:
    letter = "€".encode()
    assert read(masked(1, letter[:1], final=False) + masked(0, letter[1:])) == [Fragment(), Text("€")]
    for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", letter[:2], b"\xf4\x90\x80\x80"):
        assert read(masked(1, wrong)) == [Broken(1007)]
        assert read(masked(8, b"\x03\xe8" + wrong)) == [Broken(1007)]
        assert read(masked(2, wrong)) == [Binary(wrong)]


def test_a_close_frame_says_its_code_and_ends_everything() -> None:
    assert read(masked(8) + masked(1, b"after")) == [Closed(1005, b"")]
    assert read(masked(8, b"\x03\xe8bye")) == [Closed(1000, b"\x03\xe8bye")]
    allowed = [code for code in range(1 << 16) if read(masked(8, code.to_bytes(2))) == [Closed(code, code.to_bytes(2))]]
    assert allowed == [1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)]
    assert read(masked(1, b"x", final=False) + masked(8)) == [Fragment(), Closed(1005, b"")]


def test_what_is_held_of_a_peer_that_breaks_a_rule_is_let_go() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(masked(1, b"x" * 500, final=False) + masked(3) + b"x" * 300)
    assert [reader.pull(), reader.pull(), reader.pull()] == [Fragment(), Broken(1002), None]
    reader.feed(b"x" * 100)
    assert (bytes(reader._buffer), reader._message) == (b"", None)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_text_frame_is_what_the_rfc_says(size: int) -> None:
    payload = b"x" * size
    assert frames.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_control_frames_are_what_the_rfc_says() -> None:
    assert frames.ping_frame(b"p") == Frame(Opcode.PING, b"p").serialize(mask=False)
    assert frames.pong_frame(b"") == Frame(Opcode.PONG, b"").serialize(mask=False)
    close = Close(4001, "slow_consumer").serialize()
    assert frames.closing_frame(4001, "slow_consumer") == Frame(Opcode.CLOSE, close).serialize(mask=False)
    assert frames.close_frame(b"") == Frame(Opcode.CLOSE, b"").serialize(mask=False)
