"""Pack files into bins that are worth to be merged. Pure.

Properties that hold: a file is in one bin at most; all files of a bin are of one partition, and
together not much above the target; a bin makes fewer files, or leaves deleted rows out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from compaction.facts import FileFacts, Partition


@dataclasses.dataclass(frozen=True, slots=True)
class Bin:
    """Hold files that are to become one, in their order."""

    files: tuple[FileFacts, ...]

    @property
    def bytes(self) -> int:
        """Return the bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def live_bytes(self) -> int:
        """Return about how many bytes are left when deleted rows are."""
        return sum(file.live_bytes for file in self.files)


def pack(
    files: Iterable[FileFacts], *, target: int, small: int, min_files: int, deleted_share: float
) -> list[Bin]:
    """Return the bins worth rewriting, by partition, in the files' order.

    Neighbours stay together: files that were written one after the other hold similar rows. A
    file of which at least ``deleted_share`` of the rows are deleted is rewritten, alone unless it
    is small.

    >>> files = [FileFacts("a", 10), FileFacts("b", 20), FileFacts("c", 900)]
    >>> found = pack(files, target=1000, small=500, min_files=2, deleted_share=0.1)
    >>> [bin_.bytes for bin_ in found]
    [30]
    """
    by_partition: dict[Partition, list[FileFacts]] = {}
    alone: list[Bin] = []
    for file in files:
        if file.live_bytes < small:
            by_partition.setdefault(file.partition, []).append(file)
        elif file.deleted_share >= deleted_share:
            alone.append(Bin((file,)))
    packed = [bin_ for group in by_partition.values() for bin_ in _packed(group, target)]
    worth = [
        bin_
        for bin_ in packed
        if len(bin_.files) >= min_files
        or any(file.deleted_share >= deleted_share for file in bin_.files)
    ]
    return worth + alone


def _packed(files: list[FileFacts], target: int) -> list[Bin]:
    bins: list[Bin] = []
    pending: list[FileFacts] = []
    size = 0
    for file in files:
        if pending and size + file.live_bytes > target:
            bins.append(Bin(tuple(pending)))
            pending, size = [], 0
        pending.append(file)
        size += file.live_bytes
    return [*bins, Bin(tuple(pending))] if pending else bins
