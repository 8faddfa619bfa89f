"""Hours of the day at which something may run."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """Hold two times of the day, in UTC; the second may lie on the next day.

    >>> night = Window(dt.time(22), dt.time(6))
    >>> [dt.datetime(2026, 1, 1, hour, tzinfo=dt.UTC) in night for hour in (5, 6, 21, 22)]
    [True, False, False, True]
    """

    start: dt.time
    end: dt.time

    def __contains__(self, now: dt.datetime) -> bool:
        time = now.astimezone(dt.UTC).time()
        if self.start < self.end:
            return self.start <= time < self.end
        return time >= self.start or time < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def parse_windows(text: str) -> tuple[Window, ...] | None:
    """Return windows such as ``22:00-06:00, 12:00-13:00``; None for what is none.

    >>> [str(window) for window in parse_windows("22:00-06:00, 12:00-13:00")]
    ['22:00-06:00', '12:00-13:00']
    >>> parse_windows("at night") is None
    True
    """
    found = []
    for part in text.split(","):
        match = _WINDOW.fullmatch(part.strip())
        if match is None:
            return None
        first, second, third, fourth = map(int, match.groups())
        found.append(Window(dt.time(first, second), dt.time(third, fourth)))
    return tuple(found)
