"""A Delta table in plain Python: its versions as values, and how two of them differ.

A state holds rows as a multiset of dicts and a schema as Arrow's. What operations do to states is
in `lakehouse.testing.meaning`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

from lakehouse.testing.comparison import canonical

Row = Mapping[str, Any]
CONSTRAINT = "delta.constraints."


class Refused(Exception):  # noqa: N818 - an answer, and no error
    """Say that an operation does not fit the table, which then stays as it is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Predicate:
    """Hold a condition as SQL, and what it means: ``holds`` is true where the SQL is true.

    ``columns`` are those that it names.
    """

    sql: str
    holds: Callable[[Row], bool]
    columns: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """Hold one version of a table. Every row has every column of the schema.

    ``constraints`` are conditions by name: a row for which one is not true does not get in.
    ``transactions`` are the greatest idempotency numbers by application.
    """

    schema: pa.Schema
    rows: tuple[Row, ...] = ()
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constraints: Mapping[str, Predicate] = dataclasses.field(default_factory=dict)
    transactions: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """Hold all versions of a table, oldest first."""

    versions: tuple[State, ...]

    @property
    def latest(self) -> State:
        """Return the newest version."""
        return self.versions[-1]

    def then(self, state: State) -> Model:
        """Return the table with one more version."""
        return Model((*self.versions, state))


def difference(expected: State, found: State, *, column_order: bool = True) -> str | None:
    """Say how two states differ; None where they do not.

    The order of rows is nothing, that of columns is where ``column_order`` says so. Of the properties in ``delta.``, only constraints are compared:
    others come with protocol features.

    >>> one = State(pa.schema([("n", pa.int64())]))
    >>> difference(one, dataclasses.replace(one, rows=({"n": 1},)))
    "0 rows expected, 1 found: too many: [('int 1',)]"
    """
    want, have = _shape(expected.schema), _shape(found.schema)
    if want != have and (column_order or sorted(want) != sorted(have)):
        return f"columns {want} expected, {have} found"
    if expected.transactions != found.transactions:
        return f"transactions {expected.transactions} expected, {found.transactions} found"
    if (wanted := _own(expected.properties)) != (had := _own(found.properties)):
        return f"properties {wanted} expected, {had} found"
    if expected.partition_by != found.partition_by:
        return f"partitioned by {expected.partition_by} expected, by {found.partition_by} found"
    names = expected.schema.names
    lacking, extra = _bag(expected.rows, names), _bag(found.rows, names)
    for key in list(lacking):
        common = min(len(lacking[key]), len(extra.get(key, ())))
        if common:
            del lacking[key][:common], extra[key][:common]
    missing = [row for rows in lacking.values() for row in rows]
    surplus = [row for rows in extra.values() for row in rows]
    if not missing and not surplus:
        return None
    text = f"{len(expected.rows)} rows expected, {len(found.rows)} found"
    text += f": missing: {missing[:3]}" if missing else ""
    return text + (f": too many: {surplus[:3]}" if surplus else "")


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Return a type with the names that Delta gives to the parts of lists and maps."""
    if pa.types.is_list(type_):
        return pa.list_(pa.field("element", plain_type(type_.value_type)))
    if pa.types.is_map(type_):
        return pa.map_(plain_type(type_.key_type), plain_type(type_.item_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, plain_type(field.type)) for field in type_.fields])
    return type_


def _bag(rows: Iterable[Row], names: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    bag: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        form = tuple(canonical(row[name]) for name in names)
        bag.setdefault(repr(form), []).append(form)
    return bag


def _shape(schema: pa.Schema) -> list[tuple[str, str, bool]]:
    return [(field.name, str(plain_type(field.type)), field.nullable) for field in schema]


def _own(properties: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in properties.items()
        if not name.startswith("delta.") or name.startswith(CONSTRAINT)
    }
