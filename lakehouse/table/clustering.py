"""Where a row stands on a curve through some of its columns: z-order, Hilbert, or one by one.

Pure: SQL of a sort key. A column's values are ranked by quantiles of a sample, so that any type
that DuckDB orders will do, and skewed values are spread evenly; NULL ranks last. A curve runs
through the cells that the ranks make; within a cell rows are sorted column by column.
Source: Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Literal, get_args

from catalog.errors import InputError

Curve = Literal["zorder", "hilbert", "linear"]
# Bits of a rank, by the number of columns: finer cells cost more than the files that they tell
# apart are worth.
_BITS = {2: 6, 3: 4, 4: 3}
MOST_COLUMNS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Clustering:
    """Name columns, at most four, and the curve along which rows are sorted by them."""

    columns: tuple[str, ...]
    curve: Curve = "zorder"

    @property
    def key(self) -> str:
        """Return the text by which files tell how they were sorted.

        >>> Clustering(("a", "b c")).key
        'zorder(a,b c)'
        """
        return f"{self.curve}({','.join(self.columns)})"

    @property
    def has_ranks(self) -> bool:
        """Tell whether rows are sorted by ranks: one column, or linear order, needs none."""
        return len(self.columns) > 1 and self.curve != "linear"

    @property
    def ranks(self) -> int:
        """Return how many ranks each column has."""
        return 1 << _BITS[len(self.columns)]


def chosen(columns: Sequence[str], curve: Curve) -> Clustering | None:
    """Return the clustering that a caller means; InputError for what is none."""
    if isinstance(columns, str):
        columns = (columns,)
    if curve not in get_args(Curve):
        raise InputError(
            f"there is no curve {curve!r}", next_step=f"Use one of {', '.join(get_args(Curve))}"
        )
    if len(columns) > MOST_COLUMNS or len(set(columns)) < len(columns):
        raise InputError(
            f"rows cannot be clustered by {', '.join(columns)}",
            next_step=f"Name at most {MOST_COLUMNS} columns, each once",
        )
    return Clustering(tuple(columns), curve) if columns else None


def sort_key(
    clustering: Clustering,
    columns: tuple[str, ...],
    quantiles: tuple[str, ...],
    within: tuple[str, ...] = (),
) -> str:
    """Return SQL to order by.

    ``columns`` are SQL for the columns' values, ``quantiles`` for a list of each one's quantiles:
    ``ranks - 1`` values, from the smallest on. Rows of one cell of a curve are sorted by
    ``within``.

    >>> sort_key(Clustering(("a",)), ("a",), ())
    'a'
    """
    if not clustering.has_ranks:
        return ", ".join(columns)
    bits, count = _BITS[len(columns)], len(columns)
    ranked = []
    for position, (column, values) in enumerate(zip(columns, quantiles, strict=True)):
        places = [
            _place(clustering.curve, rank, position, count, bits) for rank in range(1 << bits)
        ]
        ranked.append(f"({_tree(column, values, places, 0, 1 << bits)})")
    cell = " + ".join(ranked)
    if clustering.curve == "hilbert":
        cell = f"{list(_hilbert(count, bits))}[{cell} + 1]"
    return ", ".join((cell, *within))


def _place(curve: Curve, rank: int, position: int, count: int, bits: int) -> int:
    """Return what a column's rank adds to the cell's number."""
    if curve == "hilbert":
        return rank << (bits * (count - 1 - position))
    return sum((rank >> i & 1) << (i * count + count - 1 - position) for i in range(bits))


def _tree(column: str, values: str, places: list[int], low: int, high: int) -> str:
    """Return a binary search as nested CASE: DuckDB runs it on whole vectors."""
    if high - low == 1:
        return f"{places[low]}::USMALLINT"
    middle = (low + high) // 2
    # NULL is less than nothing, and so comes last.
    return (
        f"CASE WHEN {column} < {values}[{middle}] THEN {_tree(column, values, places, low, middle)} "
        f"ELSE {_tree(column, values, places, middle, high)} END"
    )


@functools.cache
def _hilbert(count: int, bits: int) -> tuple[int, ...]:
    """Return the place on the Hilbert curve of each cell, in the order of the cells' numbers.

    >>> _hilbert(2, 1)
    (0, 1, 3, 2)
    """
    return tuple(
        _hilbert_place(list(cell), bits)
        for cell in itertools.product(range(1 << bits), repeat=count)
    )


def _hilbert_place(axes: list[int], bits: int) -> int:
    highest = 1 << (bits - 1)
    bit = highest
    while bit > 1:
        below = bit - 1
        for i in range(len(axes)):
            if axes[i] & bit:
                axes[0] ^= below
            else:
                swap = (axes[0] ^ axes[i]) & below
                axes[0] ^= swap
                axes[i] ^= swap
        bit >>= 1
    for i in range(1, len(axes)):
        axes[i] ^= axes[i - 1]
    flip, bit = 0, highest
    while bit > 1:
        if axes[-1] & bit:
            flip ^= bit - 1
        bit >>= 1
    place = 0
    for level in range(bits - 1, -1, -1):
        for axis in axes:
            place = place << 1 | (axis ^ flip) >> level & 1
    return place
