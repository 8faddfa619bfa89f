"""The shape of a table: how many files of which sizes. Pure."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Sequence

_MB = 1_000_000
EDGES = (1 * _MB, 8 * _MB, 32 * _MB, 128 * _MB, 512 * _MB)
LABELS = ("< 1 MB", "1-8 MB", "8-32 MB", "32-128 MB", "128-512 MB", "> 512 MB")


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Hold a table's files and bytes, and the number of files in each of `LABELS`."""

    files: int = 0
    bytes: int = 0
    histogram: tuple[int, ...] = (0,) * len(LABELS)


def shape_of(sizes: Iterable[int]) -> Shape:
    """Return the shape of files with these sizes in bytes.

    >>> shape_of([10, 999_999, 1_000_000, 10**12])
    Shape(files=4, bytes=1000002000009, histogram=(2, 1, 0, 0, 0, 1))
    """
    counts, total = [0] * len(LABELS), 0
    for size in sizes:
        counts[bisect.bisect_right(EDGES, size)] += 1
        total += size
    return Shape(sum(counts), total, tuple(counts))


def bars(before: Sequence[int], after: Sequence[int], *, width: int = 24) -> list[tuple[str, ...]]:
    """Return a row for each size: its label, and numbers with bars before and after.

    >>> bars([4, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], width=4)[0]
    ('< 1 MB', '4', '████', '0', '')
    """
    most = max(1, *before, *after)

    def bar(count: int) -> str:
        return "█" * max(count > 0, round(width * count / most))

    return [
        (label, f"{old:,}", bar(old), f"{new:,}", bar(new))
        for label, old, new in zip(LABELS, before, after, strict=True)
    ]
