"""Update by one clause without a source: SQL of all rows, the changed ones among the others.

The clause's condition tells which rows change. All rows stay where they are, so that only the
columns that are set have to be written anew.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Collection

from lakehouse.delta.schema.fields import Field, Struct
from lakehouse.duck.sql import identifier
from lakehouse.write.gate import GatePlan
from lakehouse.write.query import Query

# Where `Workspace.new_place` keeps a Python value.
_CONSTANT = re.compile(r'\(SELECT v FROM "lakehouse work [0-9a-f]{32}"\.main\."value \d+"\)')


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """Hold SQL of the columns that an update sets, of all rows.

    ``place`` is what it has in the place of the rows: all columns of a table, as a view gives
    them. ``constants`` are statements for the connection that runs it. It fails for a row that
    must not be, and has nothing in it that could bring rows into another order.
    """

    columns: tuple[Field, ...]
    sql: str
    place: str
    constants: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Lone:
    """Hold an update: which rows of ``target`` (an alias) change, and the values of columns.

    ``stored`` says how rows that stay stand in data files, ``query`` how changed ones get there.
    """

    schema: Struct
    target: str
    condition: str
    values: tuple[tuple[str, str], ...]
    stored: GatePlan
    query: Query

    def rows(self, source: str, *, only: Collection[str] | None = None) -> str:
        """Return SQL of all rows of a source under the target's alias; ``only``: these columns."""
        ours = "lakehouse"
        while any(field.name.lower().startswith(ours) for field in self.schema):
            ours += "_"
        flag = identifier(f"{ours} is changed")
        kept = [identifier(f"{ours} kept {i}") for i in range(len(self.stored.columns))]
        stays = ", ".join(f"{c.sql} AS {k}" for c, k in zip(self.stored.columns, kept, strict=True))
        changed = f"coalesce(({self.condition}\n), false) AS {flag}"
        rows = f"(SELECT *, {stays}, {changed} FROM {source}) AS {self.target}"
        # What is not to be changed must not be computed either: it might fail.
        same, values = self._same(), self.values
        if only is not None:
            # DuckDB takes its time to plan: what nobody asks for is left out.
            checked = {column.field.name for column in self.query.plan.columns if column.checks}
            values = tuple(v for v in values if v[0] not in same or v[0] in checked)
        new = [
            f"CASE WHEN {self.target}.{flag} THEN {sql} END AS c{i}"
            for i, (_, sql) in enumerate(values)
        ]
        inner = ", ".join([*new, *(f"{self.target}.{name}" for name in (*kept, flag))])
        outer = [f"c{i} AS {identifier(name)}" for i, (name, _) in enumerate(values)]
        sql = f"SELECT {', '.join([*outer, *kept, flag])} FROM (SELECT {inner} FROM {rows})"
        query = dataclasses.replace(self.query, source=f"({sql})")
        return query.among(flag, kept, same=same, only=only)

    def setting(self) -> Setting | None:
        """Return how the columns that are set are made; None where these are all, or none."""
        same, made = self._same(), self.query.rules.made
        columns = tuple(field for field in self.schema if field.name not in same)
        if not same or all(field.name in made for field in columns):
            return None
        place = identifier(f"lakehouse rows {uuid.uuid4().hex}")
        names = ", ".join(identifier(field.name) for field in self.schema)
        source = f"(SELECT {names} FROM {place}) AS {self.target}"
        sql = self.rows(source, only={field.name for field in columns})
        # To look a value up is a join: DuckDB might hold the rows in it, and mix them.
        constants = []
        for number, value in enumerate(sorted(set(_CONSTANT.findall(sql)))):
            name = f"lakehouse_value_{number}"
            constants.append(f"SET VARIABLE {name} = {value}")
            sql = sql.replace(value, f"getvariable('{name}')")
        return Setting(columns, sql, place, tuple(constants))

    def _same(self) -> set[str]:
        """Return the columns that stay as they are."""
        return {name for name, sql in self.values if sql == f"{self.target}.{identifier(name)}"}
