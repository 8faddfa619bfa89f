"""What this process may take of the machine: memory and processors, within its container.

Source: Linux documentation, "Control Group v2" (memory.max, cpu.max), and "CGroups v1".
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_GROUPS = Path("/proc/self/cgroup")
_UNBOUNDED = 1 << 60  # what version 1 says where there is no limit


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """Hold what a process may take: bytes of memory (None: unknown) and processors."""

    memory: int | None
    processors: int


def machine(*, root: Path = _ROOT, groups: Path = _GROUPS) -> Machine:
    """Return what this process may take: the machine's, or its control group's where that is less."""
    limits = list(_limits(root, groups))
    memory = [limit for limit, _ in limits if limit is not None]
    quotas = [quota for _, quota in limits if quota is not None]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Machine(
        memory=min(memory, default=None),
        processors=max(1, min([_processors(), *(math.ceil(quota) for quota in quotas)])),
    )


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(root: Path, groups: Path) -> Iterator[tuple[int | None, float | None]]:
    """Yield the limits of memory and of processors of each group that this process is in."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            # In a container, what it sees of the tree may begin at its own group.
            for folder in (path, *map(str, PurePosixPath(path).parents)):
                place = root / controller / folder.lstrip("/")
                yield _memory(place), _quota(place)


def _memory(place: Path) -> int | None:
    found = [
        number
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        for number in _numbers(place / name)
        if number is not None and 0 < number < _UNBOUNDED
    ]
    return min(found, default=None)


def _quota(place: Path) -> float | None:
    quota, period, *_ = (*_numbers(place / "cpu.max"), None, None)
    if quota is None:
        quota = next(iter(_numbers(place / "cpu.cfs_quota_us")), None)
        period = next(iter(_numbers(place / "cpu.cfs_period_us")), None)
    return quota / period if quota and period and quota > 0 else None


def _numbers(file: Path) -> list[int | None]:
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) if word.lstrip("-").isdigit() else None for word in words]
