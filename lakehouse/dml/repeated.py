"""Find the rows of a table that repeat a key."""

from __future__ import annotations

from lakehouse.dml.clauses import Repeated
from lakehouse.dml.values import Values
from lakehouse.duck.sql import identifier


def repeated_rows(
    repeated: Repeated, values: Values, rows: str, at: tuple[str, str], number: str
) -> str:
    """Return SQL of hits: of rows that repeat a key all but one, all files being open.

    ``rows`` names the table's rows, ``at`` the file and place of each, ``number`` is SQL of a file's number.
    """
    target = identifier(values.merge.target)
    names = [f"{target}.{identifier(values.field(name).name)}" for name in repeated.key]
    keys, (file, row) = ", ".join(names), at
    order = ""
    if repeated.order is not None:
        way = "DESC" if repeated.descending else "ASC"
        column = identifier(values.field(repeated.order).name)
        order = f"{target}.{column} {way} NULLS LAST, "
    known = "true" if repeated.null_safe else " AND ".join(f"{n} IS NOT NULL" for n in names)
    # The few keys that stand there twice are found first: to number all rows takes long.
    twice = ", ".join(f"{name} AS k{i}" for i, name in enumerate(names))
    same = " AND ".join(f"{n} IS NOT DISTINCT FROM twice.k{i}" for i, n in enumerate(names))
    return (
        f"SELECT {number} AS file, found.row, CAST(NULL AS BIGINT) AS source, 1 AS clause FROM (SELECT "
        f"{file} AS local, {row} AS row, row_number() OVER "
        f"(PARTITION BY {keys} ORDER BY {order}{file}, {row}) AS number FROM {rows} "
        f"SEMI JOIN (SELECT {twice} FROM {rows} WHERE {known} "
        f"GROUP BY {keys} HAVING count(*) > 1) AS twice ON {same}) AS found "
        f"WHERE found.number > 1"
    )
