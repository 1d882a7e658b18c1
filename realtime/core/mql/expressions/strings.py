"""Strings: by characters (code points) and by bytes of UTF-8."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from typing import Any

from bson.decimal128 import Decimal128

from realtime.core.bson.stored import Broken, utf8
from realtime.core.bson.values import BINARY, binary_of, rank_of
from realtime.core.mql.expressions.arithmetic import decimal_to_long
from realtime.core.mql.expressions.arrays import place
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form, function
from realtime.core.mql.expressions.numbers import NONE, kind_of, nullish, type_name
from realtime.core.mql.expressions.outcomes import ExcessError, fail, unsure
from realtime.core.mql.expressions.texts import coerced, text
from realtime.core.mql.operators import INT64

HEADING = "String"
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
SPACES = "\0\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
"""What `$trim` takes for white space."""


@function(HEADING, "$concat", Shape(0, None, makes=True, folds="ordered", lazy=True))
def concat(values: Iterator[Any]) -> Any:
    """One after the other."""
    made: list[str] = []
    for value in values:
        if nullish(value):
            return None
        made.append(text("$concat", value))
    return "".join(made)


@function(HEADING, "$toLower")
def to_lower(value: Any) -> str:
    """ASCII letters alone."""
    return coerced("$toLower", value).translate(_LOWER)


@function(HEADING, "$toUpper")
def to_upper(value: Any) -> str:
    """ASCII letters alone."""
    return coerced("$toUpper", value).translate(_UPPER)


@function(HEADING, "$strcasecmp", Shape(2, 2))
def strcasecmp(one: Any, other: Any) -> int:
    """-1, 0 or 1, whatever the case of ASCII letters."""
    first, second = (coerced("$strcasecmp", value).translate(_UPPER).encode() for value in (one, other))
    return (first > second) - (first < second)


@function(HEADING, "$strLenCP")
def str_len_cp(value: Any) -> int:
    """In characters."""
    return len(text("$strLenCP", value))


@function(HEADING, "$strLenBytes")
def str_len_bytes(value: Any) -> int:
    """In bytes."""
    return len(text("$strLenBytes", value).encode())


def _substr_bytes(name: str) -> None:
    @function(HEADING, name, Shape(3, 3))
    def substr(value: Any, start: Any, length: Any) -> str:
        data = coerced(name, value).encode()
        for one in (start, length):
            if kind_of(one) == NONE:
                fail(name, f"takes numbers of bytes, not {type_name(one)}")
        begin, count = _cut(name, start), _cut(name, length)
        if begin < 0:
            fail(name, "takes a start that is not below zero")
        end = len(data) if count < 0 else min(begin + count, len(data))
        if begin < len(data) and _continues(data[begin]):
            fail(name, "begins within a character")
        if begin < end < len(data) and _continues(data[end]):
            fail(name, "ends within a character")
        return data[begin:end].decode()


def _cut(name: str, value: Any) -> int:
    """A number as a long, a double towards zero."""
    if type(value) is Decimal128:
        number = decimal_to_long(value.to_decimal())
        return -INT64 if number is None else number
    if not -(2.0**63) <= value < 2.0**63:
        fail(name, "takes numbers of bytes that a long holds")
    return int(value)


def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


_substr_bytes("$substrBytes")
_substr_bytes("$substr")


@function(HEADING, "$substrCP", Shape(3, 3))
def substr_cp(value: Any, start: Any, length: Any) -> str:
    """So many characters from a place on."""
    given = coerced("$substrCP", value)
    begin, count = place("$substrCP", start), place("$substrCP", length)
    if begin < 0 or count < 0:
        fail("$substrCP", "takes a start and a length that are not below zero")
    return given[begin : begin + count]


def _index(name: str, find: Callable[[str, str, int, int | None], int]) -> None:
    @function(HEADING, name, Shape(2, 4, lazy=True))
    def index_of(values: Iterator[Any]) -> Any:
        value = next(values)
        if nullish(value):
            return None
        wanted, *given = values
        where, what = text(name, value), text(name, wanted)
        places = [_position(name, one) for one in given]
        return find(where, what, places[0] if places else 0, places[1] if len(places) > 1 else None)


def _by_characters(where: str, what: str, start: int, end: int | None) -> int:
    """It begins before the end, and may go on beyond it."""
    if not where and not what and not start:
        return 0
    found = where.find(what, start)
    return found if found < min(len(where), len(where) if end is None else end) else -1


def _by_bytes(where: str, what: str, start: int, end: int | None) -> int:
    data = where.encode()
    last = len(data) if end is None else end
    if start > len(data) or last < start:
        return -1
    return data.find(what.encode(), start, min(last, len(data)))


def _position(name: str, value: Any) -> int:
    number = place(name, value)
    if number < 0:
        fail(name, "takes places that are not below zero")
    return number


_index("$indexOfCP", _by_characters)
_index("$indexOfBytes", _by_bytes)


@function(HEADING, "$split", Shape(2, 2, makes=True))
def split(value: Any, by: Any) -> Any:
    """The parts between a separator."""
    if nullish(value) or nullish(by):
        return None
    given, separator = text("$split", value), text("$split", by)
    if not separator:
        fail("$split", "takes a separator that is not empty")
    return given.split(separator)


# ------------------------------------------------------------------------------------------------- named operands


@form(HEADING, "$trim", "$ltrim", "$rtrim")
def trim(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Without white space, or these characters, at its ends."""
    given = compiler.fields(name, operand, here, needs=("input",), takes=("chars",))
    parts = [compiler.compile(given["input"], f"{here}.input")]
    if "chars" in given:
        parts.append(compiler.compile(given["chars"], f"{here}.chars"))

    def trimmed(value: Any, *chars: Any) -> Any:
        if nullish(value):
            return None
        whole = text(name, value)
        if chars and nullish(chars[0]):
            return None
        letters = text(name, chars[0]) if chars else SPACES
        if name != "$rtrim":
            whole = whole.lstrip(letters) if letters else whole
        return whole.rstrip(letters) if name != "$ltrim" and letters else whole

    return applied(compiler, name, trimmed, parts, here, Shape())


@form(HEADING, "$replaceOne", "$replaceAll")
def replace(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """One text for another, once or everywhere."""
    needs = ("input", "find", "replacement")
    given = compiler.fields(name, operand, here, needs=needs, takes=())
    parts = [compiler.compile(given[one], f"{here}.{one}") for one in needs]
    count, most = 1 if name == "$replaceOne" else -1, compiler.bounds.bytes

    def replaced(*values: Any) -> Any:
        texts = [None if nullish(value) else text(name, value) for value in values]
        if None in texts:
            return None
        whole, find, by = (one or "" for one in texts)
        if not find and count < 0 and not whole.isascii():
            unsure(name, "puts text between the bytes of a character")
        # Before it is made: a short text may become a very long one.
        if count < 0 and len(whole) + (len(by) - len(find)) * whole.count(find) > most:
            raise ExcessError(name, f"makes a value of more than {most} bytes")
        return whole.replace(find, by, count)

    return applied(compiler, name, replaced, parts, here, Shape(makes=True, folds="kept"))


# ---------------------------------------------------------------------------------------------------------------- size


@function("Data size", "$binarySize")
def binary_size(value: Any) -> Any:
    """Of a text or binary data, in bytes."""
    if nullish(value):
        return None
    if rank_of(value) == BINARY:
        return len(binary_of(value)[1])
    if type(value) not in {str, Broken}:
        fail("$binarySize", f"takes text or binary data, not {type_name(value)}")
    return len(utf8(value))
