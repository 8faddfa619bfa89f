"""What every operation means: functions from states to states, without files, log or SQL engine.

Each raises `Refused` where the table must stay as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pyarrow as pa

from lakehouse.testing.model import CONSTRAINT, Model, Predicate, Refused, Row, State, plain_type

SchemaMode = Literal["strict", "add", "overwrite"]


def append(
    state: State,
    given: pa.Table,
    *,
    schema_mode: SchemaMode = "strict",
    key: tuple[str, int] | None = None,
) -> State:
    """Add rows; columns that the rows lack become NULL.

    >>> state = State(pa.schema([("n", pa.int64())]))
    >>> append(state, pa.table({"n": [1, 2]})).rows
    ({'n': 1}, {'n': 2})
    """
    if _is_done(state, key):
        return state
    schema = _extended(state.schema, given.schema, schema_mode)
    rows = _rows(given, schema)
    _check(rows, schema, state.constraints)
    if not rows and schema == state.schema:
        # A write of nothing leaves its key and no more: it does nothing later either.
        return dataclasses.replace(state, transactions=_marked(state, key))
    return dataclasses.replace(
        state,
        schema=schema,
        rows=(*_filled(state.rows, schema), *rows),
        transactions=_marked(state, key),
    )


def overwrite(
    state: State,
    given: pa.Table,
    *,
    schema_mode: SchemaMode = "strict",
    where: Predicate | None = None,
    key: tuple[str, int] | None = None,
) -> State:
    """Replace all rows, or those for which ``where`` holds, which then must hold for the new."""
    if _is_done(state, key):
        return state
    kept: tuple[Row, ...] = ()
    if where is not None:
        kept = tuple(row for row in state.rows if not _holds(where, row))
        if not all(_holds(where, row) for row in given.to_pylist()):
            raise Refused("new rows lie outside of the part that they replace")
    schema = state.schema
    if schema_mode == "overwrite":
        if not set(state.partition_by) <= set(given.schema.names):
            raise Refused("the new columns lack a partition column")
        schema = pa.schema([field.with_nullable(True) for field in given.schema])
    schema = _extended(schema, given.schema, schema_mode)
    rows = _rows(given, schema)
    _check(rows, schema, state.constraints)
    if not rows and len(kept) == len(state.rows) and schema == state.schema:
        return dataclasses.replace(state, transactions=_marked(state, key))
    return dataclasses.replace(
        state,
        schema=schema,
        rows=(*_filled(kept, schema), *rows),
        transactions=_marked(state, key),
    )


def delete(state: State, where: Predicate) -> State:
    """Take out the rows for which a condition is true."""
    return dataclasses.replace(
        state, rows=tuple(row for row in state.rows if not _holds(where, row))
    )


def update(state: State, values: Row, where: Predicate) -> State:
    """Give rows for which a condition is true other values."""
    return updated(state, values, [_holds(where, row) for row in state.rows])


def updated(state: State, values: Row, chosen: Sequence[bool]) -> State:
    """Give the rows that are chosen other values."""
    _columns(state.schema, values)
    rows = [{**row, **values} if c else row for row, c in zip(state.rows, chosen, strict=True)]
    changed = [row for row, c in zip(rows, chosen, strict=True) if c]
    _check(changed, state.schema, state.constraints)
    return dataclasses.replace(state, rows=tuple(rows))


def merge(state: State, given: pa.Table, *, on: str) -> State:
    """Give the rows whose key the given rows have their values, and add those with new keys."""
    _columns(state.schema, [on, *given.schema.names])
    for field in given.schema:
        if not _fits(field.type, state.schema.field(field.name).type):
            raise Refused(f"{field.name} has another type")
    for field in state.schema:
        if not field.nullable and field.name not in given.schema.names:
            raise Refused(f"{field.name} is NOT NULL")
    new = {_comparable(row[on]): row for row in given.to_pylist()}
    if None in new or len(new) < given.num_rows:
        raise Refused("a key is NULL or stands there twice")
    old = [(row, new.get(_comparable(row[on]))) for row in state.rows]
    rows = [row if its is None else {**row, **its} for row, its in old]
    known = {_comparable(row[on]) for row in state.rows}
    added = _filled((row for key, row in new.items() if key not in known), state.schema)
    _check(
        [*added, *(row for row, (_, its) in zip(rows, old, strict=True) if its is not None)],
        state.schema,
        state.constraints,
    )
    return dataclasses.replace(state, rows=(*rows, *added))


def restore(model: Model, version: int) -> State:
    """Make rows, schema and properties of a version the newest again; transactions stay."""
    return dataclasses.replace(model.versions[version], transactions=model.latest.transactions)


def add_column(state: State, field: pa.Field) -> State:
    """Add a column, NULL in every row."""
    _new_name(state.schema, field.name)
    schema = state.schema.append(field)
    return dataclasses.replace(state, schema=schema, rows=_filled(state.rows, schema))


def widen(state: State, name: str, type_: pa.DataType) -> State:
    """Give a column a type that holds all values of the one it has."""
    _columns(state.schema, [name])
    position = state.schema.get_field_index(name)
    field = state.schema.field(position).with_type(type_)
    return dataclasses.replace(state, schema=state.schema.set(position, field))


def rename_column(state: State, old: str, new: str) -> State:
    """Give a column another name."""
    _columns(state.schema, [old])
    _unnamed(state, old)
    _new_name(state.schema, new)
    if new == "*" and old in state.partition_by:
        raise Refused("DuckDB takes it for all columns")
    position = state.schema.get_field_index(old)
    schema = state.schema.set(position, state.schema.field(position).with_name(new))
    rows = tuple({new if k == old else k: v for k, v in row.items()} for row in state.rows)
    parts = tuple(new if name == old else name for name in state.partition_by)
    return dataclasses.replace(state, schema=schema, rows=rows, partition_by=parts)


def drop_column(state: State, name: str) -> State:
    """Take a column out."""
    _columns(state.schema, [name])
    _unnamed(state, name)
    if name in state.partition_by:
        raise Refused(f"{name} partitions the table")
    if len(state.schema) == len(state.partition_by) + 1:
        raise Refused("data files would hold nothing")
    schema = state.schema.remove(state.schema.get_field_index(name))
    rows = tuple({k: v for k, v in row.items() if k != name} for row in state.rows)
    return dataclasses.replace(state, schema=schema, rows=rows)


def set_not_null(state: State, name: str) -> State:
    """Let no NULL into a column, which must hold none."""
    _columns(state.schema, [name])
    position = state.schema.get_field_index(name)
    schema = state.schema.set(position, state.schema.field(position).with_nullable(False))
    _check(state.rows, schema, {})
    return dataclasses.replace(state, schema=schema)


def drop_not_null(state: State, name: str) -> State:
    """Let NULL into a column."""
    _columns(state.schema, [name])
    position = state.schema.get_field_index(name)
    field = state.schema.field(position).with_nullable(True)
    return dataclasses.replace(state, schema=state.schema.set(position, field))


def add_constraint(state: State, name: str, condition: Predicate) -> State:
    """Let in, from now on, only rows for which a condition is true, as it must be for all present."""
    if name in state.constraints:
        raise Refused(f"there is a constraint {name}")
    constraints = {**state.constraints, name: condition}
    _check(state.rows, state.schema, constraints)
    return dataclasses.replace(
        state,
        constraints=constraints,
        properties={**state.properties, CONSTRAINT + name: condition.sql},
    )


def drop_constraint(state: State, name: str) -> State:
    """Take a constraint out."""
    if name not in state.constraints:
        raise Refused(f"there is no constraint {name}")
    return dataclasses.replace(
        state,
        constraints={k: v for k, v in state.constraints.items() if k != name},
        properties={k: v for k, v in state.properties.items() if k != CONSTRAINT + name},
    )


def set_property(state: State, name: str, value: str) -> State:
    """Set a property of the table."""
    return dataclasses.replace(state, properties={**state.properties, name: value})


def _comparable(value: object) -> object:
    """Return a value that is equal where SQL says so: NaN is one number there."""
    return "NaN" if isinstance(value, float) and value != value else value


def _is_done(state: State, key: tuple[str, int] | None) -> bool:
    return key is not None and state.transactions.get(key[0], -1) >= key[1]


def _marked(state: State, key: tuple[str, int] | None) -> Mapping[str, int]:
    return state.transactions if key is None else {**state.transactions, key[0]: key[1]}


def _extended(schema: pa.Schema, given: pa.Schema, mode: SchemaMode) -> pa.Schema:
    known = {name.casefold() for name in schema.names}
    new = [field for field in given if field.name.casefold() not in known]
    if new and mode == "strict":
        raise Refused(f"the table has no column {new[0].name}")
    for field in schema:
        if not field.nullable and field.name not in given.names:
            raise Refused(f"{field.name} is NOT NULL")
    for field in given:
        if field.name in schema.names and not _fits(field.type, schema.field(field.name).type):
            raise Refused(f"{field.name} has another type")
    for field in new:
        schema = schema.append(field.with_nullable(True))
    return schema


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    both_whole = pa.types.is_integer(given) and pa.types.is_integer(wanted)
    return both_whole or str(plain_type(given)) == str(plain_type(wanted))


def _rows(given: pa.Table, schema: pa.Schema) -> list[Row]:
    return list(_filled(given.to_pylist(), schema))


def _filled(rows: Iterable[Row], schema: pa.Schema) -> tuple[Row, ...]:
    return tuple({name: row.get(name) for name in schema.names} for row in rows)


def _check(rows: Iterable[Row], schema: pa.Schema, constraints: Mapping[str, Predicate]) -> None:
    required = [field.name for field in schema if not field.nullable]
    for row in rows:
        for name in required:
            if row[name] is None:
                raise Refused(f"{name} is NULL")
        for name, condition in constraints.items():
            if not _holds(condition, row):
                raise Refused(f"a row breaks {name}")


def _holds(condition: Predicate, row: Row) -> bool:
    try:
        return condition.holds(row)
    except KeyError as error:
        raise Refused(f"the table has no column {error}") from error


def _columns(schema: pa.Schema, names: Iterable[str]) -> None:
    for name in names:
        if name not in schema.names:
            raise Refused(f"the table has no column {name}")


def _unnamed(state: State, column: str) -> None:
    for name, condition in state.constraints.items():
        if column in condition.columns:
            raise Refused(f"constraint {name} names {column}")


def _new_name(schema: pa.Schema, name: str) -> None:
    if name.casefold() in {known.casefold() for known in schema.names}:
        raise Refused(f"there is a column {name}")
