"""The same numbers by other means: plain Python over the raw CSV files, without any database."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Literal

from lakehouse.demo.source import REFERENCES, Source


@dataclasses.dataclass(slots=True)
class Group:
    """Count the flights of one carrier, airport or day."""

    flights: int = 0
    cancelled: int = 0
    arrived: int = 0
    minutes: int = 0

    def figures(self) -> tuple[int, int, str]:
        """Return flights, cancelled, and the mean delay at arrival with six digits."""
        mean = f"{self.minutes / self.arrived:.6f}" if self.arrived else "None"
        return self.flights, self.cancelled, mean


@dataclasses.dataclass(frozen=True, slots=True)
class RawNumbers:
    """Hold what the raw files say.

    ``hours`` counts flights by the hour, as text in UTC; ``joined`` those whose airport, plane
    and wind the other files know; ``references`` counts the lines of these files.
    """

    carriers: Mapping[str, Group]
    airports: Mapping[str, Group]
    days: Mapping[date, Group]
    hours: Mapping[str, int]
    joined: Mapping[str, int]
    references: Mapping[str, int]

    def total(self, measure: Literal["flights", "cancelled", "minutes"]) -> int:
        """Return a measure over all flights."""
        return sum(getattr(group, measure) for group in self.carriers.values())


def read_raw(source: Source) -> RawNumbers:
    """Read the raw files, line by line, and count."""
    carriers: dict[str, Group] = defaultdict(Group)
    airports: dict[str, Group] = defaultdict(Group)
    days: dict[str, Group] = defaultdict(Group)
    planes: Counter[str] = Counter()
    hours: Counter[tuple[str, str]] = Counter()
    with source.open_flights() as stream:
        lines = csv.reader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
        at = {name: index for index, name in enumerate(next(lines))}
        month, day, dep_delay, arr_delay = at["month"], at["day"], at["dep_delay"], at["arr_delay"]
        carrier, dest, tailnum = at["carrier"], at["dest"], at["tailnum"]
        origin, time_hour = at["origin"], at["time_hour"]
        for line in lines:
            cancelled = line[dep_delay] == "NA"
            minutes = None if line[arr_delay] == "NA" else int(line[arr_delay])
            when = f"2013-{line[month]:0>2}-{line[day]:0>2}"
            for group in (carriers[line[carrier]], airports[line[dest]], days[when]):
                group.flights += 1
                group.cancelled += cancelled
                if minutes is not None:
                    group.arrived += 1
                    group.minutes += minutes
            planes[line[tailnum]] += 1
            hours[line[origin], line[time_hour]] += 1
    rows = {name: _rows(source, name) for name in REFERENCES}
    by_hour: Counter[str] = Counter()
    for (_, hour), count in hours.items():
        by_hour[hour] += count
    known = {row["faa"] for row in rows["airports"]}
    windy = {(r["origin"], r["time_hour"]) for r in rows["weather"] if r["wind_speed"] != "NA"}
    joined = {
        "airport": sum(group.flights for name, group in airports.items() if name in known),
        "maker": sum(planes[row["tailnum"]] for row in rows["planes"]),
        "wind": sum(hours[key] for key in windy),
    }
    return RawNumbers(
        carriers=carriers,
        airports=airports,
        days={date.fromisoformat(when): group for when, group in days.items()},
        hours=by_hour,
        joined=joined,
        references={name: len(found) for name, found in rows.items()},
    )


def _rows(source: Source, name: str) -> list[dict[str, str]]:
    with source.reference(name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
