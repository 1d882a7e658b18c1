"""Regular expressions, in linear time, by the very compiler that `$regex` of filters has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson.regex import Regex

from realtime.core.bson.ejson import regex_options
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form
from realtime.core.mql.expressions.numbers import nullish, type_name
from realtime.core.mql.expressions.texts import text
from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.regex import PatternError, compile_regex

HEADING = "String"


@form(HEADING, "$regexMatch")
def regex_match(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Whether a constant pattern is found."""
    given = compiler.fields(name, operand, here, needs=("input", "regex"), takes=("options",))
    source = compiler.compile(given["input"], f"{here}.input")
    pattern = compiler.compile(given["regex"], f"{here}.regex")
    options = compiler.compile(given.get("options"), f"{here}.options")
    if not pattern.constant or not options.constant:
        unsupported(name, here, "takes a constant pattern here, which is compiled once")
    found = _finder(name, pattern.value, options.value, here)

    def search(value: Any) -> bool:
        if nullish(value) or found is None:
            return False
        return found(text(name, value))

    return applied(compiler, name, search, [source], here, Shape())


def _finder(name: str, pattern: Any, options: Any, here: str) -> Callable[[str], bool] | None:
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
    try:
        return compile_regex(pattern, letters)
    except PatternError as error:
        if error.construct:
            unsupported(name, here, f"would need {error.construct}")
        invalid(here, f"{name}: {error}")
