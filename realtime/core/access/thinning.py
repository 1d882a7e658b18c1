"""Of what happens again and again, by the same reason and from the same place: so many a window, then how many more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST_ALIKE, WINDOW_SECONDS = 100, 10.0
"""So many of a kind are written of each window, and after it one line with the number of the others."""
MOST_KINDS = 10_000
"""That are told apart at a time; the others of a reason are one kind, of no place."""


@dataclass(slots=True)
class _Window:
    began: float
    seen: int = 0


class Thinning:
    """Kinds by reason and place, each with its window. Times of one clock. The first of a kind is always taken."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str | None], _Window] = {}

    def takes(self, reason: str, place: str | None, now: float) -> bool:
        """Whether one more is to be written; what `over` gives is to be written before."""
        kind = reason, place
        if kind not in self._windows and len(self._windows) >= MOST_KINDS:
            kind = reason, None
        window = self._windows.setdefault(kind, _Window(now))
        window.seen += 1
        return window.seen <= MOST_ALIKE

    def over(self, now: float) -> Iterator[tuple[str, str | None, int]]:
        """The windows that are over: reason, place, and how many were not written, of those of which any was not."""
        while self._windows:
            (reason, place), window = next(iter(self._windows.items()))
            if now - window.began < WINDOW_SECONDS:
                return
            del self._windows[reason, place]
            if window.seen > MOST_ALIKE:
                yield reason, place, window.seen - MOST_ALIKE
