"""What a query is sorted by: the pattern, checked and completed, and each document's place by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from realtime.core.mql.paths import overlaps, stem
from realtime.core.mql.sorting import SortKey, UnsortableError, compile_sort
from realtime.errors import InvalidRequestError

MAX_KEYS = 32
Pairs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort. `pairs` end with `_id` where it was not named, so no two documents have one place.

    `place(document)` raises `InvalidRequestError` where MongoDB refuses to sort: two keys in different arrays.
    """

    pairs: Pairs
    place: Callable[[dict[str, Any]], SortKey]

    @property
    def source(self) -> dict[str, int]:
        """As `find` takes it."""
        return dict(self.pairs)

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change a document's place, by prefix both ways."""
        stems = {stem(path) for path in touched}
        return any(overlaps(stem(path), other) for path, _ in self.pairs for other in stems)


def parse_sort(source: Any) -> Sort:
    """Take a list of [path, 1 or -1], or an object; None sorts by `_id`. `InvalidRequestError` names the path."""
    pairs = list(source.items()) if isinstance(source, dict) else [] if source is None else source
    if not isinstance(pairs, list):
        _invalid("", "a list of [path, 1 or -1]")
    keys: dict[str, int] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            _invalid("", "each key is [path, 1 or -1]")
        path, direction = pair
        if not path or path[0] == "$" or "\0" in path or ".$" in path or ".." in f".{path}.":
            _invalid(path, "no path that can be sorted by")
        if path in keys:
            _invalid(path, "stands twice")
        if isinstance(direction, bool) or not isinstance(direction, int | float) or direction not in (1, -1):
            _invalid(path, "the direction is 1 or -1")
        keys[path] = int(direction)
    keys.setdefault("_id", 1)
    if len(keys) > MAX_KEYS:
        _invalid("", f"at most {MAX_KEYS} keys, _id among them")
    return Sort(tuple(keys.items()), _placer(tuple(keys.items())))


def _placer(pairs: Pairs) -> Callable[[dict[str, Any]], SortKey]:
    key = compile_sort(pairs)

    def place(document: dict[str, Any]) -> SortKey:
        try:
            return key(document)
        except UnsortableError as error:
            raise unsortable(str(error)) from None

    return place


def unsortable(reason: str) -> InvalidRequestError:
    """What answers a sort that a document which matches does not go with, whoever finds it: this code or MongoDB's."""
    return InvalidRequestError(
        f"sort: MongoDB cannot sort a document that matches ({reason}): sort by one of the arrays, or by another path",
        details={"field": "sort"},
    )


def _invalid(path: str, reason: str) -> NoReturn:
    raise InvalidRequestError(f"sort: {reason} (at {path or 'the top'})", details={"field": "sort", "path": path})
