"""Rule new files out by their statistics without asking DuckDB: in microseconds, if not always.

Who has read a predicate asks about each file that others add before its own commit, and while it
asks, more are added. Most can be ruled out by one column: another customer's, a later day's.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lakehouse.delta.actions import AddFile
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Primitive
from lakehouse.delta.strict_json import document
from lakehouse.scan.bounds import BITS
from lakehouse.scan.may import May

# What `at_most` and `at_least` say of a column of whole numbers.
_NEED = re.compile(r"\((min|max)(\d+) IS NULL OR \1\2 (<=|>=) (-?\d{1,18})\)")


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """Hold what a bound of a whole-numbered column must be for a matching row to be there."""

    statistic: str
    path: tuple[str, ...]
    bits: int
    least: int | None = None
    most: int | None = None

    def rules_out(self, statistics: Mapping[str, Any]) -> bool:
        """Tell whether a file with these statistics holds no matching row."""
        value: Any = statistics.get(self.statistic)
        for name in self.path:
            value = value.get(name) if isinstance(value, dict) else None
        if type(value) is not int or value.bit_length() >= self.bits:
            return False
        too_low = self.least is not None and value < self.least
        return too_low or (self.most is not None and value > self.most)


def limits(may: May, layout: Layout) -> tuple[Limit, ...]:
    """Return the limits that follow from a predicate over the file index, as far as understood."""
    leaves = {leaf.ordinal: leaf for leaf in layout.leaves if leaf.has_bounds}
    found = []
    for sql in may.needs.values():
        match = _NEED.fullmatch(sql)
        leaf = match and leaves.get(int(match[2]))
        if not match or not leaf or not isinstance(leaf.type, Primitive):
            continue
        if leaf.type.name not in BITS:
            continue
        constant, at_least = int(match[4]), match[3] == ">="
        found.append(
            Limit(
                f"{match[1]}Values",
                leaf.physical_path,
                BITS[leaf.type.name],
                least=constant if at_least else None,
                most=None if at_least else constant,
            )
        )
    return tuple(found)


def is_ruled_out(add: AddFile, known: tuple[Limit, ...]) -> bool:
    """Tell whether an added file certainly holds no row within the limits."""
    if not known or add.stats is None:
        return False
    try:
        statistics = document(add.stats.encode())
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(statistics, dict) and any(limit.rules_out(statistics) for limit in known)
