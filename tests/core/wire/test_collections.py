"""What is configured of collections, and what a model makes of their documents."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field

from realtime.core.wire.collections import MAX_TOLD, Collection, Collections
from realtime.core.wire.reserved_names import refusal
from realtime.errors import ConfigurationError, UnsupportedCollectionError, ValidationFailedError

DAY = dt.date(2026, 11, 22)
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


class State(Enum):
    OPEN = "open"
    PAID = "paid"


class Line(BaseModel):
    name: str
    count: int = 1


class Order(BaseModel):
    """Fields of every kind, none of the key."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    state: State = State.OPEN
    total: Decimal = Decimal(0)
    placed: dt.datetime = NOON
    due: dt.date | None = None
    tags: set[str] = Field(default_factory=set)
    lines: list[Line] = Field(default_factory=list)
    customer: ObjectId | None = None
    by_day: dict[dt.date | int, int] = Field(default_factory=dict)
    note: str = Field("", alias="remark")

    @computed_field  # type: ignore[prop-decorator]  # reason: Pydantic's own way
    @property
    def pieces(self) -> int:
        return sum(line.count for line in self.lines)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    total: int


class Keyed(BaseModel):
    """The key as text, as many write it."""

    id: Annotated[str | None, Field(alias="_id", coerce_numbers_to_str=True)] = None
    total: int = 0


ORDERS, STRICT, KEYED = Collection("orders", Order), Collection("strict", Strict), Collection("keyed", Keyed)
KEY = ObjectId("6579f0c2a1b2c3d4e5f60718")


def errors(refused: pytest.ExceptionInfo[ValidationFailedError]) -> list[dict[str, str]]:
    assert refused.value.code == "validation_failed"
    assert refused.value.details is not None
    found: list[dict[str, str]] = refused.value.details["errors"]
    return found


# ---------------------------------------------------------------------------------------------------- what is stored


def test_what_the_model_makes_is_stored_as_bson_has_it() -> None:
    made = ORDERS.stored(
        {
            "_id": KEY,
            "state": "paid",
            "total": Decimal128("12.50"),
            "placed": "2026-11-22T12:00:00Z",
            "due": "2026-11-22",
            "tags": ["a"],
            "lines": [{"name": "x", "count": Int64(2)}],
            "customer": KEY,
            "by_day": {"7": 1},
            "remark": "soon",
            "unknown": 1,
        }
    )
    assert made == {
        "_id": KEY,
        "state": "paid",
        "total": Decimal128("12.50"),
        "placed": NOON,
        "due": dt.datetime(2026, 11, 22, tzinfo=dt.UTC),
        "tags": ["a"],
        "lines": [{"name": "x", "count": 2}],
        "customer": KEY,
        "by_day": {"7": 1},
        "remark": "soon",
    }
    assert next(iter(made)) == "_id"
    assert ORDERS.stored(made) == made, "what is stored is valid, and made into itself"


def test_a_uuid_is_pythons_for_a_model_and_binary_where_it_is_stored() -> None:
    class Told(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        told: Any
        known: uuid.UUID

    five = Binary(uuid.UUID(int=5).bytes, 4)
    made = Collection("told", Told).stored({"told": [five, Binary(b"12345", 4)], "known": five})
    assert made == {"told": [uuid.UUID(int=5), Binary(b"12345", 4)], "known": uuid.UUID(int=5)}


def test_defaults_land() -> None:
    made = ORDERS.stored({})
    assert (made["state"], made["total"], made["lines"], made["remark"]) == ("open", Decimal128("0"), [], "")
    assert "_id" not in made
    assert "pieces" not in made, "a computed field is no field of the document"


def test_a_collection_without_a_model_stores_what_it_is_given() -> None:
    assert Collection("any").stored({"a": Decimal128("1")}) == {"a": Decimal128("1")}
    Collection("any").check_update({"$set": {"a": 1}}, {"a": "x"})


@pytest.mark.parametrize("key", [KEY, "text", 7, None])
def test_the_key_stays_as_it_was_given(key: Any) -> None:
    assert STRICT.stored({"_id": key, "total": 1}) == {"_id": key, "total": 1}
    assert STRICT.stored({"total": 1}, key) == {"_id": key, "total": 1}
    if not isinstance(key, ObjectId):
        assert KEYED.stored({"_id": key}) == {"_id": key, "total": 0}


def test_a_key_that_the_model_makes_is_the_key_and_none_is_left_to_mongodb() -> None:
    class Own(BaseModel):
        id: str = Field("made", alias="_id")

    assert Collection("own", Own).stored({}) == {"_id": "made"}
    assert KEYED.stored({}) == {"total": 0}


# -------------------------------------------------------------------------------------------------------- what is not


def test_a_refusal_names_every_path() -> None:
    with pytest.raises(ValidationFailedError, match=r"state: .* \(by the model of orders, and 1 more\)") as no:
        ORDERS.stored({"lines": [{"name": "x", "count": "many"}], "state": "lost"})
    assert sorted(one["path"] for one in errors(no)) == ["lines.0.count", "state"]
    assert all(one["message"] for one in errors(no))
    with pytest.raises(ValidationFailedError, match="by the model of strict") as no:
        STRICT.stored({"_id": 1, "total": 1, "extra": 1})
    assert [one["path"] for one in errors(no)] == ["extra"]


def test_a_refusal_of_very_many_is_cut() -> None:
    with pytest.raises(ValidationFailedError, match="and 99 more") as no:
        ORDERS.stored({"lines": [{"name": 1}] * 100})
    assert len(errors(no)) == MAX_TOLD


def test_a_decimal_that_bson_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationFailedError, match="34 digits") as no:
        ORDERS.stored({"total": "1" * 50})
    assert [one["path"] for one in errors(no)] == ["total"]


