"""The bounded queue of one slow connection."""

from __future__ import annotations

from collections.abc import Iterator

from realtime.core.connection.outbox import Outbox, Part


def drained(outbox: Outbox) -> list[bytes]:
    return list(iter(outbox.pull, None))


def test_frames_come_out_in_the_order_they_went_in() -> None:
    outbox = Outbox(100)
    assert not outbox
    assert all(outbox.put(frame) for frame in (b"a", b"b", b"c"))
    assert outbox
    assert drained(outbox) == [b"a", b"b", b"c"]
    assert not outbox
    assert outbox.size == 0


def test_a_frame_over_the_bound_is_refused_and_what_waits_stays() -> None:
    outbox = Outbox(10)
    assert outbox.put(b"x" * 6)
    assert outbox.put(b"y" * 4)
    assert not outbox.put(b"z")
    assert outbox.size == 10
    assert drained(outbox) == [b"x" * 6, b"y" * 4]


def test_room_is_free_again_once_a_frame_is_pulled() -> None:
    outbox = Outbox(10)
    outbox.put(b"x" * 10)
    assert not outbox.put(b"y")
    outbox.pull()
    assert outbox.put(b"y")


def test_an_empty_outbox_takes_one_frame_of_any_size() -> None:
    outbox = Outbox(10)
    assert outbox.put(b"x" * 1000)
    assert not outbox.put(b"y")
    assert drained(outbox) == [b"x" * 1000]


def test_a_run_is_made_as_it_is_pulled_and_keeps_its_place() -> None:
    made: list[int] = []

    def run() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    outbox = Outbox(10)
    outbox.put(b"before")
    outbox.put_run(run())
    outbox.put(b"wait")
    assert made == []
    assert outbox.size == 10
    assert outbox.pull() == b"before"
    assert outbox.pull() == b"0"
    assert made == [0]
    assert drained(outbox) == [b"1", b"2", b"wait"]


def test_an_empty_run_is_passed_over() -> None:
    outbox = Outbox(10)
    outbox.put_run(iter(()))
    assert outbox
    assert outbox.pull() is None
    assert not outbox


def test_clear_forgets_everything_that_waits() -> None:
    outbox = Outbox(10)
    outbox.put(b"x" * 10)
    outbox.put_run(iter([b"y"]))
    outbox.clear()
    assert (outbox.size, outbox.pull(), bool(outbox)) == (0, None, False)
    assert outbox.put(b"z" * 10)


# ------------------------------------------------------------------------------------------------------------- lapses


def moment(outbox: Outbox, channel: int, after: int, *frames: bytes) -> None:
    """Queue a moment, frame by frame."""
    for index, frame in enumerate(frames):
        assert outbox.put(frame, Part(channel, after, first=index == 0))


def lapsing(limit: int) -> tuple[Outbox, list[int]]:
    told: list[int] = []
    return Outbox(limit, told.append), told


def test_the_heaviest_channel_lapses_as_a_whole_and_the_others_keep_what_they_have() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"1111")
    moment(outbox, 2, 100, b"22")
    moment(outbox, 1, 110, b"11")
    moment(outbox, 2, 120, b"2222")
    assert told == [1]
    assert drained(outbox) == [b"22", b"2222"]
    assert outbox.take_lapsed() == {1: 100}
    assert outbox.take_lapsed() == {}


def test_a_channel_that_is_itself_the_heaviest_lapses_with_the_moment_that_came() -> None:
    outbox, told = lapsing(10)
    outbox.put(b"control")
    moment(outbox, 1, 100, b"1111")
    assert told == [1]
    assert drained(outbox) == [b"control"]
    assert outbox.take_lapsed() == {1: 100}


def test_nothing_is_taken_of_a_lapsed_channel_until_that_was_asked_for() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"x" * 10)
    moment(outbox, 1, 110, b"y")
    moment(outbox, 1, 120, b"z", b"zz")
    assert told == [1]
    assert outbox.size == 0
    assert drained(outbox) == []
    assert outbox.take_lapsed() == {1: 100}
    moment(outbox, 1, 130, b"again")
    assert drained(outbox) == [b"again"]


def test_a_moment_that_began_is_finished_whatever_the_bound_says() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"first", b"x" * 5)
    assert outbox.pull() == b"first"
    assert outbox.put(b"y" * 100, Part(1, 100, first=False))
    moment(outbox, 1, 110, b"late")
    assert told == [1]
    assert drained(outbox) == [b"x" * 5, b"y" * 100]
    assert outbox.take_lapsed() == {1: 110}


def test_a_moment_whose_beginning_was_written_elsewhere_is_finished() -> None:
    outbox, told = lapsing(10)
    outbox.put(b"x" * 10)
    assert outbox.put(b"rest", Part(1, 100, first=False))
    assert outbox.put(b"end", Part(1, 100, first=False))
    assert told == []
    assert drained(outbox) == [b"x" * 10, b"rest", b"end"]


def test_a_frame_of_no_channel_makes_room_before_it_is_refused() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"111")
    moment(outbox, 2, 100, b"2222")
    assert outbox.put(b"x" * 7)
    assert told == [2]
    assert outbox.put(b"y" * 3)
    assert told == [2, 1]
    assert not outbox.put(b"z")
    assert drained(outbox) == [b"x" * 7, b"y" * 3]


def test_a_moment_waits_behind_a_run_and_lapses_without_it() -> None:
    outbox, told = lapsing(4)
    outbox.put_run(iter([b"a", b"b"]))
    moment(outbox, 1, 100, b"1111")
    moment(outbox, 1, 110, b"2222")
    assert told == [1]
    assert drained(outbox) == [b"a", b"b"]
    assert outbox.take_lapsed() == {1: 100}


def test_a_run_that_clears_the_outbox_ends_it() -> None:
    outbox = Outbox(10)

    def run() -> Iterator[bytes]:
        outbox.clear()
        yield from ()

    outbox.put_run(run())
    outbox.put(b"never")
    assert drained(outbox) == []
