"""What several who resume are told alike, encoded once; bounded in bytes, the longest unused goes first.

A key must name everything that the bytes depend on: nothing here is ever out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

LIST_BYTES = 100
ENTRY_BYTES = 50
"""What a list, and each of its entries, costs beside its bytes."""


class Encodings:
    """Lists of encoded changes or events by key, `max_bytes` of them at most."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._lists: dict[Hashable, tuple[list[bytes], int]] = {}

    def __len__(self) -> int:
        return len(self._lists)

    def get(self, key: Hashable, make: Callable[[], list[bytes]]) -> list[bytes]:
        """What is kept under `key`, made first where it is not; too large a list is made and not kept."""
        found = self._lists.pop(key, None)
        if found is None:
            made = make()
            found = made, LIST_BYTES + sum(ENTRY_BYTES + len(one) for one in made)
            self.size += found[1]
        self._lists[key] = found
        while self.size > self.max_bytes:
            oldest = next(iter(self._lists))
            self.size -= self._lists.pop(oldest)[1]
        return found[0]
