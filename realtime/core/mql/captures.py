"""What a regular expression finds and its groups capture, as PCRE tells it, found by RE2 in linear time.

The patterns are those of `realtime/core/mql/regex.py` but for a repetition of what may be empty, whose last capture
RE2 and PCRE choose differently; tests/mongo/test_regex_differential.py shows that the rest is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realtime.core.mql.regex import compiled, parser_of

Span = tuple[int, int]
NOWHERE: Span = (-1, -1)


@dataclass(frozen=True, slots=True)
class Finder:
    """A compiled pattern. `size`: in instructions, which a byte that is captured may meet all of."""

    search: Any
    own: tuple[bool, ...]
    size: int

    def find(self, text: bytes, start: int) -> list[Span] | None:
        """Where the first match from a place on is, and each group in it; `NOWHERE`: it has no part in the match."""
        found = self.search(text, start)
        if found is None:
            return None
        spans: list[Span] = [found.span(0)]
        newline = False
        for number, own in enumerate(self.own, 1):
            span: Span = found.span(number)
            if own:
                spans.append(span)
            elif span[0] < span[1]:
                newline = True
        if newline:
            # `$` stands before it in PCRE. Nothing but `$` takes the end of the text there, so it is cut from all.
            last = len(text) - 1
            return [(min(begin, last), min(end, last)) for begin, end in spans]
        return spans


def compile_finder(pattern: str, options: str) -> Finder:
    """Compile a pattern for what it captures. Options are letters of `imsu`. Raises `PatternError`."""
    parser = parser_of(pattern, options, captures=True)
    made = compiled(parser.parse(), options, captures=True)
    return Finder(made.search, tuple(parser.own), made.programsize)
