"""The documents of a view, by the text of their key, and in their order where the query has one. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from realtime.client.records import Change, Document
from realtime.core.bson.ejson import decode, encode


def text_of(key: Any) -> str:
    """What a key is known by: its Extended JSON, which is the same for the same value."""
    return encode(key).decode()


def key_of(name: str, document: Document) -> Any:
    """The key that a document is held under; a row of `$count` does not show it."""
    return document["_id"] if "_id" in document else decode(name)


_ORDERED, _UNORDERED = frozenset({"$sort", "$sortByCount"}), frozenset({"$group", "$bucket", "$count"})


def is_ordered(asked: Mapping[str, Any]) -> bool:
    """Whether the documents of what was asked have an order: by `sort` or `limit`, or by a pipeline's last sort."""
    names = [next(iter(stage), "") for stage in asked.get("pipeline", ()) if isinstance(stage, Mapping)]
    ordering = [name for name in names if name in _ORDERED | _UNORDERED]
    return "sort" in asked or "limit" in asked or bool(ordering and ordering[-1] in _ORDERED)


class Rows:
    """Documents as they are at one position. `order` is None for a query without `sort` and `limit`."""

    def __init__(self, documents: Iterable[Document] = (), *, ordered: bool = False) -> None:
        self.documents: dict[str, Document] = {text_of(document["_id"]): document for document in documents}
        self.order: list[str] | None = list(self.documents) if ordered else None

    def copy(self) -> Rows:
        """The same documents in tables of their own."""
        twin = Rows()
        twin.documents = dict(self.documents)
        twin.order = None if self.order is None else list(self.order)
        return twin

    def shown(self) -> list[Document]:
        """The documents, in order."""
        return [self.documents[name] for name in (self.documents if self.order is None else self.order)]

    def put(self, documents: Sequence[Document], keys: Sequence[Any] | None = None) -> None:
        """More documents of a snapshot, after those that are there; `keys` where they do not show them."""
        named = [document["_id"] for document in documents] if keys is None else keys
        for key, document in zip(named, documents, strict=True):
            name = text_of(key)
            if self.order is not None and name not in self.documents:
                self.order.append(name)
            self.documents[name] = document

    def apply(self, changes: Iterable[Change]) -> tuple[Change, ...]:
        """Take one moment, whole (PROTOCOL 4.1). What it changed: an update of what was not held is an `enter`,
        a leave of what was not held, or an update to what was there already, is nothing."""
        named = {text_of(change.key): change for change in changes}
        told = [
            change
            for name, change in named.items()
            if change.op == "leave" and self.documents.pop(name, None) is not None
        ]
        if self.order is not None and named:
            self.order = [name for name in self.order if name not in named]
        for name, change in named.items():
            if change.op != "leave":
                told += self._place(name, change)
        return tuple(told)

    def _place(self, name: str, change: Change) -> list[Change]:
        document = change.document or {}
        before = self.documents.get(name)
        self.documents[name] = document
        index = None
        if self.order is not None:
            index = len(self.order) if change.index is None else change.index
            self.order.insert(index, name)
        if before is None:
            return [Change("enter", change.key, document, index)]
        if index is None and _equal(before, document):
            return []
        return [Change("update", change.key, document, index)]

    def changes_to(self, new: Rows) -> tuple[Change, ...]:
        """The moment that makes this `new`: every document that differs, entered, left or moved, and no other."""
        leaves = [
            Change("leave", key_of(name, document))
            for name, document in self.documents.items()
            if name not in new.documents
        ]
        same = {
            name
            for name, document in new.documents.items()
            if name in self.documents and _equal(self.documents[name], document)
        }
        if new.order is not None and self.order is not None:
            same = _staying([name for name in self.order if name in same], new.order)
        puts = []
        for place, name in enumerate(new.documents if new.order is None else new.order):
            if name not in same:
                document = new.documents[name]
                index = None if new.order is None else place
                op = "update" if name in self.documents else "enter"
                puts.append(Change(op, key_of(name, document), document, index))  # type: ignore[arg-type]  # reason: one of two words
        return (*leaves, *puts)


def _equal(one: Document, other: Document) -> bool:
    # The text decides, because Python calls values equal (1, 1.0, True) that are not the same document.
    return one is other or (one == other and encode(one) == encode(other))


def _staying(old: list[str], new: list[str]) -> set[str]:
    """As many names as can stay where they are: a longest rising run of old places, in the new order."""
    places = {name: place for place, name in enumerate(old)}
    names = [name for name in new if name in places]
    ends: list[int] = []
    last: list[str] = []
    before: dict[str, str | None] = {}
    for name in names:
        at = bisect_left(ends, places[name])
        ends[at : at + 1] = [places[name]]
        last[at : at + 1] = [name]
        before[name] = last[at - 1] if at else None
    staying: set[str] = set()
    name_or_none = last[-1] if last else None
    while name_or_none is not None:
        staying.add(name_or_none)
        name_or_none = before[name_or_none]
    return staying
