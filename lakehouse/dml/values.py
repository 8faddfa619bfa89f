"""Turn what the clauses of a change set into SQL, column by column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from catalog.errors import DataError, InputError
from catalog.names import near_misses
from lakehouse.delta.features import GENERATED
from lakehouse.delta.schema.fields import Field, Struct
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.dml.clauses import Clause, Merge, Value
from lakehouse.dml.joining import Scope
from lakehouse.dml.workspace import Given, Workspace
from lakehouse.duck.rows import register
from lakehouse.duck.sql import identifier
from lakehouse.scan.expression import Expression
from lakehouse.write.gate import ADD_BY_MODE

# Columns that are set one by one are named on purpose: no mode adds them.
_ADD_FIRST = "Add it first: table.alter().add_column({column!r}, ...)"


@dataclasses.dataclass(frozen=True, slots=True)
class Values:
    """Hold what names mean in the clauses of a merge into a table of this schema."""

    merge: Merge
    scope: Scope
    schema: Struct
    given: Given | None
    space: Workspace

    def needs_target(self, clause: Clause) -> bool:
        """Tell whether an update's values depend on the row that was there."""
        if any(
            f.name not in self._given(clause) for f in self.schema if GENERATED not in f.metadata
        ):
            return True
        if not isinstance(clause.values, Mapping):
            return False
        texts = [value for value in clause.values.values() if isinstance(value, str)]
        found = (self._parsed(text).references for text in texts)
        return any(self.scope.side(r) != "source" for references in found for r in references)

    def of(self, clause: Clause) -> list[tuple[str, str]]:
        """Return the columns that a clause gives, and SQL of each."""
        given = self._given(clause)
        if clause.verb == "insert":
            return list(given.items())
        target = identifier(self.merge.target)
        values = []
        for field in self.schema:
            if field.name in given:
                values.append((field.name, given[field.name]))
            elif GENERATED not in field.metadata:
                values.append((field.name, f"{target}.{identifier(field.name)}"))
        return values

    def _given(self, clause: Clause) -> dict[str, str]:
        if isinstance(clause.values, Mapping):
            found: dict[str, str] = {}
            for name, value in clause.values.items():
                field = self.field(name, next_step=_ADD_FIRST.format(column=name))
                if field.name in found:
                    raise InputError(f"column {field.name!r} is set twice")
                found[field.name] = self._value(field, value)
            return found
        assert self.given is not None
        names = clause.values
        if names is None:
            names = [column.name for column in self.given.columns]
        return {self.field(name).name: self._from_source(name) for name in names}

    def _from_source(self, name: str) -> str:
        assert self.given is not None
        column = next((c for c in self.given.columns if c.name.lower() == name.lower()), None)
        if column is None:
            near = near_misses(name, [c.name for c in self.given.columns])
            raise InputError(
                f"the source has no column {name!r}",
                next_step=f"Did you mean {near[0]!r}?" if near else "",
            )
        if column.type.name in ("null", '"null"'):
            return _null(self.field(name))
        return f"{identifier(self.merge.source)}.{identifier(column.name)}"

    def field(self, name: str, *, next_step: str = ADD_BY_MODE) -> Field:
        """Return the table's column of a name, in any case; DataError where there is none."""
        field = self.schema.field(self.scope.columns.get(name.lower(), name))
        if field is None:
            near = near_misses(name, self.schema.names())
            raise DataError(
                f"the table has no column {name!r}",
                next_step=(f"Did you mean {near[0]!r}? " if near else "") + next_step,
                column=name,
                near=near,
            )
        return field

    def _value(self, field: Field, value: Any) -> str:
        if isinstance(value, str):
            found = self._parsed(value)
            return _null(field) if found.is_null else f"({found.sql}\n)"
        value = value.value if isinstance(value, Value) else value
        return _null(field) if value is None else self._constant(value)

    def _parsed(self, text: str) -> Expression:
        return self.space.expression(text, columns=self.scope.names(), what="a value")

    def _constant(self, value: Any) -> str:
        """Keep a Python value as the only one of a table: DuckDB types it as it types rows."""
        place = self.space.new_place("value")
        with self.space.engine.work("keep a value") as cursor:
            source = register(cursor, [{"v": value}])
            cursor.execute(f"CREATE TABLE {place} AS SELECT v FROM {source.name}")
        return f"(SELECT v FROM {place})"


def _null(field: Field) -> str:
    return f"CAST(NULL AS {to_duckdb(field.type)})"
