"""When upkeep of a table is due: from its schedule and its last run to a time. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from catalog.errors import InputError
from compaction.cron import Cron, parse_cron
from compaction.window import Window
from lakehouse.delta.properties import interval

Misfire = Literal["run", "skip"]
HOUR = dt.timedelta(hours=1)
NONE = dt.timedelta(0)
_UTC = ZoneInfo("UTC")
_LONGEST = 10 * 366 * 86_400_000  # milliseconds: ten years are as good as never
PROPERTIES = (
    "lakehouse.upkeepSchedule",
    "lakehouse.upkeepTimezone",
    "lakehouse.upkeepJitter",
    "lakehouse.upkeepMisfire",
)
"""The table properties that make a schedule, beside the policy's windows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """Say when a table's upkeep is due.

    - ``every``: so long after the start of the last run; or ``cron``, by the clocks of ``zone``.
    - ``jitter``: up to so much later, by chance that is the same for all who ask, so that tables
      of one schedule do not all begin at once.
    - ``misfire``: what becomes of a time that passed more than ``grace`` ago, while no worker ran:
      ``run`` once for all that were missed, or ``skip`` to the next.
    - ``windows``: hours of the day at which it may begin; outside of them it waits.
    """

    every: dt.timedelta = HOUR
    cron: Cron | None = None
    zone: ZoneInfo = _UTC
    jitter: dt.timedelta = NONE
    misfire: Misfire = "run"
    grace: dt.timedelta = dt.timedelta(minutes=10)
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        if self.every <= NONE or self.jitter < NONE or self.grace < NONE:
            raise InputError("a schedule's times must be positive")

    def __str__(self) -> str:
        if self.cron is None:
            return f"every {self.every}"
        return self.cron.text if self.zone.key == "UTC" else f"{self.cron.text} ({self.zone.key})"

    def with_properties(self, properties: Mapping[str, str]) -> Schedule:
        """Return the schedule with what a table's own properties say.

        Raises InputError that names the property which makes no sense.

        >>> str(Schedule().with_properties({"lakehouse.upkeepSchedule": "15 minutes"}))
        'every 0:15:00'
        """
        changed = self
        for name in (name for name in PROPERTIES if name in properties):
            try:
                changed = changed._with(name, properties[name])
            except InputError as error:
                raise error.amended(f"property {name!r}: {error.message}") from error
        return changed

    def _with(self, name: str, text: str) -> Schedule:
        match name.removeprefix("lakehouse.upkeep"):
            case "Schedule":
                return self.at(text)
            case "Timezone":
                return dataclasses.replace(self, zone=parse_zone(text))
            case "Jitter":
                return dataclasses.replace(self, jitter=parse_interval(text))
            case _:
                return dataclasses.replace(self, misfire=_misfire(text))

    def at(self, text: str) -> Schedule:
        """Return the schedule with other times: an interval (``15 minutes``) or a cron expression."""
        if interval(text) is not None:
            return dataclasses.replace(self, every=parse_interval(text), cron=None)
        return dataclasses.replace(self, cron=parse_cron(text))


def next_due(
    schedule: Schedule,
    *,
    last: dt.datetime | None,
    since: dt.datetime,
    now: dt.datetime,
    seed: str,
) -> dt.datetime:
    """Return when a run is due; now or before: it is due now.

    ``last`` is when the last run began, and None where there was none; ``since`` when the table
    came to be. ``seed`` draws the jitter.

    >>> at = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    >>> next_due(Schedule(), last=at, since=at, now=at, seed="").isoformat()
    '2026-01-31T13:00:00+00:00'
    """
    fire = _first(schedule, last, since)
    if schedule.misfire == "skip" and (last is not None or schedule.cron is not None):
        fire = _not_missed(schedule, fire, now - schedule.grace - schedule.jitter)
    due = fire + schedule.jitter * _chance(seed, fire)
    begins = max(due, now)
    if schedule.windows and not any(begins in window for window in schedule.windows):
        return min(_opens(window, begins) for window in schedule.windows)
    return due


def parse_interval(text: str) -> dt.timedelta:
    """Return a length of time, such as ``15 minutes`` or ``interval 1 day 6 hours``.

    >>> parse_interval("90 seconds")
    datetime.timedelta(seconds=90)
    """
    found = interval(text)
    if found is None:
        raise InputError(
            f"{text!r} is no length of time", next_step="Write for example '15 minutes' or '1 day'"
        )
    return dt.timedelta(milliseconds=min(found, _LONGEST))


def parse_zone(text: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database."""
    try:
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"{text!r} is no time zone", next_step="Write for example 'Europe/Berlin'"
        ) from error


def _misfire(text: str) -> Misfire:
    match text.strip().lower():
        case ("run" | "skip") as known:
            return known
    raise InputError(f"{text!r} is no rule for misfires", next_step="Write 'run' or 'skip'")


def _first(schedule: Schedule, last: dt.datetime | None, since: dt.datetime) -> dt.datetime:
    if schedule.cron is not None:
        return schedule.cron.after(since if last is None else last, schedule.zone)
    return since if last is None else last + schedule.every


def _not_missed(schedule: Schedule, fire: dt.datetime, earliest: dt.datetime) -> dt.datetime:
    if fire >= earliest:
        return fire
    if schedule.cron is not None:
        return schedule.cron.after(earliest - dt.timedelta(microseconds=1), schedule.zone)
    return fire + schedule.every * -((fire - earliest) // schedule.every)


def _chance(seed: str, fire: dt.datetime) -> float:
    drawn = hashlib.sha256(f"{fire.isoformat()} {seed}".encode(errors="replace")).digest()
    return int.from_bytes(drawn[:6]) / (1 << 48)


def _opens(window: Window, after: dt.datetime) -> dt.datetime:
    opening = dt.datetime.combine(after.astimezone(dt.UTC).date(), window.start, dt.UTC)
    return opening if opening >= after else opening + dt.timedelta(days=1)
