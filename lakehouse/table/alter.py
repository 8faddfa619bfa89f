"""`Alter`: change a table's columns, properties and description, a commit a verb."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import InputError, NotFoundError
from catalog.names import near_misses
from lakehouse.delta.properties import check_name, checked
from lakehouse.delta.schema import edits
from lakehouse.delta.schema.edits import Path, shown
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.schema.mapping import MODE, assigned, is_mapped, mode_of
from lakehouse.delta.schema.widening import widened
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.alteration import Alteration, Planner, Target, alter
from lakehouse.table.constraining import added, dropped
from lakehouse.table.create import to_schema
from lakehouse.table.idempotency import Key
from lakehouse.table.nulls import check_no_nulls
from lakehouse.table.redefining import Definition, redefine
from lakehouse.table.references import check_unreferenced
from lakehouse.table.reports import WriteReport
from lakehouse.write.gate import validate_schema

Column = str | tuple[str, ...]


class Alter:
    """Change what a table is. Get it from `Table.alter`; every verb is one commit.

    A column is named by its name, or by a tuple that leads into structs (``("address",
    "street")``), lists (``"element"``) and maps (``"key"``, ``"value"``). Verbs that ask for what
    is so already commit nothing. Each returns the report of its commit.
    """

    def __init__(
        self, target: Target, *, metadata: Mapping[str, Any] | None, key: Key | None
    ) -> None:
        self._target = target
        self._metadata = metadata
        self._key = key

    def add_column(
        self,
        name: Column,
        type: str,  # noqa: A002 - what every engine calls it
        *,
        comment: str | None = None,
        after: str | None = None,
        first: bool = False,
        if_not_exists: bool = False,
    ) -> WriteReport:
        """Add a column, or a field of a struct; rows that are there have NULL in it.

        ``type`` is DuckDB's (``BIGINT``, ``DECIMAL(10,2)``, ``STRUCT(a VARCHAR)``).
        """
        path = _path(name)
        if first and after is not None:
            raise InputError("a column is added after another one, or first, and not both")
        made = to_schema({path[-1]: type}, self._target.engine).fields[0]
        if not made.nullable:
            raise InputError(
                f"column {shown(path)!r} cannot be NOT NULL: the rows that are there have no value",
                next_step="Add it without, fill it, and call set_not_null",
            )
        field = made if comment is None else edits.with_metadata(made, "comment", comment)

        def plan(current: Snapshot) -> Definition:
            if if_not_exists and _has(current.schema, path):
                return Definition(current.schema)
            schema = edits.add_field(current.schema, path[:-1], field, after=after, first=first)
            validate_schema(schema, current.partition_columns)
            return redefine(current, schema=schema)

        return self._commit("ADD COLUMNS", plan, {"columns": [shown(path)]})

    def rename_column(self, old: Column, new: str) -> WriteReport:
        """Give a column or struct field another name; no data file changes.

        Turns on column mapping by name, which other engines must know to go on
        (``delta.columnMapping.mode``).
        """
        path = _path(old)

        def plan(current: Snapshot) -> Definition:
            field = edits.find(current.schema, path)
            if field.name == new:
                return Definition(current.schema)
            check_unreferenced(current, path, "renamed")
            schema, settings = _mapped(current)
            schema = edits.rename_field(schema, path, new)
            columns = tuple(
                new if len(path) == 1 and name == field.name else name
                for name in current.partition_columns
            )
            validate_schema(schema, columns)
            return redefine(
                current, schema=schema, configuration=settings, partition_columns=columns
            )

        parameters = {"oldColumnPath": shown(path), "newColumnPath": shown((*path[:-1], new))}
        return self._commit("RENAME COLUMN", plan, parameters)

    def drop_column(self, name: Column, *, if_exists: bool = False) -> WriteReport:
        """Take a column or struct field out of the table; no data file changes.

        Earlier versions still have it. Turns on column mapping by name, as `rename_column`.
        """
        path = _path(name)

        def plan(current: Snapshot) -> Definition:
            if if_exists and not _has(current.schema, path):
                return Definition(current.schema)
            field = edits.find(current.schema, path)
            if len(path) == 1 and field.name in current.partition_columns:
                raise InputError(
                    f"column {field.name!r} partitions the table and cannot be dropped",
                    next_step="Write the rows into a new table that is partitioned otherwise",
                )
            check_unreferenced(current, path, "dropped")
            schema, settings = _mapped(current)
            schema = edits.drop_field(schema, path)
            validate_schema(schema, current.partition_columns)
            return redefine(current, schema=schema, configuration=settings)

        return self._commit("DROP COLUMNS", plan, {"columns": [shown(path)]})

    def move_column(
        self, name: Column, *, after: str | None = None, first: bool = False
    ) -> WriteReport:
        """Put a column behind another one, or first; no data file changes."""
        if (after is None) != first:
            raise InputError("a column moves after another one, or first")
        path = _path(name)

        def plan(current: Snapshot) -> Definition:
            schema = edits.move_field(current.schema, path, after=after)
            return redefine(current, schema=schema)

        return self._commit("CHANGE COLUMN", plan, {"column": shown(path)})

    def change_type(
        self,
        name: Column,
        type: str,  # noqa: A002 - what every engine calls it
    ) -> WriteReport:
        """Widen a column's type without losing a value, such as INTEGER to BIGINT.

        Where ``delta.enableTypeWidening`` is set, only the schema changes; else all data files are
        written anew in the same commit, so that every engine goes on reading.
        """
        path = _path(name)
        made = to_schema({path[-1]: type}, self._target.engine).fields[0]
        if not made.nullable:
            raise InputError(
                f"a type is expected, not {type!r}", next_step="Call set_not_null for NOT NULL"
            )
        wanted = made.type

        def plan(current: Snapshot) -> Definition:
            field = edits.find(current.schema, path)
            type_ = widened(field.type, wanted)
            if type_ is None:
                raise InputError(
                    f"column {shown(path)!r} cannot become {type}: values might be lost, or "
                    "readers of older files could not follow",
                    next_step="Widen it (INTEGER to BIGINT, FLOAT to DOUBLE, DECIMAL to a larger "
                    "one), or add a column and fill it",
                    column=shown(path),
                )
            schema = edits.replace_field(
                current.schema, path, lambda known: dataclasses.replace(known, type=type_)
            )
            return redefine(current, schema=schema)

        return self._commit("CHANGE COLUMN", plan, {"column": shown(path), "type": type})

    def drop_not_null(self, name: Column) -> WriteReport:
        """Let a column be NULL."""
        return self._nullable(_path(name), nullable=True)

    def set_not_null(self, name: Column) -> WriteReport:
        """Refuse NULL in a column from now on; DataError where it holds NULL already."""
        return self._nullable(_path(name), nullable=False)

    def comment_column(self, name: Column, comment: str | None) -> WriteReport:
        """Describe a column; None takes the description away."""
        path = _path(name)

        def plan(current: Snapshot) -> Definition:
            schema = edits.replace_field(
                current.schema, path, lambda field: edits.with_metadata(field, "comment", comment)
            )
            return redefine(current, schema=schema)

        return self._commit("CHANGE COLUMN", plan, {"column": shown(path)})

    def describe(self, description: str) -> WriteReport:
        """Describe the table, for every engine that opens it."""
        return self._commit(
            "SET TBLPROPERTIES",
            lambda current: redefine(current, description=description),
            {"description": description},
        )

    def set_properties(self, properties: Mapping[str, Any]) -> WriteReport:
        """Set table properties, such as ``{"delta.appendOnly": True}``.

        The protocol grows where one switches on a feature. Raises InputError for a name that no
        engine knows, or a value that it cannot have.
        """
        given = checked(properties)

        def plan(current: Snapshot) -> Definition:
            settings = {**current.properties, **given}
            schema = current.schema
            if MODE in given and given[MODE] != mode_of(current.properties):
                schema, mapped = _remapped(current, given[MODE])
                settings = {**settings, **mapped}
            return redefine(current, schema=schema, configuration=settings)

        return self._commit("SET TBLPROPERTIES", plan, {"properties": dict(given)})

    def unset_properties(self, names: Iterable[str], *, if_exists: bool = False) -> WriteReport:
        """Take table properties away; what they do by default holds again."""
        gone = (names,) if isinstance(names, str) else tuple(names)
        for name in gone:
            check_name(name)

        def plan(current: Snapshot) -> Definition:
            missing = [name for name in gone if name not in current.properties]
            if missing and not if_exists:
                near = near_misses(missing[0], current.properties)
                raise NotFoundError(
                    f"the table has no property {missing[0]!r}",
                    next_step=f"Did you mean {near[0]!r}?" if near else "Pass if_exists=True",
                    near=near,
                )
            if MODE in gone and is_mapped(current.properties):
                _remapped(current, "none")
            settings = {k: v for k, v in current.properties.items() if k not in gone}
            return redefine(current, configuration=settings)

        return self._commit("UNSET TBLPROPERTIES", plan, {"properties": list(gone)})

    def add_constraint(self, name: str, sql: str) -> WriteReport:
        """Let only rows in for which ``sql`` is true, such as ``amount > 0``, in every engine.

        The rows that are there are checked first: DataError with count and samples where one
        breaks it. NULL breaks it, too; write ``amount IS NULL OR amount > 0`` to allow it.
        """
        return self._commit(
            "ADD CONSTRAINT",
            lambda current: added(current, name, sql, scanner=self._target.scanner),
            {"name": name, "expr": sql},
            reads_rows=True,
        )

    def drop_constraint(self, name: str, *, if_exists: bool = False) -> WriteReport:
        """Drop a constraint."""
        return self._commit(
            "DROP CONSTRAINT",
            lambda current: dropped(current, name, if_exists=if_exists),
            {"name": name},
        )

    def _nullable(self, path: Path, *, nullable: bool) -> WriteReport:
        def plan(current: Snapshot) -> Definition:
            if edits.find(current.schema, path).nullable == nullable:
                return Definition(current.schema)
            if not nullable:
                check_no_nulls(current, path, self._target.scanner)
            schema = edits.replace_field(
                current.schema, path, lambda field: dataclasses.replace(field, nullable=nullable)
            )
            return redefine(current, schema=schema)

        parameters = {"column": shown(path), "nullable": nullable}
        return self._commit("CHANGE COLUMN", plan, parameters, reads_rows=not nullable)

    def _commit(
        self,
        operation: str,
        plan: Planner,
        parameters: Mapping[str, Any],
        *,
        reads_rows: bool = False,
    ) -> WriteReport:
        change = Alteration(operation, plan, parameters, reads_rows)
        return alter(self._target, change, metadata=self._metadata, key=self._key)


def _path(name: Column) -> Path:
    path = (name,) if isinstance(name, str) else tuple(name)
    if not path or not all(path):
        raise InputError(
            f"a column is named by text or a tuple of texts, not {name!r}",
            next_step='Pass "id", or ("address", "street") for a field of a struct',
        )
    return path


def _has(schema: Struct, path: Path) -> bool:
    try:
        edits.find(schema, path)
    except NotFoundError:
        return False
    return True


def _mapped(snapshot: Snapshot) -> tuple[Struct, Mapping[str, str]]:
    """Return the schema and the properties of a table whose columns are mapped, if need be by name."""
    if is_mapped(snapshot.properties):
        return snapshot.schema, snapshot.properties
    return _remapped(snapshot, "name")


def _remapped(snapshot: Snapshot, mode: str) -> tuple[Struct, Mapping[str, str]]:
    present = mode_of(snapshot.properties)
    if (present, mode) != ("none", "name"):
        raise InputError(
            f"a table's {MODE} cannot change from {present} to {mode}: its data files are written "
            "for the one",
            next_step="Write the rows into a new table that has it from the start",
        )
    settings = MappingProxyType({**snapshot.properties, MODE: mode})
    return assigned(snapshot.schema, settings, keep_names=True)
