"""An expression for whoever uses one: compiled, evaluated for documents, and its outcomes as rows of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from realtime.core.bson import ejson, keys
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions import (
    accumulators,
    arithmetic,
    arrays,
    booleans,
    comparison,
    conditional,
    datemath,
    dates,
    loops,
    objects,
    powers,
    regexes,
    sets,
    sorting,
    stamps,
    strings,
    trigonometry,
    types,
    variables,
)
from realtime.core.mql.expressions.compiling import Compiler
from realtime.core.mql.expressions.outcomes import ExcessError, FailureError, OutcomeError
from realtime.core.mql.expressions.scope import Bounds, Scope
from realtime.core.mql.expressions.timezones import NO_NAMES, NO_ZONES, Named, Zones
from realtime.errors import InvalidDocumentError, ServiceError, TooLargeError, UnsupportedValueError

__all__ = ["NO_NAMES", "NO_ZONES", "Expression", "Named", "Zones", "compile_expression"]

HEADINGS = (
    arithmetic,
    powers,
    arrays,
    booleans,
    comparison,
    conditional,
    objects,
    sets,
    trigonometry,
    variables,
    accumulators,
    loops,
    sorting,
    stamps,
    strings,
    types,
    dates,
    datemath,
    regexes,
)
"""The files of operators, each of which has put its own into the registry."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `value(document)` raises `ServiceError` where there is none.

    `paths`: what it reads; `asks`: the fields of the dialect that decide what it means; `zones`: time zones whose
    offsets it needs, and the path at which each is named.
    """

    source: Any
    value: Callable[[Mapping[str, Any]], Any]
    paths: frozenset[str]
    asks: frozenset[str]
    zones: Named


def compile_expression(
    source: Any,
    here: str = "$expr",
    dialect: Dialect = NEWEST,
    bounds: Bounds | None = None,
    tables: Zones = NO_ZONES,
) -> Expression:
    """Compile an expression that stands at this place. `InvalidFilterError`, `UnsupportedOperatorError` name it."""
    compiler = Compiler(dialect, bounds or Bounds(), tables)
    node = compiler.compile(source, here)
    evaluate, variables_, most = node.evaluate, compiler.variables, compiler.bounds

    def value(document: Mapping[str, Any]) -> Any:
        try:
            return evaluate(Scope(document, variables_, most))
        except OutcomeError as outcome:
            told(outcome, document)

    return Expression(source, value, frozenset(compiler.paths), frozenset(compiler.asks), compiler.zones)


def told(outcome: OutcomeError, document: Mapping[str, Any]) -> NoReturn:
    """Raise what the outcome is on the wire, with the document's key and the operator."""
    details: dict[str, Any] = {"operator": outcome.operator}
    if "_id" in document:
        details["key"] = ejson.plain(keys.shown_key(document["_id"]))
    raise _row(outcome, details) from None


def _row(outcome: OutcomeError, details: dict[str, Any]) -> ServiceError:
    said = f"{outcome.operator}: {outcome.reason}"
    if isinstance(outcome, FailureError):
        return InvalidDocumentError(
            f"a document of the collection makes the expression fail ({said}): give it another value there, for "
            'instance by {"$convert": {…, "onError": …}}, $ifNull or $cond',
            details=details,
        )
    if isinstance(outcome, ExcessError):
        return TooLargeError(f"an expression is over its bounds for a document ({said})", details=details)
    return UnsupportedValueError(
        f"a document of the collection has a value of which it is not certain what MongoDB makes ({said})",
        details=details,
    )