# ------------------------------------------------------------------------------------------------------------ updates

GOOD = [
    ({"$set": {"state": "paid"}}, {"state": "paid"}),
    ({"$inc": {"total": 1}}, {"total": 1}),
    ({"$set": {"lines.0.count": 2}}, {"lines": [{"name": "x", "count": 2, "by another program": 1}]}),
    ({"$set": {"lines.0": {"count": 2, "name": "x"}}}, {"lines": [{"count": 2, "name": "x"}]}),
    ({"$push": {"lines": {"name": "x"}}}, {"lines": [{"name": "x"}]}),
    ({"$unset": {"state": True}}, {}),
    ({"$unset": {"lines.5.name": True}}, {"lines": []}),
    ({"$rename": {"old": "remark"}}, {"remark": "x"}),
    ({"$set": {"state": "paid"}}, {"state": "paid", "by another program": 1}),
]
BAD = [
    ({"$set": {"total": "12.5"}}, {"total": "12.5"}, "total"),
    ({"$set": {"state": "lost"}}, {"state": "lost"}, "state"),
    ({"$set": {"unknown": 1}}, {"unknown": 1}, "unknown"),
    ({"$rename": {"remark": "unknown"}}, {"unknown": 1}, "unknown"),
    ({"$set": {"lines.0.unknown": 1}}, {"lines": [{"name": "x", "unknown": 1}]}, "lines.0.unknown"),
    ({"$push": {"lines": {"name": "x", "a": 1}}}, {"lines": [{"name": "x", "a": 1}]}, "lines"),
    ({"$set": {"tags": ["a", "a"]}}, {"tags": ["a", "a"]}, "tags"),
    ({"$set": {"placed": "2026-11-22T12:00:00Z"}}, {"placed": "2026-11-22T12:00:00Z"}, "placed"),
    ({"$unset": {"lines.0.name": True}}, {"lines": [{"count": 1}]}, "lines.0.name"),
]


@pytest.mark.parametrize(("update", "document"), GOOD)
def test_an_update_to_what_the_model_would_store_passes(update: dict[str, Any], document: dict[str, Any]) -> None:
    ORDERS.check_update(update, {"_id": KEY, **document})


@pytest.mark.parametrize(("update", "document", "path"), BAD)
def test_an_update_to_anything_else_is_refused_by_path(
    update: dict[str, Any], document: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValidationFailedError) as no:
        ORDERS.check_update(update, {"_id": KEY, **document})
    assert [one["path"] for one in errors(no)] == [path]


# ------------------------------------------------------------------------------------------------------ what is served


def test_without_configuration_everything_is_served() -> None:
    assert Collections().names is None
    assert Collections.of([]).names is None
    Collections.of([]).check("anything")


def test_a_name_has_as_many_bytes_as_its_database_leaves() -> None:
    some = Collections.of([], database="shop")
    assert some.longest == 250
    some.check("é" * 125)
    with pytest.raises(UnsupportedCollectionError, match="at most 250 bytes, this one has 252"):
        some.check("é" * 126)


def test_every_name_that_is_refused_has_a_reason_of_its_own() -> None:
    reasons = [refusal(name) for name in ("", "x" * 201, "realtime_x", "system.x", "*", "a$", "\0", ".a", "a.", "a..b")]
    assert None not in reasons
    assert len(set(reasons)) == 6
    assert [refusal(name) for name in ("x" * 200, "a/b", "a b", "Ж", "a.b", "\n", "**")] == [None] * 7


def test_what_is_configured_is_served_and_nothing_else() -> None:
    some = Collections.of([ORDERS], ["orders", "customers"])
    assert some.names == frozenset({"orders", "customers"})
    assert (some.model_of("orders"), some.model_of("customers"), some.model_of("x")) == (ORDERS, None, None)
    some.check("customers")
    with pytest.raises(UnsupportedCollectionError, match="REALTIME_COLLECTIONS") as no:
        some.check("invoices")
    assert no.value.details == {"collection": "invoices"}


def test_others_serves_the_rest_as_well() -> None:
    some = Collections.of([ORDERS], others=True)
    assert some.names is None
    some.check("invoices")
    assert some.model_of("orders") is ORDERS


def test_two_models_of_one_collection_are_refused() -> None:
    assert Collections.of([ORDERS, Collection("orders", Order)]).model_of("orders") == ORDERS
    with pytest.raises(ConfigurationError, match="two models"):
        Collections.of([ORDERS, Collection("orders", Strict)])


@pytest.mark.parametrize("name", ["", "realtime_x", "system.users", ".x", "a$b", "a\0b", "x" * 201, "tmp.agg_out.1"])
def test_a_name_that_cannot_be_served_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Collection(name)


def test_a_field_that_is_read_and_written_by_two_names_is_refused() -> None:
    class Two(BaseModel):
        a: int = Field(validation_alias="b", serialization_alias="c")

    class Choice(BaseModel):
        a: int = Field(validation_alias=AliasChoices("b", "a"))

    with pytest.raises(ConfigurationError, match="one alias"):
        Collection("two", Two)
    assert Collection("choice", Choice).stored({"b": 1}) == {"a": 1}
