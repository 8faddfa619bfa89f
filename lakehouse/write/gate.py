"""Compare incoming columns with a table's schema, and say how each is converted and checked.

Pure: from types to SQL text. No value may change on the way in: a conversion that could lose
anything is paired with a check that is true for the rows it would change.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from catalog.errors import DataError, InputError
from catalog.names import near_misses
from lakehouse.delta.features import DEFAULT, GENERATED
from lakehouse.delta.schema.fields import Array, Field, Map, Primitive, Struct, Type
from lakehouse.delta.schema.types import from_duckdb, to_duckdb
from lakehouse.delta.schema.widening import joined
from lakehouse.duck.describe import Column, DuckType
from lakehouse.duck.sql import KEY, VALUE, identifier
from lakehouse.write.fit import always_exact, fits

Cure = Literal["widen", "relax"]
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """Name what would be wrong with a row: SQL that is true for it.

    ``cure`` says what change of the table would let the row in.
    """

    reason: str
    sql: str
    cure: Cure | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Say how one column of the table is made: SQL over the source, and its checks."""

    field: Field
    source: str | None
    sql: str
    checks: tuple[Check, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class GatePlan:
    """Hold the table's schema after the write and one plan a column, in table order."""

    schema: Struct
    columns: tuple[ColumnPlan, ...]


ADD_BY_MODE = "Pass schema_mode='add' to add new columns"


def gate(
    source: tuple[Column, ...],
    schema: Struct,
    *,
    partition_columns: tuple[str, ...] = (),
) -> GatePlan:
    """Plan the way of incoming columns into a table.

    Columns match by name, whatever their order and case. Raises DataError for columns that the
    table lacks, that it requires and the rows lack, or whose type does not fit.
    """
    if not source:
        return GatePlan(schema, ())  # no columns, no rows
    found = _by_name(source)
    extra = [c for c in source if _match(schema, c.name) is None]
    if extra:
        column = extra[0]
        near = near_misses(column.name, schema.names())
        raise DataError(
            f"the table has no column {', '.join(repr(c.name) for c in extra)}",
            next_step=(f"Did you mean {near[0]!r}? " if near else "") + ADD_BY_MODE,
            column=column.name,
            near=near,
        )
    plans = []
    for field in schema:
        column_ = found.get(field.name.lower())
        if column_ is None:
            plans.append(_made_later(field) or _missing(field))
            continue
        plan = _plan(field, column_)
        if field.name in partition_columns:
            checks = partition_checks(plan.sql, field.type)
            plan = dataclasses.replace(plan, checks=(*plan.checks, *checks))
        plans.append(plan)
    return GatePlan(schema, tuple(plans))


def validate_schema(schema: Struct, partition_columns: tuple[str, ...]) -> None:
    """Raise InputError for a new table's schema that cannot work."""
    if not schema.fields:
        raise InputError("a table needs at least one column")
    _unique(schema, "")
    for name in partition_columns:
        field = schema.field(name)
        if field is None:
            near = near_misses(name, schema.names())
            raise InputError(
                f"partition column {name!r} is not in the schema",
                next_step=f"Did you mean {near[0]!r}?" if near else "Add it to the schema",
            )
        if name == "*":
            raise InputError(
                "a column named '*' cannot partition a table: DuckDB takes it for all columns",
                next_step="Rename it",
            )
        if isinstance(field.type, Array | Map | Struct) or field.type == Primitive("binary"):
            raise InputError(
                f"column {name!r} of type {to_duckdb(field.type)} cannot partition a table",
                next_step="Partition by a column of text, number, date or time",
            )
    if len(set(partition_columns)) != len(partition_columns):
        raise InputError("a partition column is named twice")
    if len(partition_columns) == len(schema.fields):
        raise InputError(
            "all columns are partition columns, so that data files would hold nothing",
            next_step="Leave at least one column out of partition_by",
        )


def _unique(type_: Type, path: str) -> None:
    match type_:
        case Struct(fields):
            seen: dict[str, str] = {}
            for field in fields:
                where = f"{path}{field.name}"
                if not field.name:
                    raise InputError(f"a column {path and 'in ' + path[:-1] + ' '}has no name")
                if (other := seen.setdefault(field.name.lower(), field.name)) != field.name or (
                    len([f for f in fields if f.name == field.name]) > 1
                ):
                    raise InputError(
                        f"columns {other!r} and {field.name!r} differ in case at most",
                        next_step="Rename one of them; SQL does not tell them apart",
                    )
                _unique(field.type, f"{where}.")
        case Array(element):
            _unique(element, f"{path}element.")
        case Map(key, value):
            _unique(key, f"{path}key.")
            _unique(value, f"{path}value.")
        case _:
            pass


def _by_name(source: tuple[Column, ...]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for column in source:
        if found.setdefault(column.name.lower(), column) is not column:
            raise DataError(
                f"the rows have two columns {column.name!r}",
                next_step="Rename or drop one of them",
                column=column.name,
            )
    return found


def _match(schema: Struct, name: str) -> Field | None:
    return next((field for field in schema if field.name.lower() == name.lower()), None)


def _missing(field: Field) -> ColumnPlan:
    if not field.nullable:
        raise DataError(
            f"column {field.name!r} is NOT NULL and the rows do not have it",
            next_step="Add it to the rows",
            column=field.name,
        )
    return ColumnPlan(field, None, f"CAST(NULL AS {to_duckdb(field.type, physical=True)})", ())


def _made_later(field: Field) -> ColumnPlan | None:
    """Return the plan of a column whose values the table's own expressions make."""
    if GENERATED not in field.metadata and DEFAULT not in field.metadata:
        return None
    return ColumnPlan(field, None, f"CAST(NULL AS {to_duckdb(field.type, physical=True)})", ())


def _plan(field: Field, column: Column) -> ColumnPlan:
    name = identifier(column.name)
    sql, checks = _convert(name, column.type, field.type, field.name)
    if not field.nullable:
        checks = (Check("is NULL in a NOT NULL column", f"{name} IS NULL", "relax"), *checks)
    return ColumnPlan(field, column.name, sql, checks)


def partition_checks(sql: str, type_: Type) -> tuple[Check, ...]:
    """Return the checks of values that partition folders cannot hold."""
    match type_:
        case Primitive("string"):
            empty = (
                "is the empty string in a partition column, where the Delta protocol reads it "
                "as NULL"
            )
            hive = "is the name that stands for NULL in partition folders"
            return (Check(empty, f"{sql} = ''"), Check(hive, f"{sql} = '{HIVE_NULL}'"))
        case Primitive("float" | "double"):
            zero = "is negative zero in a partition column, where it is one with zero"
            return (Check(zero, f"{sql} = 0 AND signbit({sql})"),)
        case Primitive("date" | "timestamp" | "timestamp_ntz"):
            infinite = "is an infinite date or time, which Delta cannot hold"
            return (Check(infinite, f"NOT isfinite({sql})"),)
        case _:
            return ()


def _convert(sql: str, source: DuckType, target: Type, path: str) -> tuple[str, tuple[Check, ...]]:
    """Return SQL of the target type, and checks for the rows that it would change."""
    wanted = to_duckdb(target, physical=True)
    match target:
        case Struct() if source.name == "struct":
            return _convert_struct(sql, source, target, path)
        case Array(element, contains_null) if source.name in ("list", "array"):
            inner, checks = _convert("x", source.children[0].type, element, f"{path}.element")
            if not contains_null:
                checks = (Check("holds NULL in a list that must not", "x IS NULL"), *checks)
            lists = f"CAST({sql} AS {source.children[0].type.text}[])"
            if source.name == "list":
                lists = sql
            made = lists if inner == "x" else f"list_transform({lists}, lambda x: {inner})"
            return made, tuple(_any(check, lists) for check in checks)
        case Map() if source.name == "map":
            return _convert_map(sql, source, target, path)
    if source.name in ("null", '"null"'):
        return f"CAST({sql} AS {wanted})", ()
    if source.text == wanted:
        return sql, ()
    if not fits(source, target):
        raise DataError(
            f"column {path!r} is {wanted} and the rows have {source.text}",
            next_step="Convert the rows yourself, for example with CAST in SQL"
            + _WIDEN_HINT * (_joins(source, target)),
            column=path,
        )
    cast = f"CAST({sql} AS {wanted})"
    if always_exact(source, target):
        return cast, ()
    tried = f"TRY_CAST({sql} AS {wanted})"
    changes = (
        f"{sql} IS NOT NULL AND ({tried} IS NULL OR "
        f"TRY_CAST({tried} AS {source.text}) IS DISTINCT FROM {sql})"
    )
    return cast, (Check(f"does not fit {wanted}", changes, "widen"),)


_WIDEN_HINT = ", or pass schema_mode='widen'"


def _joins(source: DuckType, target: Type) -> bool:
    try:
        return joined(target, from_duckdb(source, column="")) is not None
    except InputError:
        return False


def _convert_struct(
    sql: str, source: DuckType, target: Struct, path: str
) -> tuple[str, tuple[Check, ...]]:
    found = _by_name(source.children)
    unknown = [c.name for c in source.children if _match(target, c.name) is None]
    if unknown:
        raise DataError(
            f"column {path!r} has no field {', '.join(map(repr, unknown))}",
            next_step="Pass schema_mode='add' to add it, or leave the field out",
            column=path,
        )
    parts, checks, same = [], [], len(found) == len(target.fields)
    for index, field in enumerate(target):
        child = found.get(field.name.lower())
        if child is None:
            plan = _missing(dataclasses.replace(field, name=f"{path}.{field.name}"))
            parts.append(f"{identifier(field.physical_name)} := {plan.sql}")
            continue
        inner_sql = f"struct_extract({sql}, '{child.name.replace(chr(39), chr(39) * 2)}')"
        made, inner = _convert(inner_sql, child.type, field.type, f"{path}.{field.name}")
        if not field.nullable:
            null = Check("is NULL in a NOT NULL field", f"{inner_sql} IS NULL")
            inner = (null, *inner)
        checks += [dataclasses.replace(c, sql=f"{sql} IS NOT NULL AND ({c.sql})") for c in inner]
        parts.append(f"{identifier(field.physical_name)} := {made}")
        in_place = source.children[index].name == field.physical_name if same else False
        same = same and in_place and made == inner_sql
    if same:
        return sql, tuple(checks)
    packed = f"struct_pack({', '.join(parts)})"
    return f"CASE WHEN {sql} IS NOT NULL THEN {packed} END", tuple(checks)


def _convert_map(
    sql: str, source: DuckType, target: Map, path: str
) -> tuple[str, tuple[Check, ...]]:
    key_type, value_type = (child.type for child in source.children)
    key, key_checks = _convert(KEY, key_type, target.key, f"{path}.key")
    value, value_checks = _convert(VALUE, value_type, target.value, f"{path}.value")
    if not target.value_contains_null:
        null = Check("holds NULL in a map whose values must not be", f"{VALUE} IS NULL")
        value_checks = (null, *value_checks)
    entries = f"map_entries({sql})"
    checks = tuple(_any(check, entries) for check in (*key_checks, *value_checks))
    if (key, value) == (KEY, VALUE):
        return sql, checks
    packed = f"list_transform({entries}, lambda x: {{'key': {key}, 'value': {value}}})"
    return f"CASE WHEN {sql} IS NOT NULL THEN map_from_entries({packed}) END", checks


def _any(check: Check, lists: str) -> Check:
    found = f"coalesce(len(list_filter({lists}, lambda x: {check.sql})), 0) > 0"
    return dataclasses.replace(check, sql=found)
