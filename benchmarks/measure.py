"""Time contestants in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path


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


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Hold what a process took: seconds, seconds of CPU, bytes of memory at the peak."""

    wall: float
    cpu: float
    memory: int


def compare(
    name: str,
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm: int = 0,
    turn: float = 0.0,
) -> Figure:
    """Time contestants in ``rounds`` of turns, after ``warm`` rounds that do not count; see `turns`."""
    seconds = turns(contestants, rounds=rounds, warm=warm, turn=turn)
    return Figure(name, {name_: statistics.median(times) for name_, times in seconds.items()})


def turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm: int = 0,
    turn: float = 0.0,
) -> dict[str, list[float]]:
    """Return the seconds of each contestant's calls, made in turns.

    A turn is one call, or as many as it takes to fill ``turn`` seconds: what takes milliseconds
    would else be timed with the processor's caches full of what another contestant left there.
    """
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for number in range(warm + rounds):
        for contestant, run in contestants.items():
            took = 0.0
            while took == 0.0 or took < turn:
                started = time.perf_counter()
                run()
                last = time.perf_counter() - started
                took += last
                if number >= warm:
                    seconds[contestant].append(last)
    return seconds


def load() -> str:
    """Return how busy the machine is: processes that ran or waited in the last minute."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def alone(work: Callable[[Path], None], place: Path) -> Cost:
    """Do work in a process of its own, so that CPU time and peak of memory are its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, place, sender))
    process.start()
    sender.close()
    cost: Cost = receiver.recv()
    process.join()
    return cost


def _measured(work: Callable[[Path], None], place: Path, sender) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work(place)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sender.send(Cost(wall, cpu, _peak()))


def _peak() -> int:
    """Return the most memory that this process has had.

    `getrusage` would say that of the process which started this one, where it is more.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024
