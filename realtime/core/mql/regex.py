"""Regular expressions of clients, in linear time: what PCRE would find, found by RE2.

MongoDB matches with PCRE, whose time may be exponential; RE2 never backtracks, but differs in corners and says
nothing. So a pattern is parsed here first. Only constructs that tests/mongo/test_regex_differential.py has shown to
mean the same are taken; some of them are written differently for RE2 (`$`, `\\s`, `^` with the option `m`); the rest is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import re2

from realtime.core.mql.cases import NEWER_CASES, TWO_CASES

LAST_CHARACTER = 0x10FFFF
MAX_CHARACTERS = 1000
"""Of a pattern; MongoDB itself takes 32,764 bytes."""
MAX_DEPTH = 30
"""Of groups in groups."""
MAX_REPEAT = 1000
"""Of a counted repetition; RE2 multiplies those inside each other and takes no more than this of the product."""
MAX_PROGRAM = 2100
"""Instructions of the compiled pattern: what RE2 may have to look at for each byte when its cache of states is full."""
MEMORY_BYTES = 1 << 20
"""What one compiled pattern may take, its cache of states included."""

_LETTERS = {"n": 10, "r": 13, "t": 9, "f": 12, "e": 27, "a": 7}
_SPACE = r"\t-\r "
_NO_SPACE = r"\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{10ffff}"  # in a class, where RE2 has no word for it
_CLASSES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": f"[{_SPACE}]", "S": f"[^{_SPACE}]"}
_IN_CLASSES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": _SPACE, "S": _NO_SPACE}
_QUANTIFIERS = frozenset("*+?{")

CONSTRUCTS = (
    (r"literals, `.`, `|`, `( )`, `(?: )`, `* + ? {n} {n,} {n,m}` and their lazy forms", "as they are"),
    (r"`[…]` of characters, ranges and `\d \D \w \W`", "as they are"),
    (r"`^` `\A` `\z` `\b` `\d` `\D` `\w` `\W`", r"as they are; under `i`, `\w` stays ASCII"),
    (r"`\n \r \t \f \e \a \xhh \x{hhhh}`, `\` before a sign", "as the character"),
    (r"`\s` `\S`", r"`[\t-\r ]`: RE2's own leaves out the vertical tab"),
    (r"`$` `\Z` at the end of an alternative", r"`(?:\n?\z)`: RE2's `$` does not see a last newline"),
    (r"`$` with the option `m`", "as it is, anywhere"),
    (r"`^` with the option `m`", "as it is, where something has to follow it: PCRE finds none after a last newline"),
    (r"option `i`", "as it is; of letters whose cases are newer than Unicode 7, six Cyrillic pairs are spelt out"),
    (r"options `m` `s`", "as they are; `u` says nothing, as in MongoDB"),
)
"""What is taken, and how it is written for RE2."""
NOT_TAKEN = (
    (r"`\1`, `(?= )`, `(?! )`, `(?<= )`, `(?> )`, possessive `a++`", "cannot be had in linear time"),
    (r"`(?i)`, named groups, `(?# )`, `(*VERB)`, option `x`", "not shown equal"),
    (r"`\B`", "RE2 finds it inside of characters that take several bytes"),
    (r"`\v \h \R \X \N \K \G \C \Q…\E \cX \p{…}`, octal numbers", "other meanings, or other versions of Unicode"),
    (r"`[[:alpha:]]`, a range from or to a class", "not shown equal"),
    (r"`$` before anything else, or in a repeated group", r"`(?:\n?\z)` takes the newline"),
    (r"`{` that begins no repetition, a quantifier of a quantifier or of an assertion", "versions of PCRE differ"),
    (
        r"under `i`: `\w \W` in a class, ranges beyond ASCII, letters whose cases are newer than Unicode 7",
        "folds otherwise",
    ),
    (
        f"more than {MAX_CHARACTERS} characters, {MAX_PROGRAM} instructions, {MAX_REPEAT} repetitions, also multiplied",
        "bounds time and memory",
    ),
)
"""What is refused, named in the error, and why."""


class PatternError(ValueError):
    """A pattern that cannot be had. `construct` names what is not supported; empty: MongoDB refuses it as well."""

    def __init__(self, reason: str, construct: str = "") -> None:
        super().__init__(reason)
        self.construct = construct


@dataclass(slots=True)
class _Part:
    """A piece of the pattern for RE2. `width`: the fewest characters it takes."""

    text: str
    width: int
    assertion: bool = False
    ends: bool = False
    """It holds a `$` written as `(?:\\n?\\z)`, which takes the newline: nothing may follow it."""
    starts_line: bool = False
    """It is `^` with `m`, which PCRE does not find after a newline that ends the text: something must follow it."""


def compile_regex(pattern: str, options: str, *, bytewise: bool = False) -> Callable[[str], bool]:
    """Whether `pattern` is found anywhere in a text. Options are letters of `imsu`. Raises `PatternError`.

    `bytewise`: not among characters but among the bytes of their UTF-8, of the pattern too.
    """
    source = _bytes_of(pattern) if bytewise else pattern
    parser = parser_of(source, options, captures=False, last=0xFF if bytewise else LAST_CHARACTER)
    search = compiled(parser.parse(), options, captures=False).search
    if bytewise:
        return lambda text: search(_bytes_of(text).encode()) is not None
    return lambda text: search(text.encode()) is not None


def parser_of(pattern: str, options: str, *, captures: bool, last: int = LAST_CHARACTER) -> _Parser:
    """A pattern that may be parsed, whether what its groups capture is wanted, and the last character that there is.

    Raises `PatternError`.
    """
    for letter in options:
        if letter == "x":
            _unsupported("the option x")
        if letter not in "imsu":
            raise PatternError(f"the option {letter!r} does not exist")
    if "\0" in pattern:
        raise PatternError("a pattern has no NUL character")
    if len(pattern) > MAX_CHARACTERS:
        _unsupported(f"a pattern of more than {MAX_CHARACTERS} characters")
    return _Parser(pattern, options, captures, last)


def _bytes_of(text: str) -> str:
    """A character for each byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def compiled(rewritten: str, options: str, *, captures: bool) -> Any:
    """A pattern that was written for RE2, within its bounds."""
    flags = "".join(letter for letter in "is" if letter in options)
    given = re2.Options()
    given.max_mem, given.never_capture, given.log_errors = MEMORY_BYTES, not captures, False
    try:
        made = re2.compile(f"(?{flags}:{rewritten})", given)
    except re2.error as error:
        # The parser lets nothing else through than what is too large: repetitions inside each other, or all of it.
        _unsupported(f"a pattern that takes more memory than it may ({_text(error)})")
    if made.programsize > MAX_PROGRAM:
        _unsupported(f"a pattern of {made.programsize} instructions (at most {MAX_PROGRAM})")
    return made


