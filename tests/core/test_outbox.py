"""The bounded queue of one slow connection."""

from __future__ import annotations

from collections.abc import Iterator

from realtime.core.outbox import Outbox


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
