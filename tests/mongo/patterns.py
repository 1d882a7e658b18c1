"""Regular expressions at random, mostly of constructs that are taken, and texts that they are tried on."""

from __future__ import annotations

import random
import re

PLAIN = "abAB1_ \n"
ODD = "kKsS0-.\t\v\réÉжß€ſ\u212aВвСс\x85\xa0\u2028\U0001f600"
OPTIONS = ["", "", "i", "s", "m", "is", "im", "ms", "ims", "u"]
CLASSES = ["a-c", "A-Z", "0-9", " -~", "\\d", "\\s", "\\S", "\\D", "\\n", "\\t", "\\-", "\\]", "]", "-", "^", "[", "é"]
REFUSED = [
    *("(?=a)", "(?!a)", "(?<=a)", "(?<n>a)", "(?i)", "(a)\\1", "\\v", "\\h", "\\R", "\\Qa\\E", "{", "a{,2}", "\\p{L}"),
    *("\\G", "(?#c)", "(*F)", "a++", "\\K", "\\B", "\\cA", "\\07", "[[:alpha:]]", "a$b", "a{1001}", "[^\\w]", "(?>a)"),
]
"""Constructs that MongoDB takes, or most of them."""


class Patterns:
    """From one source of chance."""

    def __init__(self, chance: random.Random, *, refused: float = 0.02) -> None:
        self.chance = chance
        self.refused = refused

    def text(self) -> str:
        """Something to look in."""
        letters = PLAIN if self.chance.random() < 0.75 else PLAIN + ODD
        return "".join(self.chance.choice(letters) for _ in range(self.chance.choice([0, 1, 1, 2, 2, 3, 4, 6])))

    def options(self) -> str:
        return self.chance.choice(OPTIONS)

    def pattern(self, depth: int = 2) -> str:
        """Alternatives of sequences."""
        return "|".join(self.sequence(depth) for _ in range(self.chance.choice([1, 1, 1, 2, 3])))

    def broken(self) -> str:
        """What no engine takes: a bracket that nothing closes or opens, a repetition of nothing."""
        whole = self.pattern()
        return self.chance.choice([f"({whole}", f"{whole})", f"{whole}[", f"*{whole}"])

    def refused_by_name(self) -> str:
        """What MongoDB takes and no search in linear time does."""
        return self.chance.choice(["(?=a)", "(?!a)", "(?<=a)"]) + self.literal()

    def sequence(self, depth: int) -> str:
        made = "".join(self.repeated(self.atom(depth)) for _ in range(self.chance.choice([0, 1, 1, 2, 2, 3])))
        ends = self.chance.random()
        # A `$` at the end of an alternative, where it is taken.
        return made + ("$" if ends < 0.08 else "\\Z" if ends < 0.1 else "")

    def repeated(self, atom: str) -> str:
        if self.chance.random() < 0.7 or atom[0] in "^$" or atom in {"\\b", "\\A", "\\z", "\\B"}:
            return atom
        return atom + self.chance.choice(
            ["*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}", "*?", "+?", "??", "{2}?", "{0}"]
        )

    def literal(self) -> str:
        letter = self.chance.choice(PLAIN if self.chance.random() < 0.85 else ODD)
        if self.chance.random() < 0.05:
            return f"\\x{{{ord(letter):x}}}"
        return re.escape(letter) if ord(letter) < 128 else letter

    def atom(self, depth: int) -> str:
        dice = self.chance.random()
        if dice < self.refused:
            return self.chance.choice(REFUSED)
        if dice < 0.50:
            return self.literal()
        if dice < 0.58:
            return "."
        if dice < 0.70:
            return self.bracket()
        if dice < 0.80:
            return "\\" + self.chance.choice("dwsDWSbntrfe")
        if dice < 0.86:
            return self.chance.choice(["^", "\\A", "^a", "\\z", "\\x41", "\\.", "\\/", "\\_"])
        if depth:
            return f"{self.chance.choice(['(', '(?:'])}{self.pattern(depth - 1)})"
        return self.literal()

    def bracket(self) -> str:
        members = [self.chance.choice(CLASSES) if self.chance.random() < 0.5 else self.literal() for _ in range(2)]
        return f"[{'^' if self.chance.random() < 0.3 else ''}{''.join(members)}]"
