"""Read what changes rows: ``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE``."""

from __future__ import annotations

import dataclasses

from lakehouse.lake.statements.kinds import Delete, Insert, OnConflict, Source, Update
from lakehouse.lake.statements.reader import Reader

_INSERT = (
    "Write INSERT INTO silver.t [BY NAME | (a, b)] SELECT ... or VALUES (...), "
    "[ON CONFLICT (a) DO NOTHING | DO UPDATE SET b = excluded.b], "
    "or INSERT OVERWRITE silver.t SELECT ... to replace all rows"
)
_UPDATE = "Write UPDATE silver.t SET a = b + 1 [FROM other AS o] [WHERE condition]"
_DELETE = "Write DELETE FROM silver.t [USING other AS o] [WHERE condition]"
_QUERIES = ("select", "with", "from", "values", "(", "table", "pivot", "unpivot", "describe")
_CONFLICTS = (("on", "conflict", "("), ("on", "conflict", "do"))


def insert(reader: Reader, before: str = "") -> Insert:
    """Read what follows INSERT; ``before`` is the WITH that stands before it.

    >>> insert(Reader("INTO gold.t (b, a) VALUES (1, 2)"))
    Insert(table='gold.t', query='VALUES (1, 2)', columns=('b', 'a'), by_name=False,
        overwrite=False, is_values=True, conflict=None)
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
    query = reader.until(*_CONFLICTS, "returning")
    conflict = None if overwrite else _conflict(reader)
    finish(reader)
    if before:
        query = f"{before}\nSELECT * FROM ({query}\n)"
    return Insert(
        table=table,
        query=query,
        columns=columns,
        by_name=by_name,
        overwrite=overwrite,
        is_values=is_values,
        conflict=conflict,
    )


def update(reader: Reader, before: str = "") -> Update:
    """Read what follows UPDATE.

    >>> update(Reader("gold.t SET a = a + 1, b = CASE WHEN a IS DISTINCT FROM b THEN 1 END"))
    Update(table='gold.t', values={'a': 'a + 1', 'b': 'CASE WHEN a IS DISTINCT FROM b THEN 1 END'},
        where=None, alias=None, source=None)
    """
    reader.kind, reader.form = "UPDATE", _UPDATE
    table = reader.table()
    alias = alias_of(reader, "set")
    reader.words("set")
    values = assignments(reader, (alias or table.rpartition(".")[2], "from", "where", "returning"))
    source = with_before(reader.source(), before) if reader.take("from") else None
    _check_before(reader, before, source)
    where = reader.until("returning") if reader.take("where") else None
    finish(reader)
    return Update(table=table, values=values, where=where, alias=alias, source=source)


def delete(reader: Reader, before: str = "") -> Delete:
    """Read what follows DELETE.

    >>> delete(Reader("FROM gold.t AS x WHERE x.a > 1"))
    Delete(table='gold.t', where='x.a > 1', alias='x', source=None)
    """
    reader.kind, reader.form = "DELETE", _DELETE
    reader.words("from")
    table = reader.table()
    alias = alias_of(reader, "where", "using", "returning")
    source = with_before(reader.source(), before) if reader.take("using") else None
    _check_before(reader, before, source)
    where = reader.until("returning") if reader.take("where") else "true"
    finish(reader)
    return Delete(table=table, where=where, alias=alias, source=source)


def truncate(reader: Reader) -> Delete:
    """Read what follows TRUNCATE."""
    reader.kind, reader.form = "TRUNCATE", "Write TRUNCATE silver.t"
    reader.take("table")
    table = reader.table()
    reader.finish()
    return Delete(table=table)


def alias_of(reader: Reader, *after: str) -> str | None:
    """Read the alias of a table, if one stands before these words."""
    if reader.take("as"):
        return reader.name()
    if reader.is_at_end() or any(map(reader.sees, after)):
        return None
    return reader.name()


def assignments(reader: Reader, named: tuple[str, ...]) -> dict[str, str]:
    """Read ``a = 1, t.b = 2``; ``named`` is the table's name in it, and the words after it."""
    name, *ends = named
    found: dict[str, str] = {}
    while True:
        path = reader.path()
        if len(path) == 2 and path[0].lower() == name.lower():
            path = path[1:]
        if len(path) > 1:
            raise reader.wrong(
                f"{'.'.join(path)} cannot be set by itself: set the whole column {path[0]}"
            )
        if path[0] in found:
            raise reader.wrong(f"column {path[0]!r} is set twice")
        reader.words("=")
        found[path[0]] = reader.until(",", *ends)
        if not reader.take(","):
            return found


def with_before(source: Source, before: str) -> Source:
    """Return a source that reads what a WITH before the statement defines."""
    return dataclasses.replace(source, query=f"{before}\n{source.query}") if before else source


def finish(reader: Reader) -> None:
    """Make sure that the statement ends here."""
    if reader.sees("returning"):
        raise reader.wrong(f"{reader.kind} returns its report, and no rows")
    reader.finish()


def _conflict(reader: Reader) -> OnConflict | None:
    if not reader.take("on", "conflict"):
        return None
    if not reader.sees("("):
        raise reader.wrong("ON CONFLICT names the key, (a, b): tables have none of their own")
    keys = reader.names()
    reader.words("do")
    if reader.take("nothing"):
        return OnConflict(keys)
    reader.words("update", "set")
    values = assignments(reader, ("", "where", "returning"))
    where = reader.until("returning") if reader.take("where") else None
    return OnConflict(keys, values, where)


def _check_before(reader: Reader, before: str, source: Source | None) -> None:
    if before and source is None:
        raise reader.wrong(f"a WITH before {reader.kind} is for its source, and it has none")


def _by_name(reader: Reader) -> bool:
    if reader.take("by", "position"):
        return False
    return reader.take("by", "name")
