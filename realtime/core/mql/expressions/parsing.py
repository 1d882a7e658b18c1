"""Dates in texts: by a format as MongoDB reads one, or ISO 8601. What else MongoDB may take there is not guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from realtime.core.mql.expressions.calendar import days_of, length_of, week_day
from realtime.core.mql.expressions.outcomes import fail, unsure
from realtime.core.mql.expressions.texts import text

_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(Z|[+-]\d{2}:?\d{2})?)?\Z", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Written:
    """A date in a text: milliseconds on the clock on the wall, and seconds east of Greenwich where it says so."""

    local: int
    offset: int | None

    @property
    def millis(self) -> int:
        """The time, in Greenwich where the text names no zone."""
        return self.local - 1000 * (self.offset or 0)


def iso_date(name: str, text: str) -> Written:
    """A date in ISO 8601."""
    found = _ISO.match(text)
    if not found:
        unsure(name, "has a text that is no date of ISO 8601, of which MongoDB may make one")
    year, month, day = (int(found[at]) for at in (1, 2, 3))
    hour, minute, second = (int(found[at] or 0) for at in (4, 5, 6))
    if not (1 <= month <= 12 and 1 <= day <= length_of(year, month) and hour < 24 and minute < 60 and second < 60):
        unsure(name, "has a text with a day or a time that does not exist, of which MongoDB may make one")
    millisecond = int(((found[7] or "") + "000")[:3])
    seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
    zone = found[8]
    if zone is None:
        return Written(seconds * 1000 + millisecond, None)
    digits = zone[1:].replace(":", "")
    east = 0 if zone == "Z" else (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return Written(seconds * 1000 + millisecond, east)


# ----------------------------------------------------------------------------------------------------------- by format

_NUMBERS = {"Y": (1, 4), "m": (1, 2), "d": (1, 2), "H": (1, 2), "M": (2, 2), "S": (2, 2), "L": (1, 3), "G": (1, 4)}
_WEEKS = {"V": 53, "u": 7}
LETTERS = frozenset({*_NUMBERS, *_WEEKS, *"zZ%"})
"""What may stand behind % in a format that is read."""
_SKIPPING = frozenset("GVu")
_NO_DIGITS = re.compile(r"[^0-9]*")
_DIGITS = re.compile(r"\d*", re.ASCII)
_OFFSET = re.compile(r"([+-])(?:(\d{1,2})(?::?(\d{2}))?)(?![\d:])", re.ASCII)
_GREENWICH = re.compile(r"(?:Z|UTC|GMT)(?=[ )]|\Z)", re.IGNORECASE)
_MINUTES = re.compile(r"([+-])(\d{0,9})(?!\d)", re.ASCII)


def check_letters(name: str, form: Any, letters: frozenset[str]) -> None:
    """Fail where a format is no text, has an unknown letter, or ends with %; not decided for what is no UTF-8."""
    known = text(name, form)
    at = known.find("%")
    while at >= 0:
        if known[at + 1 : at + 2] not in letters or at + 1 == len(known):
            fail(name, f"knows no %{known[at + 1 : at + 2]} in a format")
        at = known.find("%", at + 2)


@dataclass(slots=True)
class _Reader:
    """A text on its way through a format."""

    name: str
    text: str
    at: int = 0
    found: dict[str, int] = field(default_factory=dict)
    offset: int | None = None

    def number(self, letter: str) -> None:
        least, most = _NUMBERS.get(letter, (1, 1 if letter == "u" else 2))
        if letter in _SKIPPING:
            # MongoDB's own: what stands before the digits of these is passed over, whatever it is.
            self.at += len(_run(_NO_DIGITS, self.text, self.at, len(self.text)))
        given = _run(_DIGITS, self.text, self.at, self.at + most)
        if len(given) < least:
            fail(self.name, f"has a text without the digits of %{letter}")
        self.at += len(given)
        self.found[letter] = int(given.ljust(3, "0") if letter == "L" else given)
        if letter in _WEEKS and not 1 <= self.found[letter] <= _WEEKS[letter]:
            fail(self.name, f"has a text with a %{letter} that is not from 1 to {_WEEKS[letter]}")

    def minutes(self) -> None:
        if self.text[self.at : self.at + 1] not in {"+", "-"}:
            fail(self.name, "has a text without the sign of %Z")
        found = _MINUTES.match(self.text, self.at)
        if not found:
            unsure(self.name, "has a text with more minutes for %Z than are followed here")
        self.offset = int(f"{found[1]}{found[2] or 0}") * 60
        self.at = found.end()

    def zone(self) -> None:
        if found := _OFFSET.match(self.text, self.at):
            seconds = _seconds(found[2], found[3])
            self.offset, self.at = (-seconds if found[1] == "-" else seconds), found.end()
        elif found := _GREENWICH.match(self.text, self.at):
            self.offset, self.at = 0, found.end()
        elif self.at == len(self.text):
            fail(self.name, "has a text without the zone of %z")
        else:
            unsure(self.name, "has a text with a zone for %z that is no offset, of which MongoDB knows some")

    def literal(self, character: str) -> None:
        if self.text[self.at : self.at + 1] != character:
            fail(self.name, "has a text that does not follow the format")
        self.at += 1


def _run(pattern: re.Pattern[str], text: str, start: int, end: int) -> str:
    found = pattern.match(text, start, end)
    return found[0] if found else ""


def _seconds(hours: str, minutes: str | None) -> int:
    return int(hours) * 3600 + int(minutes or 0) * 60


def by_format(name: str, text: str, form: str) -> Written:
    """A date by a format that was checked."""
    if "\0" in text or "\0" in form:
        unsure(name, "has a NUL character, at which MongoDB may stop reading")
    reader, letters = _Reader(name, text), iter(form)
    for character in letters:
        letter = next(letters) if character == "%" else ""
        if letter == "z":
            reader.zone()
        elif letter == "Z":
            reader.minutes()
        elif letter and letter != "%":
            reader.number(letter)
        else:
            reader.literal(character)
    if reader.at < len(text):
        fail(name, "has a text that goes on behind the format")
    found = reader.found
    hour, minute, second, millisecond = (found.get(letter, 0) for letter in "HMSL")
    if hour > 23 or minute > 59 or second > 59:
        fail(name, "has a text with a time that does not exist")
    clock = (hour * 3600 + minute * 60 + second) * 1000 + millisecond
    return Written(_days(name, found) * 86_400_000 + clock, reader.offset)


def _days(name: str, found: dict[str, int]) -> int:
    by_weeks = found.keys() & {"G", "V", "u"}
    if by_weeks and found.keys() & {"Y", "m", "d"}:
        fail(name, "has a format with weeks and with months, which do not go together")
    if by_weeks:
        if "G" not in found:
            fail(name, "has a format with a week and without its year, %G")
        return week_day(found["G"], found.get("V", 1), found.get("u", 1))
    if not {"Y", "m", "d"} <= found.keys():
        fail(name, "has a format without a whole day: it takes %Y, %m and %d, or %G with %V and %u")
    if not (1 <= found["m"] <= 12 and 1 <= found["d"] <= length_of(found["Y"], found["m"])):
        fail(name, "has a text with a day that does not exist")
    return days_of(found["Y"], found["m"], found["d"])
