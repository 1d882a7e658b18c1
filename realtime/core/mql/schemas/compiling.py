"""Compiles a schema: where it stands, what it states, and the registry of keywords.

A schema is about a field of an object, about an element, or about a whole object. To MongoDB the name of a field is a
path from the object around it, which explains what else would be odd: a name with dots is looked up through
sub-documents and arrays, by every keyword for itself; and to some versions an empty one leads nowhere, so that its
schema is about the whole object around it. `Site` is that place.

What each keyword means stands in objects.py, arrays.py, scalars.py and logic.py, which put themselves into `BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bson.dbref import DBRef

from realtime.core.mql.language import invalid, kind, unsupported
from realtime.core.mql.operators import Leaf, type_code
from realtime.core.mql.paths import Predicate, always, every, never
from realtime.core.mql.schemas.keywords import ALL_TYPES, ENCRYPTION, INSTEAD, JSON_TYPES, KEYWORDS, OBJECT

DEPTH: Final = 40
"""Of schemas in schemas."""


class Around(Protocol):
    """The filter that a schema stands in."""

    def count(self, here: str, several: int = 1) -> None:
        """Take note of so many more conditions at a place, within the bounds of the filter."""
        ...

    def says(self, field: str) -> Any:
        """What the dialect says; from then on the filter depends on it."""
        ...


Build = Callable[["Schema", Any, str], Predicate]
"""From the value of a keyword and its place."""

BUILDERS: Final[dict[str, Build]] = {}


def keyword(name: str) -> Callable[[Build], Build]:
    """Put in a keyword."""

    def put(build: Build) -> Build:
        BUILDERS[name] = build
        return build

    return put


@dataclass(frozen=True, slots=True)
class Site:
    """What a schema is about, as seen from what its test is handed.

    `whole`: the object that is handed, of which no keyword but those about objects says anything; `reads` takes the
    paths that are read, where that object is the document. Else `path` leads from the object that is handed to what
    the schema is about; None: it is about the very value that is handed.
    """

    whole: bool = False
    path: str | None = None
    reads: set[str] | None = None

    def leaf(self, predicate: Predicate, *, enter: bool = False) -> Predicate:
        """Whether a value there meets a predicate; `enter`: on a path, also an element of a last array."""
        return predicate if self.path is None else Leaf(predicate, enter).at(self.path)

    def read(self, path: str) -> None:
        """Take note of a path; one inside of a field is covered by that of the field."""
        if self.reads is not None:
            self.reads.add(path)


VALUE: Final = Site()


class Schema:
    """One schema at its site."""

    def __init__(self, source: Any, here: str, site: Site, around: Around, level: int = 0) -> None:
        if level > DEPTH:
            invalid(here, f"schemas nested deeper than {DEPTH}")
        self.source = as_object(source, here)
        self.here = here
        self.site = site
        self.around = around
        self.level = level
        self.stated: frozenset[int] | None = None
        """The one type that the schema states: keywords about it, and about others, are asked in another way then."""

    def compiled(self) -> Predicate:
        """All of its keywords; the types first, on which others depend."""
        parts = [self.types()]
        for name, value in self.source.items():
            here = f"{self.here}.{name}"
            self.around.count(here)
            if name in BUILDERS:
                parts.append(BUILDERS[name](self, value, here))
            elif name not in _TYPES:
                _refuse(name, here)
        return every([part for part in parts if part is not always])

    def nested(self, source: Any, here: str, site: Site) -> Predicate:
        """A schema inside of this one."""
        return Schema(source, here, site, self.around, self.level + 1).compiled()

    # ---------------------------------------------------------------------------------------------------- types

    def types(self) -> Predicate:
        names = [name for name in _TYPES if name in self.source]
        if not names:
            return always
        if len(names) > 1:
            invalid(self.here, "type and bsonType do not stand side by side: use bsonType alone")
        codes = self.codes(names[0], self.source[names[0]], f"{self.here}.{names[0]}")
        if self.site.whole:
            return always if codes & OBJECT else never
        return self.site.leaf(lambda value: type_code(value) in codes)

    def codes(self, name: str, operand: Any, here: str) -> frozenset[int]:
        """MongoDB's numbers of the types that a schema takes."""
        known = _TYPES[name]
        several = operand if isinstance(operand, list) else [operand]
        for one in several:
            if type(one) is not str:
                invalid(here, f"{name} takes the name of a type or a list of names, not {kind(one)}")
            if one not in known:
                instead = "; use bsonType" if one in ALL_TYPES or one == "integer" else ""
                invalid(here, f"{name} knows no {one!r}, but {', '.join(sorted(known))}{instead}")
        if not several or len(set(several)) < len(several):
            invalid(here, f"{name} takes at least one type, and each once")
        if len(several) == 1:
            self.stated = known[several[0]]
        return frozenset[int]().union(*(known[one] for one in several))

    def restricted(self, codes: frozenset[int], predicate: Predicate, *, enter: bool = False) -> Predicate:
        """A keyword that says nothing of values of other types than these."""
        return self.unless_other(codes, self.site.leaf(predicate, enter=enter))

    def unless_other(self, codes: frozenset[int], test: Predicate) -> Predicate:
        """The same of a test of what is handed. Of a whole object only keywords about objects say anything."""
        if self.site.whole:
            return always
        if self.stated is not None:
            return test if self.stated & codes else always
        if self.site.path is None:
            return lambda value: type_code(value) not in codes or test(value)
        typed = self.site.leaf(lambda value: type_code(value) in codes)
        return lambda around: not typed(around) or test(around)

    # ------------------------------------------------------------------------------------------------- operands

    def members(self, value: Any, here: str) -> Iterator[tuple[str, Any, str]]:
        """What stands in an object by names, counted, each with its place."""
        for name, inner in as_object(value, here).items():
            place = f"{here}.{name}"
            self.around.count(place)
            yield name, inner, place

    def names(self, value: Any, here: str) -> list[str]:
        """A list of names, counted."""
        if not isinstance(value, list) or not value or any(type(name) is not str for name in value):
            invalid(here, "takes a list of at least one name")
        if len(set(value)) < len(value):
            invalid(here, "takes each name once")
        self.around.count(here, len(value))
        return value

    def rest(self, name: str) -> Predicate:
        """What `additionalProperties` or `additionalItems` says of one of the rest."""
        here, value = f"{self.here}.{name}", self.source.get(name, True)
        if type(value) is bool:
            return always if value else never
        if not is_object(value):
            invalid(here, f"{name} takes true, false or a schema, not {kind(value)}")
        return self.nested(value, here, VALUE)


_TYPES: Final = {"type": JSON_TYPES, "bsonType": ALL_TYPES}


def is_object(value: Any) -> bool:
    """An object, also one that looks like a reference."""
    return isinstance(value, dict | DBRef)


def as_object(value: Any, here: str) -> dict[str, Any]:
    """An object's fields."""
    if isinstance(value, DBRef):
        return dict(value.as_doc())
    if not isinstance(value, dict):
        invalid(here, f"takes an object, not {kind(value)}")
    return value


def boolean(value: Any, here: str) -> bool:
    """True or false."""
    if type(value) is not bool:
        invalid(here, f"takes true or false, not {kind(value)}")
    return value


def text(value: Any, here: str) -> str:
    """A string."""
    if type(value) is not str:
        invalid(here, f"takes a string, not {kind(value)}")
    return value


def _refuse(name: str, here: str) -> None:
    if name in ENCRYPTION:
        unsupported(name, here, ENCRYPTION[name])
    instead = INSTEAD.get(name, f"what there is: {', '.join(sorted(KEYWORDS))}")
    invalid(here, f"$jsonSchema of MongoDB has no {name}: {instead}")
