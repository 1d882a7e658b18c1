"""What is told to several is made once; the bound holds, and the longest unused goes first."""

from __future__ import annotations

from realtime.core.connection.encodings import ENTRY_BYTES, LIST_BYTES, Encodings

ONE = LIST_BYTES + ENTRY_BYTES + 10


def made(encodings: Encodings, key: object, size: int = 10) -> bool:
    """Whether it had to be made."""
    calls: list[object] = []

    def make() -> list[bytes]:
        calls.append(key)
        return [b"x" * size]

    assert encodings.get(key, make) == [b"x" * size]
    return bool(calls)


def test_what_was_made_once_is_not_made_again() -> None:
    encodings = Encodings(10 * ONE)
    assert [made(encodings, key) for key in ("a", "b", "a", "b", ("a", 1))] == [True, True, False, False, True]
    assert encodings.size == 3 * ONE


def test_the_longest_unused_goes_first() -> None:
    encodings = Encodings(2 * ONE)
    made(encodings, "a")
    made(encodings, "b")
    made(encodings, "a")
    made(encodings, "c")
    assert encodings.size == 2 * ONE
    assert [made(encodings, key) for key in ("a", "c", "b")] == [False, False, True]


def test_what_is_too_large_is_made_and_not_kept() -> None:
    encodings = Encodings(2 * ONE)
    assert made(encodings, "large", size=10_000)
    assert (encodings.size, len(encodings)) == (0, 0)
    assert made(encodings, "large", size=10_000)
