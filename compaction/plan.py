"""Plan compaction: from files and a policy to bins. Pure.

Properties that hold: a file is in one bin at most; a bin has at least ``min_files`` files, all of
one partition and together not much above the target; a plan of a plan's result is empty or has
fewer files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from compaction.policy import Policy


@dataclasses.dataclass(frozen=True, slots=True)
class FileSize:
    """Describe a live file: its path, its size in bytes, and its partition's values."""

    path: str
    size: int
    partition: tuple[str | None, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Bin:
    """Hold files that are to become one, in their order."""

    files: tuple[FileSize, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(file.size for file in self.files)


def plan_bins(files: Iterable[FileSize], policy: Policy) -> tuple[Bin, ...]:
    """Return the bins worth merging, those that save the most files a byte first.

    >>> files = [FileSize("a", 10), FileSize("b", 20), FileSize("c", 900)]
    >>> [bin_.size for bin_ in plan_bins(files, Policy(1000))]
    [30]
    """
    small: dict[tuple[str | None, ...], list[FileSize]] = {}
    for file in files:
        if file.size < policy.target_bytes * policy.small_fraction:
            small.setdefault(file.partition, []).append(file)
    bins = [bin_ for group in small.values() for bin_ in _packed(group, policy.target_bytes)]
    worth = [bin_ for bin_ in bins if len(bin_.files) >= policy.min_files]
    worth.sort(key=lambda bin_: (len(bin_.files) - 1) / (bin_.size + 1), reverse=True)
    return tuple(worth)


def _packed(files: list[FileSize], target: int) -> list[Bin]:
    # Neighbours stay together: files that were written one after the other hold similar rows.
    bins: list[Bin] = []
    pending: list[FileSize] = []
    size = 0
    for file in files:
        if pending and size + file.size > target:
            bins.append(Bin(tuple(pending)))
            pending, size = [], 0
        pending.append(file)
        size += file.size
    return [*bins, Bin(tuple(pending))] if pending else bins
