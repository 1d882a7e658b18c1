"""Which fields of documents are shown: all but those hidden, or those named; and what several such show together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from realtime.core.mql.paths import overlaps, stem
from realtime.core.mql.projection import compile_projection

KEY = "_id"


class Cut:
    """Which fields are shown: all but those hidden, or those named and `_id`.

    Raises `InvalidRequestError` for what is no list of paths of a projection.
    """

    __slots__ = ("apply", "hide", "projection", "show")

    def __init__(self, hide: Iterable[str] = (), show: Iterable[str] | None = None) -> None:
        self.hide = tuple(sorted(set(hide)))
        self.show = None if show is None else tuple(sorted({*show} - {KEY}))
        self.projection = compile_projection(self._source())
        self.apply: Callable[[dict[str, Any]], dict[str, Any]] = self.projection.apply

    def _source(self) -> dict[str, int]:
        if self.show is None:
            return dict.fromkeys(self.hide, 0)
        return dict.fromkeys((KEY, *self.show), 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cut) and (self.hide, self.show) == (other.hide, other.show)

    def __hash__(self) -> int:
        return hash((self.hide, self.show))

    def __repr__(self) -> str:
        return f"Cut(hide={self.hide!r}, show={self.show!r})"

    @property
    def whole(self) -> bool:
        """Whether nothing is cut."""
        return self.show is None and not self.hide

    def shows(self, path: str) -> bool:
        """Whether all that is found by this path is shown, as it would be found in the document that is cut."""
        path = _reach(path)
        if self.whole or path == KEY or path.startswith(f"{KEY}."):
            return True
        if self.show is None:
            return not any(overlaps(stem(path), hidden) for hidden in self.hide)
        # Not by its stem: an array loses what is no object, and a number would count other elements.
        return any(path == shown or path.startswith(f"{shown}.") for shown in self.show)

    def sorts(self, path: str) -> bool:
        """Whether documents may be sorted by it. Not by a part of a field of which only parts are shown.

        An element of an array that is no object sorts as null, before what the others have; and the cut lets it go.
        """
        return self.shows(path) and (self.show is None or _reach(path).split(".")[0] in {KEY, *self.show})


def _reach(path: str) -> str:
    """The path up to a component without a name: at an array MongoDB takes `a.` for `a`."""
    first, *rest = path.split(".")
    return ".".join([first, *rest[: rest.index("")]]) if "" in rest else path


ALL_FIELDS = Cut()
"""One for all that hide nothing."""


# --------------------------------------------------------------------------------------------------------- several

_Tree = dict[str, Any]
_Part = tuple[_Tree, bool]
"""A part of a cut: what it says of names, True for the whole field, and whether other names are shown."""


def united(document: dict[str, Any], cuts: Sequence[Cut]) -> dict[str, Any]:
    """The document with each field that one of the cuts shows."""
    if any(cut.whole for cut in cuts):
        return document
    if len(cuts) == 1:
        return cuts[0].apply(document)
    return _fields(document, [_part(cut) for cut in cuts])


def _part(cut: Cut) -> _Part:
    hides = cut.show is None
    tree: _Tree = {}
    for path in cut.hide if cut.show is None else (KEY, *cut.show):
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = True
    return tree, hides


def _fields(document: dict[str, Any], parts: list[_Part]) -> dict[str, Any]:
    shown = {}
    for name, value in document.items():
        below: list[_Part] = []
        whole = False
        for tree, hides in parts:
            said = tree.get(name)
            if said is None or said is True:
                whole = whole or hides is (said is None)
            else:
                below.append((said, hides))
        if whole:
            shown[name] = value
        elif below and (isinstance(value, dict | list) or any(hides for _, hides in below)):
            shown[name] = _value(value, below)
    return shown


def _value(value: Any, parts: list[_Part]) -> Any:
    """A value of which some parts are shown, or all where it has no parts."""
    if isinstance(value, dict):
        return _fields(value, parts)
    if isinstance(value, list):
        keeps = any(hides for _, hides in parts)
        return [_value(inner, parts) for inner in value if keeps or isinstance(inner, dict | list)]
    return value
