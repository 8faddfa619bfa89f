"""Time contestants in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """Hold one comparison: median seconds by contestant, ours first."""

    name: str
    medians: Mapping[str, float]
    remarks: tuple[str, ...] = ()

    @property
    def ratios(self) -> dict[str, float]:
        """Return our median as a share of each peer's."""
        ours, *peers = self.medians
        return {peer: self.medians[ours] / self.medians[peer] for peer in peers}


def compare(
    name: str, contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 0
) -> Figure:
    """Run each contestant ``rounds`` times in turns, after ``warm`` rounds that do not count."""
    seconds = turns(contestants, rounds=rounds, warm=warm)
    return Figure(name, {name_: statistics.median(times) for name_, times in seconds.items()})


def turns(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 0
) -> dict[str, list[float]]:
    """Return the seconds of each contestant's rounds, run in turns."""
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for turn in range(warm + rounds):
        for contestant, run in contestants.items():
            started = time.perf_counter()
            run()
            if turn >= warm:
                seconds[contestant].append(time.perf_counter() - started)
    return seconds


def load() -> str:
    """Return how busy the machine is: processes that ran or waited in the last minute."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
