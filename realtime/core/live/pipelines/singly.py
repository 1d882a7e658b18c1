"""Documents one by one, each as a pipeline makes it: it keeps its `_id`, and may be let go on the way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from realtime.core.bson import keys
from realtime.core.live.result import Documents, Encode
from realtime.core.mql.pipelines.pipeline import Pipeline
from realtime.core.mql.projection import Projection


class Singly(Documents):
    """What becomes of every document that matches, in no order."""

    __slots__ = ("_names", "_pipeline")

    def __init__(self, pipeline: Pipeline, projection: Projection) -> None:
        """`projection` is what is seen of a document before the first stage."""
        super().__init__(projection)
        self._pipeline = pipeline
        self._names: dict[str, None] = {}

    def means(self, pipeline: Pipeline, projection: Projection) -> None:
        """It is this now, before anything is put."""
        self._pipeline, self._projection = pipeline, projection

    def names(self) -> Collection[str]:
        """Those that match, shown or not: of each of them an update may show it."""
        return self._names

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """Make of it what it is now. `ServiceError` where an expression has no value of it."""
        made = self._pipeline.before.run(self._projection.apply(document))
        if made:
            self.hold(name, keys.shown(made[0]))
        else:
            super().drop(name)
        self._names[name] = None
        if self.watch is not None:
            self.watch.hold(name)

    def drop(self, name: str) -> None:
        """It does not match, or is gone."""
        super().drop(name)
        if name in self._names:
            del self._names[name]
            if self.watch is not None:
                self.watch.let_go(name)

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """What is made of a document that matches."""
        return name in self._names and self._projection.shows(touched) and self._pipeline.reads(touched)

    def reload(self) -> None:
        """Hold nothing."""
        for name in list(self._names):
            self.drop(name)
