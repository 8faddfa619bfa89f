"""Which files may hold a matching row: a predicate over the file index, and what follows from it.

Parquet's own statistics let DuckDB pass over row groups of a checkpoint, by comparisons of one
column with a constant; a predicate that must keep files whose statistics are unknown is none. So
each predicate carries such comparisons, that must hold where it holds: its needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.files.typed import is_truncated
from lakehouse.delta.schema.fields import Primitive
from lakehouse.delta.schema.types import to_duckdb


@dataclasses.dataclass(frozen=True, slots=True)
class May:
    """Hold SQL over the index that is true, and never NULL, for files which may match.

    ``needs`` has, by column of the index, a condition on it alone that holds for all those files.
    """

    exact: str
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def stored(self) -> str:
        """Return the same predicate for files that are stored in a checkpoint."""
        return " AND ".join((f"({self.exact})", *self.needs.values()))


KEEP = "true"
DROP = "false"
EVERY = May(KEEP)
NONE = May(DROP)


def all_of(parts: Sequence[May]) -> May:
    """Return the predicate of files that all parts keep."""
    if NONE in parts:
        return NONE
    terms = [part for part in parts if part != EVERY]
    if len(terms) < 2:
        return terms[0] if terms else EVERY
    needs: dict[str, str] = {}
    for part in terms:
        for column, sql in part.needs.items():
            needs[column] = f"{needs[column]} AND {sql}" if column in needs else sql
    return May(f"({' AND '.join(part.exact for part in terms)})", needs)


def any_of(parts: Sequence[May]) -> May:
    """Return the predicate of files that some part keeps."""
    if EVERY in parts:
        return EVERY
    terms = list(dict.fromkeys(part.exact for part in parts if part != NONE))
    if not terms:
        return NONE
    parts = [part for part in parts if part != NONE]
    if len(terms) == 1:
        return parts[0]
    shared = [c for c in parts[0].needs if all(c in part.needs for part in parts)]
    needs = {c: f"({' OR '.join(f'({part.needs[c]})' for part in parts)})" for c in shared}
    return May(f"({' OR '.join(terms)})", needs)


def at_most(leaf: Leaf, constant: str) -> dict[str, str]:
    """Return what follows for a file with a value of at most ``constant`` (SQL)."""
    column = f"min{leaf.ordinal}"
    return {column: f"({column} IS NULL OR {column} <= {constant})"}


def at_least(leaf: Leaf, constant: str) -> dict[str, str]:
    """Return what follows for a file with a value of at least ``constant`` (SQL)."""
    if leaf.is_float:
        return {}  # NaN is greater than all numbers, and bounds leave it out
    column = f"max{leaf.ordinal}"
    if is_truncated(leaf):
        column = f"top{leaf.ordinal}"
        zero = "TIMESTAMPTZ" if leaf.type == Primitive("timestamp") else "TIMESTAMP"
        constant = (
            f"coalesce(TRY(CAST({constant} AS {to_duckdb(leaf.type)}) - INTERVAL 1 MILLISECOND), "
            f"'-infinity'::{zero})"
        )
    return {column: f"({column} IS NULL OR {column} >= {constant})"}
