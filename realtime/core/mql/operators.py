"""Conditions on one field, compiled to closures: what each operator means.

Sources: MongoDB's manual, and mongod 6.0.5 and 6.0.27 where the manual is silent
(tests/mongo/test_filters_differential.py). Where the two differ, a parameter says
which way (realtime/core/mql/dialect.py).
"""

from __future__ import annotations

import datetime as dt
import math
import operator
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.bson.ejson import regex_options
from realtime.core.bson.stored import (
    UNDEFINED_VALUE,
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
    Undefined,
)
from realtime.core.bson.values import (
    DATE,
    MAX_KEY,
    MIN_KEY,
    MISSING,
    NULL,
    NUMBER,
    Order,
    binary_of,
    is_nan,
    order,
    rank_of,
)
from realtime.core.mql.language import BSON_TYPES, NUMBER_TYPES, invalid, kind, unsupported
from realtime.core.mql.paths import Matcher, Predicate, at_path, every, negate, never
from realtime.core.mql.regex import PatternError, compile_regex

INT32, INT64 = 2**31, 2**63
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_EXTREMES = frozenset({MIN_KEY, MAX_KEY})


class Condition(Protocol):
    """What is asked of a field: `at` a path of a document, or of one `single` element, as `$elemMatch` does."""

    @property
    def single(self) -> Predicate:
        """The decision about one value."""
        ...

    def at(self, path: str) -> Matcher:
        """The decision about a document."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """A predicate that one leaf of the path has to meet."""

    single: Predicate
    enter: bool = True

    def at(self, path: str) -> Matcher:
        return at_path(path, self.single, enter=self.enter)


@dataclass(frozen=True, slots=True)
class Negated:
    """The other way round: no leaf may meet it."""

    inner: Condition

    @property
    def single(self) -> Predicate:
        return negate(self.inner.single)

    def at(self, path: str) -> Matcher:
        return negate(self.inner.at(path))


@dataclass(frozen=True, slots=True)
class Every:
    """All of several, each perhaps by another leaf."""

    parts: tuple[Condition, ...]

    @property
    def single(self) -> Predicate:
        return every([part.single for part in self.parts])

    def at(self, path: str) -> Matcher:
        return every([part.at(path) for part in self.parts])


NOTHING = Leaf(never)


# -------------------------------------------------------------------------------------------------------- equality


def equal(operand: Any) -> Predicate:
    """Equal by MongoDB's comparison; null also where there is nothing."""
    rank = rank_of(operand)
    if type(operand) is str:
        return lambda value: value == operand and (type(value) is str or type(value) is Symbol)
    if type(operand) in {ObjectId, bool}:
        own = type(operand)
        return lambda value: type(value) is own and value == operand
    if rank == NULL:
        return lambda value: value is None or value is MISSING or value is UNDEFINED_VALUE
    wanted = order(operand)
    if rank == NUMBER and type(operand) is not Decimal128 and not is_nan(operand):
        return lambda value: (
            type(value) is not bool if value == operand else type(value) is Decimal128 and order(value) == wanted
        )
    if rank == DATE:
        return _dated(operator.eq, operand)
    return lambda value: rank_of(value) == rank and order(value) == wanted


def among(operands: Iterable[Any]) -> Predicate:
    """Equal to one of these."""
    wanted = {order(operand) for operand in operands}
    if NULL in {rank for rank, _ in wanted}:
        wanted.add(order(UNDEFINED_VALUE))
    ranks = {rank for rank, _ in wanted}
    texts = {operand for operand in operands if type(operand) is str}

    def found(value: Any) -> bool:
        if type(value) is str:
            return value in texts
        return rank_of(value) in ranks and order(value) in wanted

    return found


def _dated(test: Callable[[Any, Any], bool], operand: dt.datetime | DatetimeMS) -> Predicate:
    """Dates compare as they are where both are within Python's years, else by their milliseconds."""
    wanted = order(operand)
    moment = operand if type(operand) is dt.datetime and operand.tzinfo is dt.UTC else None
    if moment is not None:
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def compared(value: Any) -> bool:
        if type(value) is dt.datetime and moment is not None and value.tzinfo is not None:
            return test(value, moment)
        return rank_of(value) == DATE and test(order(value), wanted)

    return compared


# ------------------------------------------------------------------------------------------------------ comparison

_DEPRECATED_TEXT = frozenset({Symbol, Broken, BrokenSymbol})
"""What compares as text, but is no `str` that could be compared as it is."""


