"""The shape of a table: how many files of which sizes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from lakehouse import Table

_MB = 1_000_000
EDGES = (1 * _MB, 8 * _MB, 32 * _MB, 128 * _MB, 512 * _MB)
LABELS = ("< 1 MB", "1-8 MB", "8-32 MB", "32-128 MB", "128-512 MB", "> 512 MB")


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Hold a table's files and bytes, and the number of files in each of `LABELS`."""

    files: int = 0
    bytes: int = 0
    histogram: tuple[int, ...] = (0,) * len(LABELS)


def measure(table: Table) -> Shape:
    """Return the shape that a table has now.

    >>> import tempfile, lakehouse
    >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
    ...     table = lake.create_table("silver.t", {"n": "BIGINT"})
    ...     reports = [table.append([{"n": n}]) for n in range(3)]
    ...     measure(table).files, measure(table).histogram
    (3, (3, 0, 0, 0, 0, 0))
    """
    snapshot = table.snapshot()
    if snapshot.files.is_empty:
        return Shape()
    engine = table.rewriter().engine
    bounds = itertools.pairwise((0, *EDGES, 1 << 62))
    counts = ", ".join(f"count(*) FILTER (size >= {a} AND size < {b})" for a, b in bounds)
    with engine.work("look at the table's files", reading=True) as cursor:
        with snapshot.files.on(cursor, engine) as index:
            sql = f"SELECT count(*), sum(size)::BIGINT, {counts} FROM {index}"
            files, size, *histogram = cursor.execute(sql).fetchall()[0]
    return Shape(files, size, tuple(histogram))


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
