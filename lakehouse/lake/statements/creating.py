"""Read ``CREATE TABLE`` and ``CREATE VIEW``."""

from __future__ import annotations

import dataclasses
from typing import Any

from lakehouse.duck.sql import identifier
from lakehouse.lake.statements.kinds import CreateTable, CreateTemporary, CreateView, NewColumn
from lakehouse.lake.statements.reader import Reader

_TABLE = (
    "Write CREATE TABLE [IF NOT EXISTS] silver.t (id BIGINT NOT NULL, v VARCHAR DEFAULT 'x' "
    "COMMENT 'text', y INTEGER GENERATED ALWAYS AS (year(d)), CONSTRAINT n CHECK (id > 0)) "
    "[PARTITIONED BY (y)] [COMMENT 'text'] [WITH ('k' = 'v')], or CREATE [OR REPLACE] TABLE "
    "silver.t [PARTITIONED BY (a)] AS SELECT ..."
)
_VIEW = "Write CREATE [OR REPLACE] VIEW gold.v [(a, b)] [COMMENT 'text'] AS SELECT ..."
_TEMPORARY = "Write CREATE [OR REPLACE] TEMP TABLE t AS SELECT ..., or TEMP TABLE t (a BIGINT)"
_KEYS = ("primary", "unique", "foreign", "references", "collate", "check", "constraint")
_ENDS: tuple[str | tuple[str, ...], ...] = (
    ("not", "null"), "null", "default", "generated", "as", "comment", *_KEYS, ",",
)  # fmt: skip


def create(reader: Reader) -> CreateTable | CreateView | CreateTemporary | None:
    """Read what follows CREATE; None for what is DuckDB's.

    >>> create(Reader("VIEW gold.v AS SELECT 1 AS a"))
    CreateView(name='gold.v', query='SELECT 1 AS a', comment=None, if_not_exists=False, replace=False)
    """
    replace = reader.take("or", "replace")
    if reader.take("temp") or reader.take("temporary"):
        return _temporary(reader, replace=replace)
    if reader.take("table"):
        return _table(reader, replace=replace)
    if reader.take("view"):
        return _view(reader, replace=replace)
    return None


def _temporary(reader: Reader, *, replace: bool) -> CreateTemporary:
    reader.kind, reader.form = "CREATE TEMP TABLE", _TEMPORARY
    if not reader.take("table"):
        raise reader.wrong("only tables can be temporary")
    unless = reader.take("if", "not", "exists")
    name = reader.table()
    if "." in name:
        raise reader.wrong("a temporary table has no layer")
    definition = f"({reader.parenthesis()})" if reader.sees("(") else ""
    query = None
    if reader.take("as"):
        definition, query = f"{definition} AS", reader.rest()
    reader.finish()
    return CreateTemporary(
        name=name, definition=definition, query=query, if_not_exists=unless, replace=replace
    )


def _view(reader: Reader, *, replace: bool) -> CreateView:
    reader.kind, reader.form = "CREATE VIEW", _VIEW
    unless = reader.take("if", "not", "exists")
    name = reader.table()
    names = reader.names() if reader.sees("(") else ()
    comment = reader.text() if reader.take("comment") else None
    reader.words("as")
    return CreateView(
        name=name,
        query=renamed(reader.rest(), names),
        comment=comment,
        if_not_exists=unless,
        replace=replace,
    )


def _table(reader: Reader, *, replace: bool) -> CreateTable:
    reader.kind, reader.form = "CREATE TABLE", _TABLE
    found = CreateTable(
        if_not_exists=reader.take("if", "not", "exists"), name=reader.table(), replace=replace
    )
    if reader.sees("("):
        found = _columns(reader, found)
    found = _options(reader, found)
    if reader.take("as"):
        if found.columns:
            raise reader.wrong("a table is created of columns with types, or of a query")
        return dataclasses.replace(found, query=renamed(reader.rest(), found.names))
    reader.finish()
    if not found.columns:
        raise reader.wrong("the table has no columns")
    if replace:
        raise reader.wrong("OR REPLACE is for a table of a query only")
    return found


def _columns(reader: Reader, found: CreateTable) -> CreateTable:
    columns: list[NewColumn] = []
    names: list[str] = []
    checks: dict[str, str] = {}
    reader.words("(")
    while True:
        if check := _check(reader, len(checks)):
            checks |= check
        else:
            _refuse_keys(reader)
            name = reader.name()
            if reader.sees(",") or reader.sees(")"):
                names.append(name)
            else:
                columns.append(_column(reader, name, checks))
        if not reader.take(","):
            reader.words(")")
            break
    if names and (columns or checks):
        raise reader.wrong(f"column {names[0]!r} has no type")
    return dataclasses.replace(found, columns=tuple(columns), names=tuple(names), checks=checks)


def _column(reader: Reader, name: str, checks: dict[str, str]) -> NewColumn:
    found: dict[str, Any] = {"type": reader.until(*_ENDS)}
    while not (reader.sees(",") or reader.sees(")")):
        if reader.take("not", "null"):
            found["nullable"] = False
        elif reader.take("null"):
            continue
        elif reader.take("default"):
            found["default"] = reader.until(*_ENDS)
        elif reader.take("generated", "always", "as") or reader.take("as"):
            found["generated"] = reader.parenthesis()
            if not reader.take("stored") and reader.take("virtual"):
                continue  # values are stored all the same
        elif reader.take("comment"):
            found["comment"] = reader.text()
        elif check := _check(reader, len(checks)):
            checks |= check
        else:
            _refuse_keys(reader)
            raise reader.not_understood()
    return NewColumn(name, **found)


def _check(reader: Reader, count: int) -> dict[str, str] | None:
    name = f"check_{count + 1}"
    if reader.take("constraint"):
        name = reader.name()
        _refuse_keys(reader)
        reader.words("check")
    elif not (reader.sees("check", "(") and reader.take("check")):
        return None
    return {name: reader.parenthesis()}


def _refuse_keys(reader: Reader) -> None:
    for words in (
        ("primary", "key"),
        ("unique", "("),
        ("unique",),
        ("foreign", "key"),
        ("references",),
    ):
        if reader.sees(*words):
            raise reader.wrong(
                f"Delta tables have no {' '.join(words).rstrip(' (').upper()}: nothing would keep it"
            )


def _options(reader: Reader, found: CreateTable) -> CreateTable:
    while True:
        if reader.take("using"):
            reader.words("delta")
        elif reader.take("partitioned", "by"):
            found = dataclasses.replace(found, partition_by=reader.names())
        elif reader.take("comment"):
            found = dataclasses.replace(found, comment=reader.text())
        elif reader.take("tblproperties") or reader.take("with"):
            given = {**found.properties, **reader.properties()}
            found = dataclasses.replace(found, properties=given)
        else:
            return found


def renamed(query: str, names: tuple[str, ...]) -> str:
    """Return a query with other names for its columns; the same where there are none."""
    if not names:
        return query
    listed = ", ".join(map(identifier, names))
    return f"SELECT * FROM ({query}\n) AS named({listed})"