def compare(name: str, operand: Any) -> Predicate:
    """`$gt` and its relatives, within the operand's type bracket; MinKey and MaxKey compare with every type."""
    test, including = _TESTS[name], name in {"$gte", "$lte"}
    rank = rank_of(operand)
    if type(operand) is str:
        return lambda value: (
            test(value, operand)
            if type(value) is str
            else type(value) in _DEPRECATED_TEXT and test(order(value)[1], operand)
        )
    if is_nan(operand):
        # NaN is below every number when sorting, but `find` compares it with nothing but itself.
        return equal(operand) if including else never
    if rank == NULL:
        return equal(None) if including else never
    wanted = order(operand)
    if rank in _EXTREMES:
        return lambda value: test(order(value), wanted)
    if rank == NUMBER:
        return _compare_numbers(test, operand, wanted)
    if rank == DATE:
        return _dated(test, operand)
    return lambda value: rank_of(value) == rank and test(order(value), wanted)


def _compare_numbers(test: Callable[[Any, Any], bool], operand: Any, wanted: Order) -> Predicate:
    native = type(operand) is not Decimal128

    def compared(value: Any) -> bool:
        kind = type(value)
        if native and (kind is int or kind is float or kind is Int64):
            return test(value, operand)  # a NaN is neither above nor below
        return rank_of(value) == NUMBER and not is_nan(value) and test(order(value), wanted)

    return compared


def exists(operand: Any) -> Condition:
    """There is a field, or none; the operand by MongoDB's truth: numbers but zero, all else but false and null."""
    rank, value = order(operand)
    true = value != (1, 0) if rank == NUMBER else operand is not None and operand is not False
    there = Leaf(lambda value: value is not MISSING, enter=False)
    return there if true else Negated(there)


# ----------------------------------------------------------------------------------------------- numbers of operands


def integer(operand: Any, here: str, most: int) -> int:
    """A number without fraction from 0 to below `most`."""
    if rank_of(operand) != NUMBER:
        invalid(here, f"takes a number, not {kind(operand)}")
    number = _finite(operand)
    if number is None or number != int(number) or not 0 <= number < most:
        invalid(here, f"takes a whole number from 0 to {most - 1}")
    return int(number)


def _finite(value: Any) -> int | float | Decimal | None:
    """A number as Python counts; None for NaN and the infinities."""
    if type(value) is Decimal128:
        number = value.to_decimal()
        return number if number.is_finite() else None
    return value if math.isfinite(value) else None


def _truncated(value: Any) -> int | None:
    """A number towards zero; None for what is no number or beyond 64 bits."""
    number = _finite(value) if rank_of(value) == NUMBER else None
    if number is None:
        return None
    whole = int(number)
    return whole if -INT64 <= whole < INT64 else None


def size(operand: Any, here: str) -> Condition:
    """An array of this length."""
    length = integer(operand, here, INT32)
    return Leaf(lambda value: type(value) is list and len(value) == length, enter=False)


def mod(operand: Any, here: str) -> Condition:
    """Remainder of a division towards zero, with the sign of the value."""
    if not isinstance(operand, list) or len(operand) != 2:
        invalid(here, "$mod takes a list of divisor and remainder")
    divisor, remainder = map(_truncated, operand)
    if divisor is None or remainder is None:
        invalid(here, "$mod takes two numbers of at most 64 bits")
    if divisor == 0:
        invalid(here, "$mod cannot divide by 0")
    by = abs(divisor)

    def leaves(value: Any) -> bool:
        whole = _truncated(value)
        if whole is None:
            return False
        return (whole % by if whole >= 0 else -(-whole % by)) == remainder

    return Leaf(leaves)


# ------------------------------------------------------------------------------------------------------------- types

_CODES: dict[type, int] = {
    float: 1,
    **dict.fromkeys((str, Broken), 2),
    **dict.fromkeys((dict, DBRef, Repeated), 3),
    list: 4,
    **dict.fromkeys((bytes, Binary, uuid.UUID, OddBinary), 5),
    Undefined: 6,
    ObjectId: 7,
    bool: 8,
    **dict.fromkeys((dt.datetime, DatetimeMS), 9),
    type(None): 10,
    **dict.fromkeys((Regex, OddRegex), 11),
    Pointer: 12,
    **dict.fromkeys((Symbol, BrokenSymbol), 14),
    Timestamp: 17,
    Int64: 18,
    Decimal128: 19,
    MinKey: -1,
    MaxKey: 127,
}


def type_code(value: Any) -> int:
    """MongoDB's number of a value's type; 0 for `MISSING`."""
    if type(value) is int:
        return 16 if -INT32 <= value < INT32 else 18
    if type(value) is Code:
        return 13 if value.scope is None else 15
    return _CODES.get(type(value), 0)


def of_type(operand: Any, here: str) -> Condition:
    """Of one of these types, by number, name or a list of both."""
    wanted: set[int] = set()
    for one in operand if isinstance(operand, list) else [operand]:
        wanted |= _type_codes(one, here)
    if not wanted:
        invalid(here, "$type takes at least one type")
    return Leaf(lambda value: type_code(value) in wanted)


