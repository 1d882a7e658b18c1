"""Stages in a row that take each document for itself, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime.core.mql.expressions.evaluation import told
from realtime.core.mql.expressions.outcomes import ExcessError, OutcomeError
from realtime.core.mql.expressions.scope import Bounds as ExpressionBounds
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.context import check_size, solid

Document = dict[str, Any]
Stage = dict[str, Any]
"""One stage as MongoDB takes it: an object with one field."""
Run = Callable[[Document, Scope], Sequence[Document]]
"""What a stage makes of a document: none, itself changed, or several. Expressions are evaluated in the scope."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage. `source`: as it is sent to MongoDB; `at`: where it stood.

    `paths`: what it reads. `sets`: the paths that it computes; `takes`: the paths that it takes out, or may leave
    without a value; `made`: names in objects that its expressions make which may be without one; `copies`: paths with
    dots that are a field of another name; `asks`: operators of a `$match` that tell null from missing. `closes`:
    nothing but what it reads, or shows, goes on behind it. `remakes`: there is another document behind it. `keeps`:
    whether `_id` is what it was. `cost`: steps for each document. `clean`: it has to read a document without places
    that are kept. `parts`: paths of which it shows only parts; `watched`: those of them that are read later.
    """

    name: str
    source: Stage
    run: Run
    at: str
    paths: frozenset[str] = frozenset()
    sets: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    copies: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    closes: bool = False
    remakes: bool = False
    keeps: bool = True
    grows: bool = False
    cost: int = 1
    holes: set[str] = field(default_factory=set)
    parts: frozenset[str] = frozenset()
    watched: set[str] = field(default_factory=set)
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Stages:
    """Stages in a row, each of which takes each document for itself. `kept`: places of what was taken out are kept.

    `named`: `_id` is the document's own, so an error may name it.
    """

    steps: tuple[Step, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    variables: int = 0
    kept: bool = False
    named: bool = True

    @property
    def empty(self) -> bool:
        """Whether a document stays as it is."""
        return not self.steps

    @property
    def unwinds(self) -> bool:
        """Whether there may be several of one document."""
        return any(step.name == "$unwind" for step in self.steps)

    @property
    def selects(self) -> bool:
        """Whether some documents may end here: by a `$match`, or because an array of `$unwind` is empty."""
        return any(step.name in {"$match", "$unwind"} for step in self.steps)

    @property
    def source(self) -> list[Stage]:
        """As they are sent to MongoDB."""
        return [step.source for step in self.steps]

    def run(self, document: Document) -> list[Document]:
        """What becomes of a document, in MongoDB's order. The document is not changed; parts of it may be shared.

        `ServiceError` where an expression has no value of it (`invalid_document`, `unsupported_value`), or where it
        becomes more than the bounds (`too_large`).
        """
        rows = [document]
        scope = Scope(document, self.variables, ExpressionBounds(steps=self.bounds.steps))
        try:
            for step in self.steps:
                rows = self._step(step, rows, scope)
        except OutcomeError as outcome:
            told(outcome, document if self.named else {})
        return list(map(solid, rows)) if self.kept else rows

    def _step(self, step: Step, rows: list[Document], scope: Scope) -> list[Document]:
        made: list[Document] = []
        for row in rows:
            scope.step(step.name, step.cost)
            scope.root = solid(row) if step.clean else row
            found = step.run(row, scope)
            if step.grows:
                check_size(step.name, found[0], self.bounds.bytes)
            made.extend(found)
            if len(made) > self.bounds.rows:
                raise ExcessError(step.name, f"makes more than {self.bounds.rows} rows of one document")
        return made


NO_STAGES = Stages()
