"""Fill tables from queries: ``INSERT``, and ``CREATE TABLE ... AS``.

Rows go the way of `Table.append` and `Table.overwrite`. Where a query reads the table that it
changes, the commit stands only if nobody changed the table meanwhile; else the query is run anew.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import TypeVar

from catalog.catalog import Catalog
from catalog.errors import AlreadyExistsError, ConflictError, DataError, InputError
from catalog.names import near_misses
from catalog.state import find
from lakehouse.delta.commit import Retries
from lakehouse.delta.features import GENERATED
from lakehouse.delta.schema.fields import Field, Struct
from lakehouse.delta.schema.types import schema_from_duckdb, to_duckdb
from lakehouse.duck.describe import Column, columns_of
from lakehouse.duck.engine import VERSION, Connection, Engine, Relation
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.sql import identifier, literal
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements.kinds import CreateTable, Insert
from lakehouse.lake.tables import Created, Tables
from lakehouse.scan.prepared import Prepared
from lakehouse.table.handle import Table
from lakehouse.table.reports import WriteReport
from lakehouse.write.samples import SAMPLES
from lakehouse.write.texts import exact_form

_RETRIES = Retries()
Result = TypeVar("Result")


class Filling:
    """Run the statements that write a query's rows."""

    def __init__(self, catalog: Catalog, engine: Engine, tables: Tables, queries: Queries) -> None:
        self._catalog = catalog
        self._engine = engine
        self._tables = tables
        self._queries = queries

    def insert(self, statement: Insert) -> WriteReport:
        """Add rows to a table, or replace its rows."""
        table = self._tables.table(statement.table)

        def write() -> WriteReport:
            prepared = self._queries.rows(statement.query)
            seen = version_read(prepared, table)
            rows = fitted(prepared, statement, table.snapshot().schema)
            if statement.overwrite:
                return table.overwrite(rows, if_version=seen)
            return table.append(rows, if_version=seen)

        return redone(write)

    def create_as(self, statement: CreateTable, query: str) -> Created:
        """Create a table of a query's rows, or put them in the place of a table's."""

        def write() -> Created:
            known = find(self._catalog.state.tables, statement.name)
            if known is not None and statement.replace:
                return self._replaced(self._tables.handle(known), statement, query)
            if known is not None and statement.if_not_exists:
                return Created(self._tables.handle(known), existed=True)
            prepared = self._queries.rows(query)
            rows = prepared.relation()
            try:
                return self._tables.create(
                    statement.name,
                    schema_from_duckdb(_typed(prepared, columns_of(rows))),
                    partition_by=statement.partition_by,
                    description=statement.comment,
                    properties=statement.properties,
                    if_not_exists=statement.if_not_exists,
                    fill=lambda table: table.append(rows),
                )
            except AlreadyExistsError as error:
                if (
                    statement.replace
                    and find(self._catalog.state.tables, statement.name) is not None
                ):
                    raise ConflictError(
                        f"{statement.name} was created meanwhile",
                        next_step="Try again",
                        stale=True,
                    ) from error
                raise

        return redone(write)

    def _replaced(self, table: Table, statement: CreateTable, query: str) -> Created:
        snapshot = table.snapshot()
        if statement.partition_by not in ((), snapshot.partition_columns):
            raise InputError(
                f"{table.name} is partitioned by {snapshot.partition_columns or 'nothing'}, and a "
                "table that is replaced stays so",
                next_step="Drop it, or create another and rename it",
            )
        if statement.properties or statement.comment is not None:
            raise InputError(
                f"{table.name} exists: its properties and comment are not replaced with its rows",
                next_step="Use ALTER TABLE ... SET TBLPROPERTIES, and COMMENT ON TABLE",
            )
        prepared = self._queries.rows(query)
        seen = version_read(prepared, table)
        rows = prepared.relation()
        schema_from_duckdb(_typed(prepared, columns_of(rows)))  # raises where one has no type
        report = table.overwrite(rows, schema_mode="overwrite", if_version=seen)
        return Created(table, report)


def redone(write: Callable[[], Result]) -> Result:
    """Return what a write gives that is run anew, from its query on, where others came first."""
    for attempt in itertools.count():
        try:
            return write()
        except ConflictError as error:
            if not getattr(error, "stale", False) or attempt == _RETRIES.redos:
                raise
        _RETRIES.wait(attempt)
    raise AssertionError


def version_read(prepared: Prepared, table: Table) -> int | None:
    """Return the version of a table that a query reads as the newest; None where it does not."""
    for ref, *_ in prepared.choices:
        if ref.shown == table.name and ref.shown == f"{ref.schema}.{ref.name}":
            return ref.snapshot.version
    return None


