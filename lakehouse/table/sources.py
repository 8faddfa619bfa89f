"""Make a source ready for a merge: keep its rows, leave duplicates out, check its keys."""

from __future__ import annotations

import dataclasses
import re

from catalog.errors import DataError, InputError
from catalog.names import near_misses
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.clauses import Merge
from lakehouse.dml.joining import Join, join_of, scope_of
from lakehouse.dml.workspace import ROW, Given, Workspace
from lakehouse.duck.sql import identifier
from lakehouse.write.samples import SAMPLES, many

_KEEP = re.compile(r"\s*(?:(?P<any>any)|(?P<way>first|last|latest)\s+by\s+(?P<column>.+?))\s*\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """Say which of several rows with one key to keep: any, or by the order of a column."""

    column: str | None = None
    descending: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Sourcing:
    """Say what is done with a source before it is merged.

    ``deduplicate`` is as in `parse_keep`. ``is_keyed`` says that each key may stand there once,
    and must not be NULL unless NULL matches NULL.
    """

    deduplicate: str | None = None
    is_keyed: bool = False


AS_GIVEN = Sourcing()


def parse_keep(text: str) -> Keep:
    """Return which of several rows is kept; InputError for anything else.

    >>> parse_keep("latest by ts"), parse_keep("any")
    (Keep(column='ts', descending=True), Keep(column=None, descending=False))
    """
    match = _KEEP.match(text)
    if match is None:
        raise InputError(
            f"{text!r} does not say which of several rows to keep",
            next_step="Pass 'latest by <column>', 'first by <column>' or 'any'",
        )
    return Keep(match["column"], match["way"] in ("last", "latest"))


def prepared(
    space: Workspace, given: Given, merge: Merge, sourcing: Sourcing, snapshot: Snapshot
) -> Given:
    """Return the rows to merge, of those that are kept; DataError where keys forbid it."""
    keep = None if sourcing.deduplicate is None else parse_keep(sourcing.deduplicate)
    if keep is None and not sourcing.is_keyed:
        return given
    scope = scope_of(merge, snapshot.schema, [column.name for column in given.columns])
    join = join_of(merge, scope, space)
    if keep is not None:
        given = _unique(space, given, merge, join, keep)
    if sourcing.is_keyed:
        _check_keys(space, given, merge, join)
    return given


def _unique(space: Workspace, given: Given, merge: Merge, join: Join, keep: Keep) -> Given:
    """Return the rows without all but one of each key; rows with a NULL key stay, all of them."""
    if not join.pairs:
        raise InputError(
            "duplicates are told by the columns that must be equal, and this condition has none",
            next_step="Match by names, or leave the duplicates out yourself",
        )
    order = ""
    if keep.column is not None:
        known = [column.name for column in given.columns]
        name = next((n for n in known if n.lower() == keep.column.lower()), None)
        if name is None:
            near = near_misses(keep.column, known)
            raise InputError(
                f"the source has no column {keep.column!r} to order by",
                next_step=f"Did you mean {near[0]!r}?" if near else "",
            )
        way = "DESC" if keep.descending else "ASC"
        order = f"ORDER BY {identifier(merge.source)}.{identifier(name)} {way} NULLS LAST"
    keys = ", ".join(pair.source for pair in join.pairs)
    null = " OR ".join(f"({p.source}) IS NULL" for p in join.pairs if not p.null_safe) or "false"
    columns = ", ".join(identifier(column.name) for column in given.columns)
    rank = "row_number" if keep.column is None else "rank"
    # Rows that are equal altogether are one; others of the same rank stay, and are refused later.
    sql = (
        f"SELECT *, row_number() OVER () AS {identifier(ROW)} FROM (SELECT DISTINCT {columns} "
        f"FROM {given.place} AS {identifier(merge.source)} "
        f"QUALIFY ({null}) OR {rank}() OVER (PARTITION BY {keys} {order}) = 1)"
    )
    return space.select(sql, given.columns)


def _check_keys(space: Workspace, given: Given, merge: Merge, join: Join) -> None:
    rows = f"{given.place} AS {identifier(merge.source)}"
    shown = ", ".join(f"left(CAST({pair.source} AS VARCHAR), 100)" for pair in join.pairs)
    keys = ", ".join(pair.source for pair in join.pairs)
    names = ", ".join(pair.column for pair in join.pairs)
    null = " OR ".join(f"({p.source}) IS NULL" for p in join.pairs if not p.null_safe) or "false"
    with space.engine.work("check the keys") as cursor:
        nulls = _number(cursor.execute(f"SELECT count(*) FROM {rows} WHERE {null}").fetchone())
        if nulls:
            raise DataError(
                f"the key {names} is NULL in {many(nulls)} of the source: NULL matches nothing, "
                "so that such rows would be inserted again by each upsert",
                next_step="Leave them out, or pass null_safe=True; nothing was written",
                column=join.pairs[0].column,
                count=nulls,
            )
        several = f"SELECT {shown} FROM {rows} GROUP BY {keys} HAVING count(*) > 1"
        twice = _number(cursor.execute(f"SELECT count(*) FROM ({several})").fetchone())
        if twice:
            found = cursor.execute(f"{several} LIMIT {SAMPLES}").fetchall()
            samples = tuple(", ".join(str(value) for value in row) for row in found)
            raise DataError(
                f"the source has several rows for each of {twice} "
                f"key{'s' if twice > 1 else ''} {names}; for example {'; '.join(samples[:3])}",
                next_step="Leave one of each, for example with "
                "deduplicate='latest by <column>'; nothing was written",
                column=join.pairs[0].column,
                count=twice,
                samples=samples,
            )


def _number(row: tuple[int, ...] | None) -> int:
    return 0 if row is None else int(row[0])