def _type_codes(one: Any, here: str) -> frozenset[int]:
    if one == "number" and type(one) is str:
        return NUMBER_TYPES
    code: Any = None
    if type(one) is str:
        code = BSON_TYPES.get(one)
    elif rank_of(one) == NUMBER:
        whole = _truncated(one)
        code = whole if whole in BSON_TYPES.values() and order(whole) == order(one) else None
    if code is None:
        invalid(here, f"$type takes a type's number or name, not {kind(one)}")
    return frozenset({code})


# -------------------------------------------------------------------------------------------------------------- bits


@dataclass(frozen=True, slots=True)
class _Mask:
    """Which bits are asked for: of a number (64, the last one its sign) and of binary data."""

    number: int
    data: Callable[[bytes], tuple[bool, bool]]
    any_decimal: bool

    def bits(self, value: Any) -> tuple[bool, bool] | None:
        """Whether all of the bits are set, and whether any is; None for what has no bits."""
        kind = type(value)
        if kind in {int, Int64, float, Decimal128}:
            whole = _as_int64(value, any_decimal=self.any_decimal)
            return None if whole is None else _both(whole & self.number, self.number)
        if kind in {bytes, Binary, uuid.UUID, OddBinary}:
            return self.data(binary_of(value)[1])
        return None


def _both(found: int, wanted: int) -> tuple[bool, bool]:
    return found == wanted, found != 0


def _as_int64(value: Any, *, any_decimal: bool) -> int | None:
    """The number whose bits MongoDB looks at. None for what is no whole number of 64 bits, unless `any_decimal`."""
    number = _finite(value)
    if number is not None and -INT64 <= number < INT64 and number == int(number):
        return int(number)
    if not (any_decimal and type(value) is Decimal128):
        return None
    whole = -INT64 if number is None else round(number)  # ties to even
    return whole if -INT64 <= whole < INT64 else -INT64


def bits(name: str, operand: Any, here: str, *, any_decimal: bool) -> Condition:
    """`$bitsAllSet` and its relatives: a mask as a number, as binary data, or as a list of positions.

    `any_decimal`: a decimal that is no integer of 64 bits has those of another one, instead of none.
    """
    mask = _mask(operand, here, any_decimal=any_decimal)
    all_of, negated = name.startswith("$bitsAll"), name.endswith("Clear")
    # All clear is none set; one clear is not all set.
    look = 0 if all_of is not negated else 1

    def matches(value: Any) -> bool:
        found = mask.bits(value)
        return found is not None and found[look] is not negated

    return Leaf(matches)


def _mask(operand: Any, here: str, *, any_decimal: bool) -> _Mask:
    if isinstance(operand, list):
        positions = {integer(one, f"{here}.{index}", INT32) for index, one in enumerate(operand)}
        return _Mask(_number_mask(positions), lambda data: _positions_in(data, positions), any_decimal)
    if type(operand) in {bytes, Binary, uuid.UUID}:
        wanted = int.from_bytes(binary_of(operand)[1], "little")
    elif rank_of(operand) == NUMBER:
        wanted = integer(operand, here, INT64)
    else:
        invalid(here, f"takes a number, binary data or a list of positions, not {kind(operand)}")
    low = wanted & (INT64 - 1)
    sign = INT64 if wanted >= INT64 else 0
    return _Mask(low | sign, lambda data: _both(int.from_bytes(data, "little") & wanted, wanted), any_decimal)


def _number_mask(positions: set[int]) -> int:
    mask = 0
    for position in positions:
        mask |= 1 << min(position, 63)
    return mask


def _positions_in(data: bytes, positions: set[int]) -> tuple[bool, bool]:
    found = [position // 8 < len(data) and bool(data[position // 8] >> position % 8 & 1) for position in positions]
    return all(found), any(found)


# ------------------------------------------------------------------------------------------------------- expressions


def searching(
    pattern: str, options: str, here: str, name: str = "$regex", *, bytewise: bool = False
) -> Callable[[str], bool]:
    """Whether a pattern is found in a text; refused by the name of what takes it."""
    try:
        return compile_regex(pattern, options, bytewise=bytewise)
    except PatternError as error:
        if error.construct:
            unsupported(name, here, f"would need {error.construct}")
        invalid(here, f"the regular expression has {error}")


def regular_expression(pattern: str | bytes, options: str, here: str, name: str = "$regex") -> Predicate:
    """Text in which the pattern is found, or a stored regular expression that is the very same."""
    text = pattern.decode() if isinstance(pattern, bytes) else pattern
    found = searching(text, options, here, name)

    def matches(value: Any) -> bool:
        if type(value) is str or type(value) is Symbol:
            return found(value)
        # Text that is no UTF-8 is matched by no pattern.
        return type(value) is Regex and order(value)[1] == (text.encode(), options)

    return matches


def of_regex(value: Regex[Any], here: str) -> Predicate:
    """The same of a BSON regular expression."""
    return regular_expression(value.pattern, regex_options(value), here)
