"""Change single rows: ``UPDATE``, ``DELETE``, ``MERGE INTO``, ``INSERT ... ON CONFLICT``.

Each is the table's verb of that name. Where a source reads the table that is changed, the commit
stands only if nobody changed the table since; else the statement is run anew.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from catalog.errors import DataError, InputError
from lakehouse import table as verbs
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.errors import translated
from lakehouse.lake.filling import fitted, given_columns, redone, version_read
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements.kinds import Delete, Insert, Merge, OnConflict, Source, Update, When
from lakehouse.lake.statements.qualified import unqualified
from lakehouse.lake.tables import Tables
from lakehouse.scan.tokens import tokens
from lakehouse.table.handle import Table
from lakehouse.write.texts import exact_form


class Changing:
    """Run the statements that change single rows."""

    def __init__(self, tables: Tables, queries: Queries) -> None:
        self._tables = tables
        self._queries = queries

    def update(self, statement: Update) -> verbs.ChangeReport:
        """Set columns of rows."""
        table = self._tables.table(statement.table)
        values = _values(statement.values, table.snapshot().schema)
        if statement.source is None:
            paths = _qualifiers(table, statement.alias)
            where = None if statement.where is None else unqualified(statement.where, paths)
            return table.update({n: unqualified(v, paths) for n, v in values.items()}, where=where)
        when = When(kind="matched", verb="update", values=values)
        return self._merged(table, statement.alias, statement.source, statement.where, (when,))

    def delete(self, statement: Delete) -> verbs.ChangeReport | verbs.WriteReport:
        """Delete rows."""
        table = self._tables.table(statement.table)
        if statement.source is None:
            return table.delete(unqualified(statement.where, _qualifiers(table, statement.alias)))
        when = When(kind="matched", verb="delete")
        return self._merged(table, statement.alias, statement.source, statement.where, (when,))

    def merge(self, statement: Merge) -> verbs.ChangeReport:
        """Merge rows."""
        table = self._tables.table(statement.table)
        return self._merged(
            table, statement.alias, statement.source, statement.on, statement.clauses
        )

    def insert(self, statement: Insert, conflict: OnConflict) -> verbs.ChangeReport:
        """Insert the rows whose key is not there; each key may stand in them once."""
        table = self._tables.table(statement.table)

        def write() -> verbs.ChangeReport:
            schema = table.snapshot().schema
            prepared = self._queries.rows(statement.query)
            seen = version_read(prepared, table)
            builder = dataclasses.replace(
                table.merge(
                    fitted(prepared, statement, schema),
                    on=conflict.keys,
                    aliases=(_short(table), "excluded"),
                    if_version=seen,
                ),
                sourcing=verbs.Sourcing(is_keyed=True),
            )
            if conflict.values:
                values = _values(conflict.values, schema)
                builder = builder.when_matched_update(values, condition=conflict.where)
            return builder.when_not_matched_insert().run()

        return redone(write)

    def _merged(
        self,
        table: Table,
        alias: str | None,
        source: Source,
        on: str | tuple[str, ...] | None,
        clauses: tuple[When, ...],
    ) -> verbs.ChangeReport:
        def write() -> verbs.ChangeReport:
            schema = table.snapshot().schema
            prepared = self._queries.rows(source.query)
            seen = version_read(prepared, table)
            with translated("read the source"):
                rows = prepared.relation()
            builder = table.merge(
                rows,
                # In parentheses a name is a condition, and not a column that both have.
                on=on if isinstance(on, tuple) else f"({on or 'true'}\n)",
                aliases=(alias or _short(table), source.alias),
                if_version=seen,
            )
            for when in clauses:
                builder = _with(builder, when, schema, table.name)
            return builder.run()

        return redone(write)


def _with(builder: verbs.MergeBuilder, when: When, schema: Struct, name: str) -> verbs.MergeBuilder:
    values = when.values
    if isinstance(values, tuple):
        names = given_columns(schema)
        if len(names) != len(values):
            raise DataError(
                f"{len(values)} values are given for {len(names)} columns of {name}",
                next_step="List the columns: INSERT (a, b) VALUES (...)",
            )
        values = dict(zip(names, values, strict=True))
    made = None if values is None else _values(values, schema)
    if when.kind == "not matched":
        return builder.when_not_matched_insert(made, condition=when.condition)
    if when.kind == "matched" and when.verb == "delete":
        return builder.when_matched_delete(condition=when.condition)
    if when.kind == "matched":
        return builder.when_matched_update(made, condition=when.condition)
    if when.verb == "delete":
        return builder.when_not_matched_by_source_delete(condition=when.condition)
    if made is None:
        raise InputError(
            "rows that the source does not have cannot be updated from it",
            next_step="Write UPDATE SET a = ...",
        )
    return builder.when_not_matched_by_source_update(made, condition=when.condition)


def _values(values: Mapping[str, str], schema: Struct) -> dict[str, str]:
    """Return expressions by column; a text that stands for a date or time is one, if it is exact."""
    found = {}
    for name, sql in values.items():
        field = next((f for f in schema if f.name.lower() == name.lower()), None)
        form = None if field is None else exact_form(field.type)
        only = tokens(sql)
        if field is not None and form is not None and len(only) == 1 and only[0].kind == "text":
            type_ = to_duckdb(field.type)
            if not re.fullmatch(form, only[0].text):
                raise DataError(
                    f"column {field.name!r} is {type_}, and {only[0].text!r} is no such text",
                    next_step="Write it in full, such as '2024-01-31', or CAST it",
                    column=field.name,
                    samples=(only[0].text,),
                )
            sql = f"CAST({sql} AS {type_})"
        found[name] = sql
    return found


def _qualifiers(table: Table, alias: str | None) -> list[tuple[str, ...]]:
    """Return what may stand before the table's columns, where no other table is meant."""
    layer, _, short = table.name.partition(".")
    # A column of this name, a struct, is meant before the table is.
    columns = {name.lower() for name in table.snapshot().schema.names()}
    named: list[tuple[str, ...]] = [(n,) for n in (alias or short,) if n.lower() not in columns]
    return named if alias else [*named, (layer, short)]


def _short(table: Table) -> str:
    return table.name.partition(".")[2]
