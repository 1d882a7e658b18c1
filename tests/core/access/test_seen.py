"""What is remembered of tokens: by the very key that signed them, within its bound, the longest unused first to go."""

from __future__ import annotations

import pytest

from realtime.core.access.seen import ENTRY_BYTES, Seen


def test_a_token_is_known_under_the_key_that_signed_it_and_no_other() -> None:
    seen, key, other = Seen(), object(), object()
    assert seen.payload("token", key) is None
    seen.add("token", key, b"says")
    assert seen.payload("token", key) == b"says"
    assert seen.payload("token", other) is None
    assert seen.payload("tokem", key) is None
    seen.add("token", other, b"says")
    assert (seen.payload("token", key), seen.payload("token", other)) == (None, b"says")


def test_it_keeps_no_more_than_it_may_and_whoever_was_not_seen_for_longest_goes() -> None:
    room = 10
    seen, key = Seen(room * (ENTRY_BYTES + 4)), object()
    for number in range(room):
        seen.add(f"{number}", key, b"four")
    seen.add("0", key, b"four")  # again: it takes no more room
    assert seen.payload("1", key) == b"four"
    for number in range(room, room + 8):
        seen.add(f"{number}", key, b"four")
    kept = {number for number in range(room + 8) if seen.payload(f"{number}", key) is not None}
    assert kept == {0, 1, *range(room, room + 8)}


def test_one_that_is_larger_than_all_that_may_be_kept_is_not_kept() -> None:
    seen, key = Seen(ENTRY_BYTES + 10), object()
    seen.add("small", key, b"4444")
    seen.add("large", key, b"x" * 11)
    assert [seen.payload(name, key) for name in ("small", "large")] == [None, None]
    seen.add("small", key, b"4444")
    assert seen.payload("small", key) == b"4444"


def test_nothing_that_is_kept_lets_anybody_in() -> None:
    seen = Seen()
    seen.add("head.payload.signature", object(), b"says")
    kept = repr(vars(seen))
    assert "says" in kept
    assert "signature" not in kept


@pytest.mark.parametrize("count", [1, 7])
def test_its_count_of_bytes_is_right_whatever_comes_again(count: int) -> None:
    seen, key = Seen(count * (ENTRY_BYTES + 1)), object()
    for _ in range(5):
        for number in range(count):
            seen.add(f"{number}", key, b"x")
    assert all(seen.payload(f"{number}", key) == b"x" for number in range(count))
