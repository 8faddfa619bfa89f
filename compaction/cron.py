"""Cron expressions: five fields to the next time that they match. Pure.

As cron itself: minute, hour, day of month, month, day of week (0 and 7 are Sunday), with lists,
ranges, steps, names of months and weekdays, ``@hourly``, ``@daily``, ``@weekly`` and ``@monthly``.
Where both days are restricted, one of them suffices.

When clocks go forward, what falls into the missing hour runs as much later; when they go back, what
has its hour told runs in the first of the two hours, and what runs each hour runs in both.
"""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import itertools
import re
from zoneinfo import ZoneInfo

from catalog.errors import InputError

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
_DAYS = 9 * 366  # from one 29 February to the next there may be eight years


@dataclasses.dataclass(frozen=True, slots=True)
class Cron:
    """Hold the values that each field allows."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    each_hour: bool
    either_day: bool

    def after(self, moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
        """Return the first time after a moment, in UTC, by the clocks of a zone.

        >>> moment = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
        >>> parse_cron("30 2 * * *").after(moment, ZoneInfo("Europe/Berlin")).isoformat()
        '2026-03-29T01:30:00+00:00'
        """
        # A day early: near midnight, clocks that change may shift a time into another day.
        first = moment.astimezone(zone).date() - dt.timedelta(days=1)
        for offset in range(_DAYS):
            day = first + dt.timedelta(days=offset)
            if self._allows(day):
                times = [time for time in self._times(day, zone) if time > moment]
                if times:
                    return min(times)
        raise InputError(f"{self.text!r} never comes", next_step="Check its day and its month")

    def _allows(self, day: dt.date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week

    def _times(self, day: dt.date, zone: ZoneInfo) -> list[dt.datetime]:
        found = []
        for hour, minute in itertools.product(self.hours, self.minutes):
            first, second = (
                dt.datetime.combine(day, dt.time(hour, minute, fold=fold), zone).astimezone(dt.UTC)
                for fold in (0, 1)
            )
            found.append(first)
            # Of a time that is missing, the second would be as much earlier.
            if self.each_hour and second > first:
                found.append(second)
        return found


def parse_cron(text: str) -> Cron:
    """Return what an expression means; InputError names the field that is wrong.

    >>> sorted(parse_cron("0 9-17/4 * * mon-fri").hours)
    [9, 13, 17]
    """
    fields = _MACROS.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise _wrong(text, f"it has {len(fields)} fields")
    weekdays = _values(text, fields[4], "day of the week", 0, 7, _WEEKDAYS)
    cron = Cron(
        text=text,
        minutes=_values(text, fields[0], "minute", 0, 59),
        hours=_values(text, fields[1], "hour", 0, 23),
        days=_values(text, fields[2], "day", 1, 31),
        months=_values(text, fields[3], "month", 1, 12, _MONTHS),
        weekdays=frozenset(day % 7 for day in weekdays),
        each_hour=fields[1].startswith("*"),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    cron.after(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), ZoneInfo("UTC"))  # that it comes at all
    return cron


def _values(
    text: str, field: str, what: str, low: int, high: int, names: dict[str, int] | None = None
) -> frozenset[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(text, f"its {what} cannot be {part!r}")
        star, first, last, step = match.groups()
        start = low if star else _value(text, first, what, low, high, names)
        # A start with a step and no end goes on to the end.
        end = high if star or (step and not last) else start
        if last:
            end = _value(text, last, what, low, high, names)
        if end < start or (step is not None and not 1 <= int(step) <= high):
            raise _wrong(text, f"its {what} cannot be {part!r}")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _value(
    text: str, word: str, what: str, low: int, high: int, names: dict[str, int] | None
) -> int:
    value = (names or {}).get(word, int(word) if word.isdigit() and len(word) < 3 else -1)
    if not low <= value <= high:
        raise _wrong(text, f"its {what} cannot be {word!r}")
    return value


def _wrong(text: str, problem: str) -> InputError:
    return InputError(
        f"{text!r} is no cron expression: {problem}",
        next_step="Write minute, hour, day, month and weekday, such as '0 3 * * *'",
    )
