"""The calendar of dates in MongoDB: proleptic Gregorian, years far beyond Python's, weeks of ISO 8601 and of Sundays.

Days are counted from 1970-01-01. Source for the conversion of days: the algorithms of Howard Hinnant.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Parts:
    """A moment as a clock on a wall shows it."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int
    days: int
    """Since 1970-01-01."""


def days_of(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a day; months and days beyond their ends go on."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year + day - 1 - 719_468


def day_of(days: int) -> tuple[int, int, int]:
    """Year, month and day."""
    era, of_era = divmod(days + 719_468, 146_097)
    of_400 = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_400 + of_400 // 4 - of_400 // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return of_400 + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def parts_of(local: int) -> Parts:
    """Of milliseconds since 1970 on the clock on the wall."""
    days, rest = divmod(local, DAY)
    year, month, day = day_of(days)
    hour, rest = divmod(rest, 3_600_000)
    minute, rest = divmod(rest, 60_000)
    second, millisecond = divmod(rest, 1000)
    return Parts(year, month, day, hour, minute, second, millisecond, days)


def is_leap(year: int) -> bool:
    """Whether a year has a 29th of February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def length_of(year: int, month: int) -> int:
    """Days of a month from 1 to 12."""
    return 29 if month == 2 and is_leap(year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def weekday(days: int) -> int:
    """From Monday, 1, to Sunday, 7."""
    return (days + 3) % 7 + 1


def day_of_year(days: int) -> int:
    """From 1."""
    return days - days_of(day_of(days)[0], 1, 1) + 1


def iso_week(days: int) -> tuple[int, int]:
    """Year and week of ISO 8601: a week belongs to the year of its Thursday."""
    thursday = days + 4 - weekday(days)
    year = day_of(thursday)[0]
    return year, (thursday - days_of(year, 1, 1)) // 7 + 1


def week_day(year: int, week: int, day: int) -> int:
    """Days from 1970-01-01 to a day of a week of ISO 8601; weeks and days beyond their ends go on."""
    fourth = days_of(year, 1, 4)
    return fourth - weekday(fourth) + 1 + (week - 1) * 7 + day - 1


def sunday_week(days: int) -> int:
    """The week of the year from 0, by Sundays."""
    return (day_of_year(days) - 1 + 7 - weekday(days) % 7) // 7


def iso_text(millis: int) -> str | None:
    """As `2020-01-01T00:00:00.000Z`; None beyond four digits of a year."""
    parts = parts_of(millis)
    if not 0 <= parts.year <= 9999:
        return None
    return (
        f"{parts.year:04}-{parts.month:02}-{parts.day:02}T{parts.hour:02}:{parts.minute:02}:{parts.second:02}."
        f"{parts.millisecond:03}Z"
    )


def stamp_text(seconds: int, increment: int) -> str:
    """A timestamp as MongoDB's older functions write it: `Jan  1 00:00:01:2`."""
    parts = parts_of(seconds * 1000)
    clock = f"{parts.hour:02}:{parts.minute:02}:{parts.second:02}"
    return f"{_MONTHS[parts.month - 1]} {parts.day:2} {clock}:{increment}"
