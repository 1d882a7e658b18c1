"""The bounded queue of one slow connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realtime.core.connection.outbox import ANSWER_BYTES, OWED_BYTES, Claim, Outbox, Part


def drained(outbox: Outbox) -> list[bytes]:
    return list(iter(outbox.pull, None))


def test_frames_come_out_in_the_order_they_went_in() -> None:
    outbox = Outbox(100)
    assert not outbox
    for frame in (b"a", b"b", b"c"):
        outbox.put(frame)
    assert outbox
    assert drained(outbox) == [b"a", b"b", b"c"]
    assert not outbox
    assert outbox.size == 0


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
    outbox.put(b"z" * 10)
    assert outbox.size == 10


# ------------------------------------------------------------------------------------------------------------ answers


def answered(outbox: Outbox, size: int) -> int:
    """Put answers as long as whoever asks is heard; how many bytes of them."""
    put = 0
    while not outbox.crowded:
        outbox.put(b"x" * size)
        put += size
    return put


@pytest.mark.parametrize("size", [1, 60, 1000, 100_000])
def test_answers_have_a_bound_of_their_own_over_which_no_more_is_asked(size: int) -> None:
    assert ANSWER_BYTES < answered(Outbox(10), size) <= ANSWER_BYTES + size


def test_one_that_was_crowded_is_not_again_until_half_of_it_is_free() -> None:
    outbox = Outbox(10)
    waiting = answered(outbox, 1000)
    while outbox.crowded:
        assert waiting > ANSWER_BYTES // 2
        waiting -= len(outbox.pull() or b"")
    assert waiting <= ANSWER_BYTES // 2
    assert answered(outbox, 1000) > 0


def test_answers_that_are_owed_have_their_room_kept() -> None:
    outbox = Outbox(10)
    owed = 0
    while not outbox.crowded:
        outbox.owe(1)
        owed += 1
    assert owed == ANSWER_BYTES // OWED_BYTES + 1
    outbox.clear()
    assert outbox.crowded
    outbox.owe(-owed)
    assert not outbox.crowded
    assert answered(outbox, 1000) > ANSWER_BYTES


def test_answers_take_no_room_of_the_moments_and_moments_none_of_theirs() -> None:
    outbox, told = lapsing(10)
    answered(outbox, 1000)
    moment(outbox, 1, 100, b"11111")
    moment(outbox, 2, 100, b"22222")
    assert told == []
    outbox = Outbox(10)
    moment(outbox, 1, 100, b"x" * 10 * ANSWER_BYTES)
    assert not outbox.crowded
    assert answered(outbox, 1000) > ANSWER_BYTES


def test_clear_makes_room_for_answers() -> None:
    outbox = Outbox(10)
    answered(outbox, 1000)
    outbox.clear()
    assert not outbox.crowded


# ------------------------------------------------------------------------------------------------------------- lapses


def moment(outbox: Outbox, channel: int, after: int, *frames: bytes) -> None:
    """Queue a moment, frame by frame."""
    for index, frame in enumerate(frames):
        outbox.put(frame, Part(channel, after, first=index == 0))


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


def test_what_says_how_far_it_is_goes_with_what_was_dropped_before_it() -> None:
    again: list[str] = []
    outbox, told = lapsing(10)

    def claim(name: bytes) -> None:
        outbox.put(name, Claim(lambda: again.append(name.decode())))

    claim(b"first")
    moment(outbox, 1, 100, b"1111")
    claim(b"second")
    outbox.put(b"answer")
    outbox.put_run(iter([b"run"]))
    moment(outbox, 2, 100, b"22")
    outbox.put(b"heartbeat", Claim())
    size = outbox.size
    moment(outbox, 1, 110, b"11111")
    assert (told, again) == ([1], ["second"])
    assert outbox.size == size - len(b"1111secondheartbeat")
    assert drained(outbox) == [b"first", b"answer", b"run", b"22"]
    assert outbox.size == 0


def test_what_says_how_far_it_is_stays_where_nothing_before_it_is_dropped() -> None:
    again: list[str] = []
    outbox, told = lapsing(10)
    outbox.put(b"claim", Claim(lambda: again.append("claim")))
    moment(outbox, 2, 100, b"2")
    outbox.put(b"other", Claim(lambda: again.append("other")))
    moment(outbox, 1, 100, b"1" * 12)
    assert told == [1]
    assert again == []
    assert outbox.forget(2) == 100
    assert again == ["other"], "which stood behind what is dropped now"
    assert drained(outbox) == [b"claim"]


def test_room_for_answers_is_free_again_when_they_are_withdrawn() -> None:
    outbox, _ = lapsing(10)
    moment(outbox, 1, 100, b"1" * 8)
    for _ in range(3):
        outbox.put(b"x" * (ANSWER_BYTES // 2), Claim())
    assert outbox.crowded
    outbox.lapse(1, 90)
    assert not outbox.crowded
    assert outbox.take_lapsed() == {1: 90}


def test_a_channel_that_is_itself_the_heaviest_lapses_with_the_moment_that_came() -> None:
    outbox, told = lapsing(10)
    outbox.put(b"control")
    moment(outbox, 2, 100, b"222")
    moment(outbox, 1, 100, b"1" * 8)
    assert told == [1]
    assert drained(outbox) == [b"control", b"222"]
    assert outbox.take_lapsed() == {1: 100}


def test_nothing_is_taken_of_a_lapsed_channel_until_that_was_asked_for() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"x" * 10)
    moment(outbox, 1, 110, b"y")
    moment(outbox, 1, 120, b"z", b"zz")
    assert told == [1]
    assert outbox.size == 0
    assert [outbox.withholds(channel) for channel in (1, 2)] == [True, False]
    assert drained(outbox) == []
    assert outbox.take_lapsed() == {1: 100}
    assert not outbox.withholds(1)
    moment(outbox, 1, 130, b"again")
    assert drained(outbox) == [b"again"]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_one_moment_alone_is_taken_however_large(parts: int) -> None:
    outbox, told = lapsing(10)
    outbox.put(b"answer")
    outbox.put_run(iter([b"run"]))
    frames = [b"%d" % n * 1000 for n in range(parts)]
    moment(outbox, 1, 100, *frames)
    outbox.put(b"pong")
    assert told == []
    assert drained(outbox) == [b"answer", b"run", *frames, b"pong"]


def test_a_moment_that_began_is_finished_and_stands_in_nobodys_way() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 1, 100, b"first", b"x" * 500)
    assert outbox.pull() == b"first"
    outbox.put(b"y" * 100, Part(1, 100, first=False))
    moment(outbox, 2, 100, b"222")
    moment(outbox, 1, 110, b"late")
    assert told == []
    moment(outbox, 1, 120, b"later")
    assert told == [1]
    assert drained(outbox) == [b"x" * 500, b"y" * 100, b"222"]
    assert outbox.take_lapsed() == {1: 110}


def test_a_moment_whose_beginning_was_written_elsewhere_is_finished() -> None:
    outbox, told = lapsing(10)
    outbox.put(b"x" * 10)
    outbox.put(b"rest", Part(1, 100, first=False))
    outbox.put(b"end" * 10, Part(1, 100, first=False))
    moment(outbox, 2, 100, b"2" * 10)
    assert told == []
    assert drained(outbox) == [b"x" * 10, b"rest", b"end" * 10, b"2" * 10]


def test_a_moment_that_grows_over_the_bound_beside_others_lapses_whole() -> None:
    outbox, told = lapsing(10)
    moment(outbox, 2, 100, b"22")
    moment(outbox, 1, 100, b"1111", b"1111", b"1111")
    assert told == [1]
    assert drained(outbox) == [b"22"]
    assert outbox.take_lapsed() == {1: 100}


def test_a_moment_waits_behind_a_run_and_lapses_without_it() -> None:
    outbox, told = lapsing(4)
    outbox.put_run(iter([b"a", b"b"]))
    moment(outbox, 1, 100, b"1111")
    moment(outbox, 1, 110, b"2222")
    assert told == [1]
    assert drained(outbox) == [b"a", b"b"]
    assert outbox.take_lapsed() == {1: 100}


def test_a_channel_that_is_told_to_lapse_goes_on_from_where_it_was_told() -> None:
    outbox, told = lapsing(100)

    def outrun() -> Iterator[bytes]:
        yield b"run"
        outbox.lapse(1, 90)

    outbox.put_run(outrun())
    moment(outbox, 1, 100, b"1111")
    moment(outbox, 2, 100, b"2222")
    assert drained(outbox) == [b"run", b"2222"]
    assert told == [1]
    assert outbox.take_lapsed() == {1: 90}


def test_a_run_that_clears_the_outbox_ends_it() -> None:
    outbox = Outbox(10)

    def run() -> Iterator[bytes]:
        outbox.clear()
        yield from ()

    outbox.put_run(run())
    outbox.put(b"never")
    assert drained(outbox) == []


def test_it_is_idle_while_nothing_waits_is_owed_or_has_lapsed() -> None:
    outbox = Outbox(10)
    assert outbox.idle
    outbox.owe(1)
    assert not outbox.idle
    outbox.owe(-1)
    outbox.put(b"answer")
    assert not outbox.idle
    assert outbox.pull() == b"answer"
    outbox.lapse(1, 5)
    assert not outbox.idle
    assert outbox.take_lapsed() == {1: 5}
    assert outbox.idle


def test_a_channel_that_is_forgotten_goes_with_what_waits_of_it_and_can_be_told_again() -> None:
    outbox = Outbox(1000)
    outbox.put(b"one", Part(1, 10, first=True))
    assert outbox.pull() == b"one"
    outbox.put(b"begun", Part(1, 11, first=True))
    outbox.put(b"its end", Part(1, 11, first=False))
    assert outbox.pull() == b"begun"
    outbox.put(b"waits", Part(1, 12, first=True))
    outbox.put(b"other", Part(2, 12, first=True))
    outbox.put(b"later", Part(1, 13, first=True))
    assert outbox.forget(1) == 12, "what it was told up to"
    assert outbox.forget(1) is None
    assert outbox.size == len(b"its end") + len(b"other")
    outbox.put(b"anew", Part(1, 14, first=True))
    assert drained(outbox) == [b"its end", b"other", b"anew"]
    assert not outbox.take_lapsed()


def test_a_channel_that_lapsed_and_is_forgotten_is_taken_again() -> None:
    outbox = Outbox(1000)
    outbox.put(b"waits", Part(1, 12, first=True))
    outbox.lapse(1, 12)
    outbox.put(b"dropped", Part(1, 13, first=True))
    assert outbox.forget(1) == 12
    outbox.put(b"anew", Part(1, 14, first=True))
    assert drained(outbox) == [b"anew"]
    assert not outbox.take_lapsed()
