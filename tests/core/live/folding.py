"""A client's view of a query, folded by the rule of PROTOCOL 4.1, and strict about what it is told."""

from __future__ import annotations

from typing import Any

import orjson


class Folded:
    """Documents by the text of their key, in the order of the view; `ordered`: every put has an index."""

    def __init__(self, documents: list[bytes], *, ordered: bool) -> None:
        self.ordered = ordered
        self.view: list[tuple[str, Any]] = []
        self.named = 0
        for encoded in documents:
            document = orjson.loads(encoded)
            self.view.append((orjson.dumps(document["_id"]).decode(), document))

    @property
    def documents(self) -> list[Any]:
        """The view, in order where it has one."""
        return [document for _, document in self.view]

    def take(self, entries: list[bytes]) -> None:
        """One moment."""
        changes = [orjson.loads(entry) for entry in entries]
        keys = [orjson.dumps(change["key"]).decode() for change in changes]
        assert len(set(keys)) == len(keys), "a document is named once in a moment"
        self.named += len(keys)
        held = dict(self.view)
        puts = [change for change in changes if change["op"] != "leave"]
        assert changes[: len(changes) - len(puts)] == [change for change in changes if change["op"] == "leave"]
        for key, change in zip(keys, changes, strict=True):
            assert (key in held) is (change["op"] != "enter"), change
            # By their texts: to Python 1 and 1.0 are the same.
            shown, before = (orjson.dumps(one) for one in (change.get("document"), held.get(key)))
            assert shown != before or self.ordered, "a change that changes nothing"
        named = set(keys)
        self.view = [(key, document) for key, document in self.view if key not in named]
        indexes = [change["index"] for change in puts] if self.ordered else [len(self.view) for _ in puts]
        assert indexes == sorted(indexes)
        for index, key, change in zip(indexes, keys[len(keys) - len(puts) :], puts, strict=True):
            assert ("index" in change) is self.ordered
            assert index <= len(self.view), "a place that is not there yet"
            self.view.insert(index if self.ordered else len(self.view), (key, change["document"]))
