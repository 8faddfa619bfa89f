"""Draw what changes or rewrites rows that are there, and what alters the table."""

from __future__ import annotations

import dataclasses
import random

import pyarrow as pa
from hypothesis import strategies as st

from lakehouse.delta.schema.types import schema_from_arrow, to_duckdb
from lakehouse.dml.clauses import lit
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import register
from lakehouse.table.handle import Table
from lakehouse.testing import meaning
from lakehouse.testing.model import Model, Refused, State
from lakehouse.testing.predicates import predicates
from lakehouse.testing.steps import MOST_COLUMNS, Step, given_rows, new_columns, writes

_WIDER = {
    pa.int8(): pa.int16(), pa.int16(): pa.int32(), pa.int32(): pa.int64(),
    pa.float32(): pa.float64(),
}  # fmt: skip
_SETTINGS = (
    ("team", "red"), ("team", "blue"), ("delta.checkpointInterval", "3"),
    ("delta.checkpointInterval", "100"), ("delta.columnMapping.mode", "name"),
    ("delta.enableInCommitTimestamps", "true"), ("delta.enableDeletionVectors", "true"),
    ("delta.enableChangeDataFeed", "true"),
)  # fmt: skip


def any_step(table: Model, engine: Engine, *, oldest: int = 0) -> st.SearchStrategy[Step]:
    """Draw any operation on a table; ``engine`` evaluates predicates on the model's rows."""
    return st.one_of(
        writes(table), changes(table, engine, oldest=oldest), alterations(table.latest)
    )


def changes(table: Model, engine: Engine, *, oldest: int = 0) -> st.SearchStrategy[Step]:
    """Draw deletes, updates, upserts, restores of ``oldest`` and later versions, and rewrites."""
    kept = range(oldest, len(table.versions))
    kinds = [deletes(table.latest, engine), restores(kept), rewrites()]
    if any(is_simple(field) for field in table.latest.schema):
        kinds += [updates(table.latest, engine), upserts(table.latest)]
    return st.one_of(kinds)


def is_simple(field: pa.Field) -> bool:
    """Tell whether a column's values are texts, numbers, days or the like."""
    type_ = field.type
    return not pa.types.is_nested(type_) and not pa.types.is_binary(type_)


@st.composite
def updates(draw: st.DrawFn, state: State, engine: Engine) -> Step:
    """Draw updates of one column, to one value, by a predicate."""
    where = draw(predicates(as_arrow(state)))
    name = draw(st.sampled_from([field.name for field in state.schema if is_simple(field)]))
    value = (draw(given_rows(state)).to_pylist() or [{name: None}])[0][name]
    return Step(
        "update",
        lambda table: table.update({name: lit(value)}, where=where),
        lambda table: meaning.updated(
            table.latest, {name: value}, matching(table.latest, where, engine)
        ),
    )


@st.composite
def upserts(draw: st.DrawFn, state: State) -> Step:
    """Draw upserts by one column; half of the rows are taken from the table."""
    name = draw(st.sampled_from([field.name for field in state.schema if is_simple(field)]))
    given = draw(given_rows(state))
    again: bool = draw(st.booleans())
    if state.rows and again:
        known = pa.Table.from_pylist([dict(state.rows[0])], schema=given.schema)
        given = pa.concat_tables([given, known])
    return Step(
        "upsert",
        lambda table: table.upsert(given, key=[name]),
        lambda table: meaning.merge(table.latest, given, on=name),
    )


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
    gone = matching(state, where, engine)
    kept = tuple(row for row, goes in zip(state.rows, gone, strict=True) if not goes)
    return dataclasses.replace(state, rows=kept)


def matching(state: State, where: str, engine: Engine) -> list[bool]:
    """Tell of each row whether a predicate in SQL is true for it."""
    with engine.work("check a predicate") as cursor:
        source = register(cursor, as_arrow(state)).name
        try:
            found = cursor.sql(f"SELECT ({where}) IS TRUE AS matches FROM {source}").fetchall()
        except Exception as error:
            raise Refused(str(error)) from error
    return [matches for (matches,) in found]


def as_arrow(state: State) -> pa.Table:
    """Return a state's rows as an Arrow table."""
    return pa.Table.from_pylist([dict(row) for row in state.rows], schema=state.schema)