def _text(error: Exception) -> str:
    (reason,) = error.args
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _unsupported(construct: str) -> NoReturn:
    raise PatternError(f"{construct} in a regular expression is not supported", construct)


class _Parser:
    """One pass over a pattern, from PCRE's language to RE2's."""

    def __init__(self, pattern: str, options: str, captures: bool, last: int) -> None:
        self.pattern = pattern
        self.last = last  # of the characters that there are
        self.at = 0
        self.captures = captures
        self.own: list[bool] = []
        """Of RE2's groups in order, which are the pattern's: the others hold the newline that `$` takes."""
        self.folds = "i" in options
        self.lines = "m" in options

    def parse(self) -> str:
        whole = self.alternatives(0)
        if self.at < len(self.pattern):
            raise PatternError("an unmatched )")
        return whole.text

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    # ------------------------------------------------------------------------------------------------ sequences

    def alternatives(self, depth: int) -> _Part:
        """Up to the end of the group, or of the pattern."""
        if depth > MAX_DEPTH:
            _unsupported(f"groups nested deeper than {MAX_DEPTH}")
        branches = [self.sequence(depth)]
        while self.peek() == "|":
            self.at += 1
            branches.append(self.sequence(depth))
        return _Part(
            "|".join(branch.text for branch in branches),
            min(branch.width for branch in branches),
            ends=any(branch.ends for branch in branches),
        )

    def sequence(self, depth: int) -> _Part:
        parts: list[_Part] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.quantified(self.atom(depth)))
        if any(part.ends for part in parts[:-1]):
            _unsupported("$ with something after it")
        for index, part in enumerate(parts):
            if part.starts_line and not any(later.width for later in parts[index + 1 :]):
                _unsupported("^ with the option m and nothing that has to follow it")
        return _Part(
            "".join(part.text for part in parts),
            sum(part.width for part in parts),
            ends=any(part.ends for part in parts),
        )

    def quantified(self, part: _Part) -> _Part:
        if self.peek() not in _QUANTIFIERS:
            return part
        if part.assertion:
            _unsupported("a repeated assertion")
        if part.ends:
            _unsupported("$ in a repeated group")
        least, text = self.quantifier()
        if self.captures and part.width == 0:
            _unsupported("a repetition of what may be empty")  # what it captures last is decided otherwise
        if self.peek() == "+":
            _unsupported("a possessive quantifier")
        if self.peek() == "?":
            self.at += 1
            # How much is taken makes no difference to whether something is found.
            text += "?" if self.captures else ""
        if self.peek() in _QUANTIFIERS:
            _unsupported("a quantifier after a quantifier")
        return _Part(part.text + text, part.width * least)

    def quantifier(self) -> tuple[int, str]:
        sign = self.take()
        if sign != "{":
            return (1 if sign == "+" else 0), sign
        body, closed, _ = self.pattern[self.at :].partition("}")
        least, comma, most = body.partition(",")
        if not closed or not _is_count(least) or not (most == "" or _is_count(most)):
            _unsupported("{ that begins no repetition (write \\{)")
        self.at += len(body) + 1
        if most and int(most) < int(least):
            raise PatternError("a repetition whose numbers are out of order")
        if max(int(least), int(most or 0)) > MAX_REPEAT:
            _unsupported(f"a repetition of more than {MAX_REPEAT}")
        return int(least), f"{{{int(least)}{comma}{int(most) if most else ''}}}"

    # ---------------------------------------------------------------------------------------------------- atoms

    def atom(self, depth: int) -> _Part:
        character = self.take()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return _Part(self.bracket(), 1)
        if character == "\\":
            return self.escape()
        if character == ".":
            return _Part(".", 1)
        if character == "^":
            return _Part("(?m:^)", 0, assertion=True, starts_line=True) if self.lines else _start()
        if character == "$":
            return _Part("(?m:$)", 0, assertion=True) if self.lines else self.end()
        if character in "*+?":
            raise PatternError(f"nothing to repeat before {character}")
        if character == "{":
            _unsupported("{ that begins no repetition (write \\{)")
        return _Part(self.literal(ord(character)), 1)

    def group(self, depth: int) -> _Part:
        if self.peek() in {"?", "*"}:
            kind = self.pattern[self.at : self.at + 2]
            if kind != "?:":
                _unsupported(f"({kind}")
            self.at += 2
            begin = "(?:"
        else:
            begin = self.begin(own=True)
        inner = self.alternatives(depth + 1)
        if self.peek() != ")":
            raise PatternError("a group without its )")
        self.at += 1
        return _Part(f"{begin}{inner.text})", inner.width, ends=inner.ends)

    def begin(self, *, own: bool) -> str:
        """What a group begins with for RE2: one that captures is counted."""
        if not self.captures:
            return "(?:"
        self.own.append(own)
        return "("

    def end(self) -> _Part:
        return _Part(rf"{self.begin(own=False)}\n?)\z", 0, assertion=True, ends=True)

    def escape(self) -> _Part:
        if not self.peek():
            raise PatternError("a \\ at the end")
        character = self.take()
        if character in _CLASSES:
            # Letters outside of ASCII that are the other case of k and s are no \w in PCRE, whatever the options.
            text = _CLASSES[character]
            return _Part(f"(?-i:{text})" if character in "wW" else text, 1)
        if character == "b":
            return _Part(r"\b", 0, assertion=True)
        if character == "A":
            return _start()
        if character == "z":
            return _Part(r"\z", 0, assertion=True)
        if character == "Z":
            return self.end()
        return _Part(self.literal(self.escaped(character)), 1)

    def literal(self, code: int) -> str:
        """One character outside of a class."""
        character = chr(code)
        if self.folds and character in TWO_CASES:
            return f"(?-i:[{character.upper()}{character.lower()}])"
        self.check_case(code)
        return _literal(code)

    def check_case(self, code: int) -> None:
        if self.folds and code > 127 and any(low <= code <= high for low, high in NEWER_CASES):
            _unsupported(f"{chr(code)} with the option i")

    def escaped(self, character: str) -> int:
        """The code point that a backslash and this character stand for."""
        if character in _LETTERS:
            return _LETTERS[character]
        if character == "x":
            return self.hexadecimal()
        if character.isalnum() or ord(character) > 127:
            _unsupported(f"\\{character}")
        return ord(character)

    def hexadecimal(self) -> int:
        if self.peek() == "{":
            digits, closed, _ = self.pattern[self.at + 1 :].partition("}")
            length = len(digits) + 2
        else:
            digits, closed, length = self.pattern[self.at : self.at + 2], "}", 2
        shape = 1 <= len(digits) <= 6 and (length > 2 or len(digits) == 2)
        if not closed or not shape or set(digits) - set("0123456789abcdefABCDEF"):
            _unsupported("\\x that is not \\xhh or \\x{hhhh}")
        code = int(digits, 16)
        if code > self.last or 0xD800 <= code < 0xE000:
            raise PatternError("\\x of no character")
        self.at += length
        return code

    # -------------------------------------------------------------------------------------------------- classes

    def bracket(self) -> str:
        if self.peek() in {":", ".", "="}:
            _unsupported(f"[{self.peek()}")  # PCRE takes `[:word:]` outside of a class for a mistake
        negated = self.peek() == "^"
        self.at += negated
        made: list[str] = []
        first = True
        while first or self.peek() != "]":
            if not self.peek():
                raise PatternError("a class without its ]")
            made.append(self.member())
            first = False
        self.at += 1
        return f"[{'^' if negated else ''}{''.join(made)}]"

    def member(self) -> str:
        """A character, a range, or a class within the class."""
        low = self.single()
        if isinstance(low, str):
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in {"]", ""}:
                _unsupported("a range that begins with a class")
            return low
        if self.folds and chr(low) in TWO_CASES:
            _unsupported(f"{chr(low)} in a class with the option i")
        self.check_case(low)
        if self.peek() != "-" or self.pattern[self.at + 1 : self.at + 2] in {"]", ""}:
            return _literal(low)
        self.at += 1
        high = self.single()
        if isinstance(high, str):
            _unsupported("a range that ends with a class")
        if high < low:
            raise PatternError("a range out of order")
        if self.folds and high > 127:
            _unsupported("a range beyond ASCII with the option i")
        return f"{_literal(low)}-{_literal(high)}"

    def single(self) -> int | str:
        """The code point of the next character, or what a class such as \\d is called in a class."""
        character = self.take()
        if character == "[" and self.peek() in {":", ".", "="}:
            _unsupported(f"[{self.peek()} in a class")
        if character != "\\":
            return ord(character)
        if not self.peek():
            raise PatternError("a \\ at the end")
        character = self.take()
        if character in "wW" and self.folds:
            _unsupported(f"\\{character} in a class with the option i")
        if character in _IN_CLASSES:
            return _IN_CLASSES[character]
        return 8 if character == "b" else self.escaped(character)


def _start() -> _Part:
    return _Part(r"\A", 0, assertion=True)


def _literal(code: int) -> str:
    character = chr(code)
    return character if code > 127 or character.isalnum() else f"\\x{{{code:x}}}"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
