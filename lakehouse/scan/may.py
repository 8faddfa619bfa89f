"""Which files may hold a matching row: a predicate over the file index, and what follows from it.

Parquet's own statistics let DuckDB pass over row groups of a checkpoint, by comparisons of one
column with a constant; a predicate that must keep files whose statistics are unknown is none. So
each predicate carries such comparisons, that must hold where it holds: its needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """Look a file's lower bound up among values: they may be many, and are no part of a text.

    ``place`` names a table with the values as its column ``value``. The index gets a column
    ``column``: the least value that is not below ``low`` (SQL over the index), or NULL.
    """

    column: str
    place: str
    low: str

    def on(self, index: str) -> str:
        """Return SQL of an index that has this column too."""
        return (
            f"(SELECT i.*, s.value AS {self.column} FROM {index} AS i "
            f"ASOF LEFT JOIN {self.place} AS s ON s.value >= {self.low})"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class May:
    """Hold SQL over the index that is true, and never NULL, for files which may match.

    ``needs`` has, by column of the index, a condition on it alone that holds for all those files.
    The columns of ``searches`` are to be there for it.
    """

    exact: str
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    searches: tuple[Search, ...] = ()

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
    return May(f"({' AND '.join(part.exact for part in terms)})", needs, _searches(terms))


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
    return May(f"({' OR '.join(terms)})", needs, _searches(parts))


def _searches(parts: Sequence[May]) -> tuple[Search, ...]:
    return tuple(dict.fromkeys(search for part in parts for search in part.searches))
