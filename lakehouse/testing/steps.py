"""Draw operations on any table: what a handle shall do, and what the model says to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pyarrow as pa
from hypothesis import strategies as st

from lakehouse.duck.engine import VERSION
from lakehouse.table.handle import Table
from lakehouse.testing import model
from lakehouse.testing.model import Model, State
from lakehouse.testing.rows import rows
from lakehouse.testing.schemas import column_names, data_types, partition_types, schemas

MOST_COLUMNS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Hold one operation with all that it needs; ``name`` is for the figures."""

    name: str
    perform: Callable[[Table], object]
    meaning: Callable[[Model], State]


@st.composite
def new_tables(draw: st.DrawFn) -> State:
    """Draw empty tables: one to four columns, half of the tables partitioned by one."""
    schema = draw(schemas(max_columns=3))
    schema = pa.schema(
        [f.with_nullable(draw(st.sampled_from((True, True, False)))) for f in schema]
    )
    if "part" in {name.casefold() for name in schema.names} or draw(st.booleans()):
        return State(schema)
    field = pa.field("part", draw(partition_types()))
    position = draw(st.integers(0, len(schema)))
    return State(schema.insert(position, field), partition_by=("part",))


@st.composite
def given_rows(draw: st.DrawFn, state: State, *, some_columns: bool = False) -> pa.Table:
    """Draw up to four rows for a table; NULL where it must not be is among them, if seldom.

    With ``some_columns``, columns that may be NULL may be missing.
    """
    schema = state.schema
    if some_columns and draw(st.booleans()):
        kept = [f for f in schema if not f.nullable or draw(st.booleans())] or list(schema)
        schema = pa.schema(kept)
    if draw(st.integers(0, 9)) == 9:
        schema = pa.schema([field.with_nullable(True) for field in schema])
    return _tamed(draw(rows(schema, max_rows=4, partition_by=state.partition_by)))


@st.composite
def appends(draw: st.DrawFn, state: State) -> Step:
    """Draw appends, a third of them with an idempotency key that may have been used."""
    given = draw(given_rows(state, some_columns=True))
    key = draw(st.sampled_from((None, None, "load", "job")))
    keyed = None if key is None else (key, draw(st.integers(0, 20)))
    return Step(
        "append" if keyed is None else "append once",
        lambda table: table.append(given, idempotency_key=keyed),
        lambda table: model.append(table.latest, given, key=keyed),
    )


@st.composite
def overwrites(draw: st.DrawFn, state: State) -> Step:
    """Draw overwrites of all rows."""
    given = draw(given_rows(state, some_columns=True))
    return Step(
        "overwrite",
        lambda table: table.overwrite(given),
        lambda table: model.overwrite(table.latest, given),
    )


@st.composite
def wider_writes(draw: st.DrawFn, state: State) -> Step:
    """Draw appends and overwrites with one more column."""
    field = draw(new_columns(state))
    wider = dataclasses.replace(state, schema=state.schema.append(field))
    given = draw(given_rows(wider))
    if draw(st.booleans()):
        return Step(
            "append wider",
            lambda table: table.append(given, schema_mode="add"),
            lambda table: model.append(table.latest, given, schema_mode="add"),
        )
    return Step(
        "overwrite wider",
        lambda table: table.overwrite(given, schema_mode="add"),
        lambda table: model.overwrite(table.latest, given, schema_mode="add"),
    )


@st.composite
def overwrites_of_the_schema(draw: st.DrawFn, state: State) -> Step:
    """Draw overwrites that bring other columns; partition columns stay."""
    fields = [field for field in state.schema if field.name in state.partition_by]
    for _ in range(draw(st.integers(1, 2))):
        taken = dataclasses.replace(state, schema=pa.schema(fields))
        fields.append(draw(new_columns(taken)))
    other = dataclasses.replace(state, schema=pa.schema(fields))
    given = draw(given_rows(other))
    return Step(
        "overwrite schema",
        lambda table: table.overwrite(given, schema_mode="overwrite"),
        lambda table: model.overwrite(table.latest, given, schema_mode="overwrite"),
    )


@st.composite
def new_columns(draw: st.DrawFn, state: State) -> pa.Field:
    """Draw a column that a table lacks."""
    taken = {name.lower() for name in state.schema.names}
    names = column_names().filter(
        lambda name: name.lower() not in taken and name.casefold() not in taken
    )
    return pa.field(draw(names), draw(data_types()))


def writes(table: Model) -> st.SearchStrategy[Step]:
    """Draw any writing of rows."""
    state = table.latest
    kinds = [appends(state), appends(state), overwrites(state), overwrites_of_the_schema(state)]
    if len(state.schema) < MOST_COLUMNS:
        kinds.append(wider_writes(state))
    return st.one_of(kinds)


def _tamed(given: pa.Table) -> pa.Table:
    """Take the sign from zeros where DuckDB does: 1.5 keeps one of both in a dictionary."""
    if VERSION >= (2, 0):
        return given
    return pa.Table.from_pylist([_unsigned(row) for row in given.to_pylist()], schema=given.schema)


def _unsigned(value: object) -> object:
    match value:
        case float():
            return value + 0.0 if value == 0 else value
        case dict():
            return {key: _unsigned(child) for key, child in value.items()}
        case list():
            return [_unsigned(child) for child in value]
        case tuple():
            return tuple(_unsigned(child) for child in value)
    return value