def fitted(prepared: Prepared, statement: Insert, schema: Struct) -> Relation:
    """Return a query's rows under the names of the columns that they are for."""
    try:
        relation = prepared.cursor.sql(prepared.sql)
        columns = _typed(prepared, columns_of(relation))
        names = _targets(statement, columns, schema)
        marks = [f"c{number}" for number in range(len(columns))]
        source = f"({prepared.sql}\n) AS incoming({', '.join(marks)})"
        made = []
        for mark, column, name in zip(marks, columns, names, strict=True):
            field = _field(schema, name)
            sql = mark
            if field is not None and column.type.name in ("null", '"null"'):
                sql = f"CAST(NULL AS {to_duckdb(field.type)})"
            elif field is not None and statement.is_values and column.type.name == "varchar":
                sql = _from_text(prepared.cursor, source, mark, field)
            made.append(f"{sql} AS {identifier(name)}")
    except DuckError as error:
        prepared.cursor.close()
        raise translate(error, "run the query") from error
    except BaseException:
        prepared.cursor.close()
        raise
    return dataclasses.replace(prepared, sql=f"SELECT {', '.join(made)} FROM {source}").relation()


def _targets(statement: Insert, columns: tuple[Column, ...], schema: Struct) -> list[str]:
    if statement.by_name:
        return [column.name for column in columns]
    wanted = list(statement.columns)
    for name in wanted:
        if _field(schema, name) is None:
            near = near_misses(name, schema.names())
            raise DataError(
                f"table {statement.table} has no column {name!r}",
                next_step=f"Did you mean {near[0]!r}?" if near else "Add it with ALTER TABLE",
                column=name,
                near=near,
            )
    if not wanted:
        wanted = given_columns(schema)
    if len(wanted) != len(columns):
        raise DataError(
            f"{len(columns)} values are given for {len(wanted)} columns of {statement.table} "
            f"({', '.join(wanted)})",
            next_step="List the columns, INSERT INTO t (a, b), or write INSERT INTO t BY NAME",
        )
    return wanted


def given_columns(schema: Struct) -> list[str]:
    """Return the columns that rows bring, in order: all but those that are computed."""
    return [field.name for field in schema if GENERATED not in field.metadata]


def _field(schema: Struct, name: str) -> Field | None:
    return next((field for field in schema if field.name.lower() == name.lower()), None)


def _typed(prepared: Prepared, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return columns in which those that are only NULL are known as such.

    DuckDB before 2.0 calls them INTEGER at the end of a query, and by their name before.
    """
    doubtful = [i for i, column in enumerate(columns) if column.type.name == "integer"]
    if VERSION >= (2, 0) or not doubtful:
        return columns
    marks = [f"c{number}" for number in range(len(columns))]
    kinds = ", ".join(f"typeof(c{number})" for number in doubtful)
    row = prepared.cursor.execute(
        f"SELECT {kinds} FROM (SELECT 1) LEFT JOIN (SELECT * FROM ({prepared.sql}\n) LIMIT 0) "
        f"AS incoming({', '.join(marks)}) ON true"
    ).fetchone()
    assert row is not None
    found = list(columns)
    for number, kind in zip(doubtful, row, strict=True):
        if kind == '"NULL"':
            type_ = dataclasses.replace(columns[number].type, name="null", text=kind)
            found[number] = dataclasses.replace(columns[number], type=type_)
    return tuple(found)


def _from_text(cursor: Connection, source: str, mark: str, field: Field) -> str:
    """Return SQL that makes a date or time of the texts of VALUES; DataError for other texts."""
    form = exact_form(field.type)
    if form is None:
        return mark
    wrong = f"FROM {source} WHERE NOT regexp_full_match({mark}, {literal(form)})"
    row = cursor.execute(f"SELECT count(*), list({mark})[:{SAMPLES}] {wrong}").fetchone()
    assert row is not None
    type_ = to_duckdb(field.type)
    if row[0]:
        raise DataError(
            f"column {field.name!r} is {type_}, and {row[1][0]!r} is no such text",
            next_step="Write it in full, such as '2024-01-31' or '2024-01-31 12:00:00.5', or CAST it",
            column=field.name,
            count=row[0],
            samples=tuple(row[1]),
        )
    # Again for each row: an expression may give another text each time that it is asked.
    exact = f"{mark} IS NULL OR regexp_full_match({mark}, {literal(form)})"
    return f"CASE WHEN {exact} THEN CAST({mark} AS {type_}) ELSE error({mark}) END"
