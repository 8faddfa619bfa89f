"""Read what changes rows: ``INSERT``, ``DELETE``, ``TRUNCATE``."""

from __future__ import annotations

from lakehouse.lake.statements.kinds import Delete, Insert
from lakehouse.lake.statements.reader import Reader

_INSERT = (
    "Write INSERT INTO silver.t [BY NAME | (a, b)] SELECT ... or VALUES (...), "
    "or INSERT OVERWRITE silver.t SELECT ... to replace all rows"
)
_DELETE = "Write DELETE FROM silver.t [WHERE condition]"
_QUERIES = ("select", "with", "from", "values", "(", "table", "pivot", "unpivot", "describe")


def insert(reader: Reader, before: str = "") -> Insert:
    """Read what follows INSERT; ``before`` is the WITH that stands before it.

    >>> insert(Reader("INTO gold.t (b, a) VALUES (1, 2)"))
    Insert(table='gold.t', query='VALUES (1, 2)', columns=('b', 'a'), by_name=False,
        overwrite=False, is_values=True)
    """
    reader.kind, reader.form = "INSERT", _INSERT
    if reader.sees("or"):
        raise reader.wrong("INSERT OR REPLACE and INSERT OR IGNORE need a key, which tables lack")
    overwrite = reader.take("overwrite")
    if overwrite:
        reader.take("into")
    else:
        reader.words("into")
    reader.take("table")
    table = reader.table()
    by_name = _by_name(reader)
    columns: tuple[str, ...] = ()
    if reader.sees("(") and not any(reader.sees("(", word) for word in _QUERIES):
        columns = reader.names()
        by_name = _by_name(reader) or by_name
    if columns and by_name:
        raise reader.wrong("columns go by name, or are listed, and not both")
    if reader.sees("default", "values"):
        raise reader.wrong("a row of defaults alone is not supported: name a column")
    is_values = reader.sees("values") and not before
    query = reader.until(("on", "conflict", "("), ("on", "conflict", "do"), "returning")
    if reader.sees("returning"):
        raise reader.wrong("INSERT returns its report, and no rows")
    reader.finish()
    if before:
        query = f"{before}\nSELECT * FROM ({query}\n)"
    return Insert(
        table=table,
        query=query,
        columns=columns,
        by_name=by_name,
        overwrite=overwrite,
        is_values=is_values,
    )


def delete(reader: Reader) -> Delete:
    """Read what follows DELETE.

    >>> delete(Reader("FROM gold.t AS x WHERE x.a > 1"))
    Delete(table='gold.t', where='x.a > 1', alias='x')
    """
    reader.kind, reader.form = "DELETE", _DELETE
    reader.words("from")
    table = reader.table()
    alias = _alias(reader)
    where = "true"
    if reader.take("where"):
        where = reader.until("returning", "using")
    reader.finish()
    return Delete(table=table, where=where, alias=alias)


def truncate(reader: Reader) -> Delete:
    """Read what follows TRUNCATE."""
    reader.kind, reader.form = "TRUNCATE", "Write TRUNCATE silver.t"
    reader.take("table")
    table = reader.table()
    reader.finish()
    return Delete(table=table)


def _by_name(reader: Reader) -> bool:
    if reader.take("by", "position"):
        return False
    return reader.take("by", "name")


def _alias(reader: Reader) -> str | None:
    if reader.take("as"):
        return reader.name()
    if reader.is_at_end() or reader.sees("where") or reader.sees("using"):
        return None
    return reader.name()
