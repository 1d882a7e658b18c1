"""The collections that are configured: which are served, and what a Pydantic model says of their documents.

What a model makes of a document is what is stored: defaults land, values are coerced, unknown fields go the way of the
model's own `extra`. Only `_id` stays as it was given. An update is MongoDB's to apply, so its outcome is checked, and
stored as it is or not at all.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

from bson.binary import UUID_SUBTYPE, Binary
from bson.decimal128 import Decimal128
from pydantic import AliasChoices, BaseModel, ValidationError

from realtime.core.bson.values import MISSING, order
from realtime.core.wire.reserved_names import NAMESPACE_BYTES, refusal
from realtime.errors import ConfigurationError, UnsupportedCollectionError, ValidationFailedError

MAX_TOLD = 20
"""So many of a model's complaints are told."""
_KEY = "_id"


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection by name and, where its documents have a shape, the Pydantic model of it.

    `ConfigurationError` for a name that cannot be served, or a model that reads a field under one name and writes it
    under another.
    """

    name: str
    model: type[BaseModel] | None = None

    def __post_init__(self) -> None:
        reason = refusal(self.name)
        if reason is not None:
            raise ConfigurationError(
                f"{self.name!r} is no collection to serve ({reason}): name one of the application's own"
            )
        for name, told in (self.model.model_fields if self.model is not None else {}).items():
            read, written = _aliases(name, told.validation_alias), told.serialization_alias or name
            if written not in read:
                raise ConfigurationError(
                    f"{self.name}: the model writes {name} as {written!r} and does not read it so: give it one alias"
                )

    def stored(self, document: Mapping[str, Any], key: Any = MISSING) -> dict[str, Any]:
        """What the model makes of a document; `key` is the `_id` of one that does not say it.

        `ValidationFailedError` with `details.errors`: path and message of each.
        """
        if self.model is None:
            return dict(document)
        given = dict(document) if key is MISSING else {_KEY: key, **document}
        try:
            valid = self.model.model_validate(_read(self._shown(given)))
        except ValidationError as invalid:
            raise _refused(self.name, invalid) from None
        made = valid.model_dump(by_alias=True, round_trip=True)
        chosen = made.pop(_KEY, None)
        # The key as it was given: a model that has it as text must not make another key of it.
        head = {_KEY: given.get(_KEY, chosen)} if _KEY in given or chosen is not None else {}
        return {**head, **{name: _written(value, name) for name, value in made.items()}}

    def check_update(self, update: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """Refuse what an update has made of a document, where the model would have stored something else."""
        if self.model is None:
            return
        made = self.stored(document)
        for path in _touched(update):
            said = _at(document, path)
            if said is not MISSING and not _kept(said, _at(made, path)):
                raise ValidationFailedError(
                    f"{path}: {self.name} stores another value, or no such field: send it as the model has it",
                    details={"errors": [{"path": path, "message": "is not as the model would store it"}]},
                )

    def _shown(self, document: dict[str, Any]) -> dict[str, Any]:
        """Without `_id`, where the model knows of none: every document has one, and no model must refuse it."""
        fields = self.model.model_fields if self.model is not None else {}
        if any(_KEY in _aliases(name, told.validation_alias) for name, told in fields.items()):
            return document
        return {name: value for name, value in document.items() if name != _KEY}


@dataclass(frozen=True, slots=True)
class Collections:
    """What is configured; `others` says whether collections that are not named here are served too.

    `longest` is how many bytes of UTF-8 a name may have, which depends on the name of the database.
    """

    known: Mapping[str, Collection] = field(default_factory=dict)
    others: bool = True
    longest: int = NAMESPACE_BYTES

    @classmethod
    def of(
        cls, collections: Iterable[Collection], names: Iterable[str] = (), *, others: bool = False, database: str = ""
    ) -> Collections:
        """Those given, and those named alone, of `database`. Without any, everything is served."""
        known = {name: Collection(name) for name in names}
        for one in collections:
            if known.get(one.name, one).model not in {None, one.model}:
                raise ConfigurationError(f"{one.name} is given twice, with two models: give it one")
            known[one.name] = one
        return cls(known, others or not known, NAMESPACE_BYTES - len(f"{database}.".encode()))

    @property
    def names(self) -> frozenset[str] | None:
        """Those that are served; None for all."""
        return None if self.others else frozenset(self.known)

    def serves(self, name: str) -> bool:
        """Whether this collection may be asked for."""
        return self.others or name in self.known

    def check(self, name: str) -> None:
        """`UnsupportedCollectionError` for a collection that is not served."""
        size = len(name.encode())
        if size > self.longest:
            raise UnsupportedCollectionError(
                f"collection {name!r} is not to be had: in this database a name has at most {self.longest} bytes, "
                f"this one has {size}",
                details={"collection": name},
            )
        if not self.serves(name):
            raise UnsupportedCollectionError(
                f"collection {name!r} is not served here: add it to REALTIME_COLLECTIONS or to the application's "
                "Realtime(collections=[…])",
                details={"collection": name},
            )

    def model_of(self, name: str) -> Collection | None:
        """The collection where it has a model."""
        found = self.known.get(name)
        return found if found is not None and found.model is not None else None


# ------------------------------------------------------------------------------------------------------------- inside

_UUID_BYTES = 16


def _aliases(name: str, alias: Any) -> set[str]:
    """The names under which a field is read."""
    choices = alias.choices if isinstance(alias, AliasChoices) else [name if alias is None else alias]
    return {choice for choice in choices if isinstance(choice, str)}


def _refused(collection: str, invalid: ValidationError) -> ValidationFailedError:
    found = invalid.errors(include_url=False, include_context=False, include_input=False)
    told = [{"path": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in found[:MAX_TOLD]]
    first = told[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    where = f"{first['path']}: " if first["path"] else ""
    return ValidationFailedError(
        f"{where}{first['message']} (by the model of {collection}{more})", details={"errors": told}
    )


def _read(value: Any) -> Any:
    """BSON as a model expects it: decimals and UUIDs are Python's."""
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == _UUID_BYTES:
        return uuid.UUID(bytes=bytes(value))
    if isinstance(value, dict):
        return {name: _read(inner) for name, inner in value.items()}
    return [_read(inner) for inner in value] if isinstance(value, list) else value


def _written(value: Any, path: str) -> Any:
    """What a model gives, as BSON has it."""
    if isinstance(value, Enum):
        return _written(value.value, path)
    if isinstance(value, Decimal):
        try:
            return Decimal128(value)
        except ArithmeticError:
            message = "a decimal has at most 34 digits"
            raise ValidationFailedError(
                f"{path}: {message}", details={"errors": [{"path": path, "message": message}]}
            ) from None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time(), dt.UTC)
    if isinstance(value, Mapping):
        return {str(_written(name, path)): _written(inner, f"{path}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_written(inner, f"{path}.{index}") for index, inner in enumerate(value)]
    return value


def _touched(update: Mapping[str, Any]) -> Iterator[str]:
    """The paths that an update may have written."""
    for operator, fields in update.items():
        for path, operand in fields.items():
            yield operand if operator == "$rename" else path


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(part, MISSING)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return MISSING
    return document


def _kept(said: Any, made: Any) -> bool:
    """Whether everything that was said is there, equal as MongoDB has it; what the model adds does not matter."""
    if isinstance(said, Mapping) and isinstance(made, Mapping):
        return all(_kept(inner, made.get(name, MISSING)) for name, inner in said.items())
    if isinstance(said, list) and isinstance(made, list):
        return len(said) == len(made) and all(map(_kept, said, made))
    return made is not MISSING and order(said) == order(made)
