"""Draw what changes or rewrites rows that are there, and what alters the table."""

from __future__ import annotations

import dataclasses
import random

import pyarrow as pa
from hypothesis import strategies as st

from lakehouse.delta.schema.types import schema_from_arrow, to_duckdb
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import register
from lakehouse.table.handle import Table
from lakehouse.testing import meaning
from lakehouse.testing.model import Model, Refused, State
from lakehouse.testing.predicates import predicates
from lakehouse.testing.steps import MOST_COLUMNS, Step, new_columns, writes

_WIDER = {
    pa.int8(): pa.int16(), pa.int16(): pa.int32(), pa.int32(): pa.int64(),
    pa.float32(): pa.float64(),
}  # fmt: skip
_SETTINGS = (
    ("team", "red"), ("team", "blue"), ("delta.checkpointInterval", "3"),
    ("delta.checkpointInterval", "100"), ("delta.columnMapping.mode", "name"),
    ("delta.enableInCommitTimestamps", "true"),
)  # fmt: skip


def any_step(table: Model, engine: Engine, *, oldest: int = 0) -> st.SearchStrategy[Step]:
    """Draw any operation on a table; ``engine`` evaluates predicates on the model's rows."""
    return st.one_of(
        writes(table), changes(table, engine, oldest=oldest), alterations(table.latest)
    )


def changes(table: Model, engine: Engine, *, oldest: int = 0) -> st.SearchStrategy[Step]:
    """Draw deletes, restores of ``oldest`` and later versions, and rewrites."""
    kept = range(oldest, len(table.versions))
    return st.one_of(deletes(table.latest, engine), restores(kept), rewrites())


@st.composite
def deletes(draw: st.DrawFn, state: State, engine: Engine) -> Step:
    """Draw deletes by a predicate over the columns that the table has now."""
    where = draw(predicates(as_arrow(state)))

    return Step(
        "delete",
        lambda table: table.delete(where),
        lambda table: deleted(table.latest, where, engine),
    )


@st.composite
def restores(draw: st.DrawFn, versions: range) -> Step:
    """Draw the restoring of one of some versions."""
    version = draw(st.sampled_from(versions))
    return Step(
        "restore",
        lambda table: table.restore(version=version),
        lambda table: meaning.restore(table, version),
    )


@st.composite
def rewrites(draw: st.DrawFn) -> Step:
    """Draw the rewriting of all or some of a table's files."""
    seed, share = draw(st.integers(0, 99)), draw(st.sampled_from((0.5, 1.0)))

    def perform(table: Table) -> object:
        paths = sorted(table.files()["path"].to_pylist())
        chance = random.Random(seed)
        return table.rewrite([path for path in paths if chance.random() < share])

    return Step("rewrite", perform, lambda table: table.latest)


@st.composite
def alterations(draw: st.DrawFn, state: State) -> Step:
    """Draw what `Table.alter` does to columns and properties."""
    field = draw(st.sampled_from(list(state.schema)))
    name = field.name
    kinds = ["rename", "nullable", "property"]
    if len(state.schema) < MOST_COLUMNS:
        kinds.append("add")
    if len(state.schema) > 1:
        kinds.append("drop")
    if field.type in _WIDER and name not in state.partition_by:
        kinds.append("widen")
    match draw(st.sampled_from(kinds)):
        case "rename":
            new = draw(new_columns(state)).name
            return Step(
                "rename column",
                lambda table: table.alter().rename_column(name, new),
                lambda table: meaning.rename_column(table.latest, name, new),
            )
        case "nullable" if field.nullable:
            return Step(
                "set not null",
                lambda table: table.alter().set_not_null(name),
                lambda table: meaning.set_not_null(table.latest, name),
            )
        case "nullable":
            return Step(
                "drop not null",
                lambda table: table.alter().drop_not_null(name),
                lambda table: meaning.drop_not_null(table.latest, name),
            )
        case "property":
            key, value = draw(st.sampled_from(_SETTINGS))
            return Step(
                "set property",
                lambda table: table.alter().set_properties({key: value}),
                lambda table: meaning.set_property(table.latest, key, value),
            )
        case "add":
            column = draw(new_columns(state))
            text = to_duckdb(schema_from_arrow(pa.schema([column])).fields[0].type)
            return Step(
                "add column",
                lambda table: table.alter().add_column(column.name, text),
                lambda table: meaning.add_column(table.latest, column),
            )
        case "drop":
            return Step(
                "drop column",
                lambda table: table.alter().drop_column(name),
                lambda table: meaning.drop_column(table.latest, name),
            )
        case _:
            wider = _WIDER[field.type]
            return Step(
                "widen column",
                lambda table: table.alter().change_type(
                    name, to_duckdb(schema_from_arrow(pa.schema([(name, wider)])).fields[0].type)
                ),
                lambda table: meaning.widen(table.latest, name, wider),
            )


def deleted(state: State, where: str, engine: Engine) -> State:
    """Take out the rows for which a predicate in SQL is true, whatever it says."""
    with engine.work("check a predicate") as cursor:
        source = register(cursor, as_arrow(state)).name
        try:
            found = cursor.sql(f"SELECT ({where}) IS TRUE AS gone FROM {source}").fetchall()
        except Exception as error:
            raise Refused(str(error)) from error
    kept = tuple(row for row, (gone,) in zip(state.rows, found, strict=True) if not gone)
    return dataclasses.replace(state, rows=kept)


def as_arrow(state: State) -> pa.Table:
    """Return a state's rows as an Arrow table."""
    return pa.Table.from_pylist([dict(row) for row in state.rows], schema=state.schema)
