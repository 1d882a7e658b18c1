"""Regular expressions, in linear time, by the very compiler that `$regex` of filters has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from bson.regex import Regex

from realtime.core.bson.ejson import regex_options
from realtime.core.mql.captures import NOWHERE, Finder, compile_finder
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form
from realtime.core.mql.expressions.numbers import nullish, type_name
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.texts import text
from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.regex import PatternError, compile_regex

HEADING = "String"
BYTES_CAPTURED, BYTES_SEARCHED = 16_384, 65_536
"""Bytes of the text, times instructions of the pattern, that count as a step: what is captured, what is searched."""
Made = TypeVar("Made")


@form(HEADING, "$regexMatch")
def regex_match(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Whether a constant pattern is found."""
    source, read = _read(compiler, name, operand, here)
    found = _compiled(compile_regex, name, read, here)

    def search(value: Any) -> bool:
        if nullish(value):
            return False
        given = text(name, value)
        return found is not None and found(given)

    return applied(compiler, name, search, [source], here, Shape(folds="kept"))


@form(HEADING, "$regexFind", "$regexFindAll")
def regex_find(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """The first place where a constant pattern is found, or all that do not overlap, with what its groups capture."""
    source, read = _read(compiler, name, operand, here)
    finder, every, evaluate = _compiled(compile_finder, name, read, here), name == "$regexFindAll", source.evaluate

    def find(scope: Scope) -> Any:
        value = evaluate(scope)
        given = "" if nullish(value) else text(name, value)
        if nullish(value) or finder is None:
            return [] if every else None
        found = _places(scope, name, finder, given.encode())
        return scope.made(name, list(found) if every else next(found, None))

    return compiler.kept(Node(find, nodes=1 + source.nodes), [source], here)


def _places(scope: Scope, name: str, finder: Finder, given: bytes) -> Iterator[dict[str, Any]]:
    """One after the other, as MongoDB goes on: behind a match, or one character on where that was empty."""
    # What is captured may meet each instruction at each byte, once in all; a search looks as far as the end.
    scope.step(name, len(given) * finder.size // BYTES_CAPTURED)
    start = place = 0
    while True:
        scope.step(name, 1 + (len(given) - start) * finder.size // BYTES_SEARCHED)
        spans = finder.find(given, start)
        if spans is None:
            return
        (begin, end), *groups = spans
        place += _characters(given[start:begin])
        matched = given[begin:end].decode()
        captured = [None if one == NOWHERE else given[one[0] : one[1]].decode() for one in groups]
        yield {"match": matched, "idx": place, "captures": captured}
        start = end if end > begin else end + _length(given, end)
        place += len(matched) or 1
        if start >= len(given):
            return


def _characters(given: bytes) -> int:
    return len(given.decode())


def _length(given: bytes, at: int) -> int:
    """Bytes of the character at a place; 1 at the end."""
    first = given[at] if at < len(given) else 0
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _read(compiler: Compiler, name: str, operand: Any, here: str) -> tuple[Node, tuple[str, str] | None]:
    """The input, and the constant pattern with its options; None where that is null."""
    given = compiler.fields(name, operand, here, needs=("input", "regex"), takes=("options",))
    source = compiler.compile(given["input"], f"{here}.input")
    pattern = compiler.compile(given["regex"], f"{here}.regex")
    options = compiler.compile(given.get("options"), f"{here}.options")
    if not pattern.constant or not options.constant:
        unsupported(name, here, "takes a constant pattern here, which is compiled once")
    return source, _pattern(name, pattern.value, options.value, here)


def _pattern(name: str, pattern: Any, options: Any, here: str) -> tuple[str, str] | None:
    letters = "" if nullish(options) else options
    if type(letters) is not str:
        invalid(here, f"{name} takes options that are text")
    if nullish(pattern):
        return None
    if isinstance(pattern, Regex):
        own = regex_options(pattern)
        if own and letters:
            invalid(here, f"{name} takes options in the regular expression or beside it, not both")
        letters, pattern = own or letters, pattern.pattern
    if type(pattern) is not str:
        invalid(here, f"{name} takes a pattern that is text or a regular expression, not {type_name(pattern)}")
    return pattern, letters


def _compiled(compile_: Callable[[str, str], Made], name: str, read: tuple[str, str] | None, here: str) -> Made | None:
    if read is None:
        return None
    try:
        return compile_(*read)
    except PatternError as error:
        if error.construct:
            unsupported(name, here, f"would need {error.construct}")
        invalid(here, f"{name}: {error}")
