"""From a text to the statement that it is."""

from __future__ import annotations

from lakehouse.lake.statements.altering import alter
from lakehouse.lake.statements.changing import delete, insert, truncate, update
from lakehouse.lake.statements.creating import create
from lakehouse.lake.statements.kinds import Comment, Describe, Drop, Kind, Show, Statement
from lakehouse.lake.statements.merging import merge
from lakehouse.lake.statements.reader import Reader


def parse(sql: str) -> Statement | None:
    """Return the statement of a text; None where it is a query, or DuckDB's own.

    Raises InputError for a statement of ours that is not understood, or more than one.

    >>> parse("DROP TABLE IF EXISTS gold.t")
    Drop(kind='table', name='gold.t', if_exists=True, cascade=False, purge=False)
    >>> parse("SELECT 1") is None
    True
    """
    reader = Reader(sql)
    if reader.sees("with"):
        return _after_with(reader)
    if reader.take("create"):
        return create(reader)
    if reader.take("insert"):
        return insert(reader)
    if reader.take("delete"):
        return delete(reader)
    if reader.take("update"):
        return update(reader)
    if reader.take("merge"):
        return merge(reader)
    if reader.take("truncate"):
        return truncate(reader)
    if reader.take("alter"):
        return alter(reader)
    if reader.take("drop"):
        return _drop(reader)
    if reader.take("comment", "on"):
        return _comment(reader)
    if reader.take("show"):
        return _show(reader)
    if reader.take("describe") or reader.take("desc"):
        return _describe(reader)
    return None


def _after_with(reader: Reader) -> Statement | None:
    before = reader.common_tables()
    if reader.take("insert"):
        return insert(reader, before)
    if reader.take("update"):
        return update(reader, before)
    if reader.take("delete"):
        return delete(reader, before)
    if reader.take("merge"):
        return merge(reader, before)
    return None


def _drop(reader: Reader) -> Drop | None:
    kind: Kind = "table"
    if reader.take("view"):
        kind = "view"
    elif not reader.take("table"):
        return None
    reader.kind = f"DROP {kind.upper()}"
    reader.form = f"Write {reader.kind} [IF EXISTS] silver.t [CASCADE]"
    unless = reader.take("if", "exists")
    name = reader.table()
    cascade = reader.take("cascade")
    if not cascade:
        reader.take("restrict")
    purge = kind == "table" and reader.take("purge")
    reader.finish()
    return Drop(kind=kind, name=name, if_exists=unless, cascade=cascade, purge=purge)


def _comment(reader: Reader) -> Comment:
    reader.kind = "COMMENT ON"
    reader.form = (
        "Write COMMENT ON TABLE silver.t IS 'text', COMMENT ON COLUMN silver.t.c IS 'text', "
        "or COMMENT ON VIEW gold.v IS NULL"
    )
    if reader.take("column"):
        path = reader.path()
        reader.words("is")
        if len(path) < 3:
            raise reader.wrong("COMMENT ON COLUMN names layer, table and column")
        found = Comment("column", ".".join(path[:2]), reader.text_or_null(), path[2:])
    else:
        kind: Kind = "view" if reader.take("view") else "table"
        if kind == "table":
            reader.words("table")
        name = reader.table()
        reader.words("is")
        found = Comment(kind, name, reader.text_or_null())
    reader.finish()
    return found


def _show(reader: Reader) -> Show | None:
    reader.kind, reader.form = "SHOW", "Write SHOW TABLES [FROM layer], or SHOW ALL TABLES"
    if reader.take("all", "tables"):
        reader.finish()
        return Show(columns=True)
    if not reader.take("tables"):
        return None
    layer = reader.name() if reader.take("from") or reader.take("in") else None
    reader.finish()
    return Show(layer=layer)


def _describe(reader: Reader) -> Describe | None:
    """Read what follows DESCRIBE: queries, and what is not the lake's, are left to DuckDB."""
    reader.take("table")
    if reader.is_at_end() or any(reader.sees(word) for word in _QUERIES):
        return None
    path = reader.path()
    return Describe(".".join(path)) if len(path) == 2 and reader.is_at_end() else None


_QUERIES = ("select", "with", "from", "values", "(", "pivot", "unpivot", "summarize", "show")
