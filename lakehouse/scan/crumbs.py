"""Read many small files: what DuckDB does for each of them costs more than to read its rows.

Footers are kept for the next query. And files that are in memory already need no threads that wait
for the disk, see `lakehouse.duck.fetching`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from lakehouse.scan.asked import Asked
from lakehouse.scan.report import Kept

# DuckDB holds footers within its memory limit, and reads that of a changed file anew.
KEEP_FOOTERS = "SET SESSION parquet_metadata_cache = true"
_KEPT_FROM = 16  # files; to say so takes as long as to read the footers of fewer
_MANY, _SMALL = 256, 1 << 20
_LARGE = 64 << 20
_SAMPLED = 8


def keeps_footers(asked: Asked, kept: Iterable[Kept]) -> bool:
    """Tell whether the footers that a query reads had better be kept for the next one."""
    return asked.is_local and sum(one.files for one in kept) >= _KEPT_FROM


def are_crumbs(files: int, size: int) -> bool:
    """Tell whether so many files, of so many bytes together, are many and small.

    >>> are_crumbs(20_000, 1 << 30), are_crumbs(20_000, 1 << 40), are_crumbs(10, 1 << 10)
    (True, False, False)
    """
    return files >= _MANY and are_small(files, size)


def are_small(files: int, size: int) -> bool:
    """Tell whether it takes longer to open files, of so many bytes together, than to read them."""
    return size < files * _SMALL


def sampled(count: int) -> list[int]:
    """Return the positions of a few of so many things, spread over all.

    >>> sampled(20), sampled(3)
    ([0, 2, 5, 7, 10, 12, 15, 17], [0, 1, 2])
    """
    some = min(count, _SAMPLED)
    return [number * count // some for number in range(some)]


def need_no_threads(kept: Iterable[Kept]) -> bool | None:
    """Tell whether what a query reads is in memory, and small; None where it does not matter."""
    found = list(kept)
    samples = [path for one in found for path in one.sample]
    if samples:
        return all(map(is_in_memory, samples))
    return False if sum(one.bytes for one in found) >= _LARGE else None


def is_in_memory(path: str) -> bool:
    """Tell whether the end of a local file can be read without waiting for the disk.

    False where the system does not say, as only Linux does, and for what is no path but a pattern.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            end = max(0, os.fstat(file).st_size - 1)
            return os.preadv(file, [bytearray(1)], end, os.RWF_NOWAIT) >= 0
        finally:
            os.close(file)
    except (OSError, AttributeError):
        return False
