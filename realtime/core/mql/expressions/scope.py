"""One document while an expression is evaluated: its variables, what it may still cost, and how its paths are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson.stored import Broken, BrokenSymbol, Symbol, utf8
from realtime.core.bson.values import MISSING, binary_of
from realtime.core.mql.expressions.outcomes import ExcessError


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large an expression may be, and what it may take for one document."""

    nodes: int = 500
    depth: int = 40
    loops: int = 2
    steps: int = 10_000
    bytes: int = 1024 * 1024
    elements: int = 10_000
    """Of a `$range`."""


class Scope:
    """One document while an expression is evaluated: its variables by number, and the steps that are left."""

    __slots__ = ("bytes", "root", "steps", "variables")

    def __init__(self, root: Any, variables: int, bounds: Bounds) -> None:
        self.root = root
        self.variables: list[Any] = [MISSING] * variables
        self.steps = bounds.steps
        self.bytes = bounds.bytes

    def step(self, operator: str, steps: int) -> None:
        """Count steps; `ExcessError` over the bound."""
        self.steps -= steps
        if self.steps < 0:
            raise ExcessError(operator, "takes more steps for one document than it may")

    def read(self, operator: str, value: Any) -> Any:
        """A value that was there: counted as what is made, however often it is read, and not bounded itself."""
        size = len(value) if type(value) is str else weight(value, self.steps << 10)
        if size > 1024:
            self.step(operator, size // 1024)
        return value

    def made(self, operator: str, value: Any) -> Any:
        """A value that was put together: bounded in bytes, and counted, one step for each KiB."""
        size = weight(value, self.bytes)
        if size > self.bytes:
            raise ExcessError(operator, f"makes a value of more than {self.bytes} bytes")
        if size > 1024:
            self.step(operator, size // 1024)
        return value


def weight(value: Any, most: int) -> int:
    """About how many bytes a value has as BSON; looked at no further than `most`."""
    kind = type(value)
    if kind is str:
        return 8 + (len(value) if value.isascii() else len(utf8(value)))
    if kind is list or isinstance(value, dict):
        size = 8
        for inner in value if kind is list else value.values():
            size += 20 if type(inner) in _SMALL else 4 + weight(inner, most)
            if size > most:
                break
        return size
    if kind in {Symbol, Broken, BrokenSymbol}:
        return 8 + len(utf8(value))
    return 8 + len(binary_of(value)[1]) if isinstance(value, bytes) else 16


Evaluate = Callable[[Scope], Any]


# ------------------------------------------------------------------------------------------------------------- reading


def reading_document(parts: tuple[str, ...]) -> Evaluate:
    """A path of the document; without one, the document."""
    said = f"${'.'.join(parts)}" if parts else "$$ROOT"
    if not parts:
        return lambda scope: scope.read(said, scope.root)
    if len(parts) == 1:
        (name,) = parts

        def field(scope: Scope) -> Any:
            value = scope.root.get(name, MISSING)
            return value if type(value) in _SMALL else scope.read(said, value)

        return field
    return _reading(said, lambda scope: at(scope.root, parts, 0))


def reading_variable(name: str, slot: int, parts: tuple[str, ...]) -> Evaluate:
    """A variable, or a path into what it holds."""
    if not parts:
        return _reading(f"$${name}", lambda scope: scope.variables[slot])
    return _reading(f"$${name}", lambda scope: at(scope.variables[slot], parts, 0))


_SMALL = frozenset({int, float, bool, type(None), type(MISSING), Int64, Decimal128, ObjectId, Timestamp, dt.datetime})
"""Types whose values are nothing to read."""


def _reading(said: str, get: Evaluate) -> Evaluate:
    def read(scope: Scope) -> Any:
        value = get(scope)
        return value if type(value) in _SMALL else scope.read(said, value)

    return read


def at(node: Any, parts: tuple[str, ...], start: int) -> Any:
    """What is at a path, by the rules of expressions: through arrays by their objects, never by number."""
    for index in range(start, len(parts)):
        if type(node) is list:
            found = [at(one, parts, index) for one in node if isinstance(one, dict)]
            return [one for one in found if one is not MISSING]
        if not isinstance(node, dict) or parts[index] not in node:
            return MISSING
        node = node[parts[index]]
    return node
