"""Translate Delta types to and from DuckDB's and Arrow's.

Source: Delta protocol, "Primitive Types". Types that Delta lacks are mapped to the smallest
Delta type that holds all of their values, or refused with the cast that would do.
"""

from __future__ import annotations

from typing import Any

from catalog import lazy
from catalog.errors import InputError
from lakehouse.delta.schema.fields import Array, Decimal, Field, Map, Primitive, Struct, Type
from lakehouse.duck.describe import Column, DuckType
from lakehouse.duck.sql import identifier

pa: Any = lazy.module("pyarrow")

_TO_DUCKDB = {
    "string": "VARCHAR", "long": "BIGINT", "integer": "INTEGER", "short": "SMALLINT",
    "byte": "TINYINT", "float": "FLOAT", "double": "DOUBLE", "boolean": "BOOLEAN",
    "binary": "BLOB", "date": "DATE", "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip
_FROM_DUCKDB: dict[str, Type] = {
    "varchar": Primitive("string"), "bigint": Primitive("long"), "integer": Primitive("integer"),
    "smallint": Primitive("short"), "tinyint": Primitive("byte"), "float": Primitive("float"),
    "double": Primitive("double"), "boolean": Primitive("boolean"), "blob": Primitive("binary"),
    "date": Primitive("date"), "timestamp with time zone": Primitive("timestamp"),
    "timestamptz_ns": Primitive("timestamp"), "timestamp": Primitive("timestamp_ntz"),
    "timestamp_s": Primitive("timestamp_ntz"), "timestamp_ms": Primitive("timestamp_ntz"),
    "timestamp_ns": Primitive("timestamp_ntz"), "utinyint": Primitive("short"),
    "usmallint": Primitive("integer"), "uinteger": Primitive("long"), "ubigint": Decimal(20, 0),
    "hugeint": Decimal(38, 0), "uuid": Primitive("string"), "enum": Primitive("string"),
}  # fmt: skip
_TO_ARROW: dict[str, tuple[str, ...]] = {  # Arrow's name, and its arguments
    "string": ("string",), "long": ("int64",), "integer": ("int32",), "short": ("int16",),
    "byte": ("int8",), "float": ("float32",), "double": ("float64",), "boolean": ("bool_",),
    "binary": ("binary",), "date": ("date32",), "timestamp": ("timestamp", "us", "UTC"),
    "timestamp_ntz": ("timestamp", "us"),
}  # fmt: skip


def to_duckdb(type_: Type, *, physical: bool = False) -> str:
    """Return the DuckDB type text of a Delta type.

    ``physical`` names struct fields as the data files do (they differ under column mapping).

    >>> to_duckdb(Struct((Field("a b", Array(Decimal(10, 2))),)))
    'STRUCT("a b" DECIMAL(10,2)[])'
    """
    match type_:
        case Primitive(name):
            return _TO_DUCKDB[name]
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case Array(element):
            return f"{to_duckdb(element, physical=physical)}[]"
        case Map(key, value):
            return (
                f"MAP({to_duckdb(key, physical=physical)}, {to_duckdb(value, physical=physical)})"
            )
        case Struct(fields):
            inner = ", ".join(
                f"{identifier(f.physical_name if physical else f.name)} "
                f"{to_duckdb(f.type, physical=physical)}"
                for f in fields
            )
            return f"STRUCT({inner})"


def from_duckdb(type_: DuckType, *, column: str) -> Type:
    """Return the Delta type that holds every value of a DuckDB type.

    Raises InputError, naming the column, where Delta has none (TIME, INTERVAL, UNION, BIT ...).
    """
    match type_.name:
        case "decimal":
            return Decimal(type_.precision, type_.scale)
        case "list" | "array":
            return Array(from_duckdb(type_.children[0].type, column=column))
        case "map":
            key, value = type_.children
            return Map(from_duckdb(key.type, column=column), from_duckdb(value.type, column=column))
        case "struct":
            return Struct(
                tuple(
                    Field(child.name, from_duckdb(child.type, column=f"{column}.{child.name}"))
                    for child in type_.children
                )
            )
    found = _FROM_DUCKDB.get(type_.name)
    if found is None:
        raise InputError(
            f"column {column!r} has type {type_.text}, which Delta tables cannot hold",
            next_step=f"Cast it first, for example to {_SUGGESTION.get(type_.name, 'VARCHAR')}",
            column=column,
        )
    return found


_SUGGESTION = {
    "null": "the type that it is to have",
    '"null"': "the type that it is to have",
    "interval": "BIGINT (microseconds)",
    "uhugeint": "DECIMAL(38,0)",
}


def schema_from_duckdb(columns: tuple[Column, ...]) -> Struct:
    """Return the Delta schema that holds a DuckDB relation's columns, all nullable."""
    return Struct(
        tuple(
            Field(column.name, from_duckdb(column.type, column=column.name)) for column in columns
        )
    )


def to_arrow(type_: Type) -> pa.DataType:
    """Return the Arrow type of a Delta type (timestamps in microseconds)."""
    match type_:
        case Primitive(name):
            arrow, *arguments = _TO_ARROW[name]
            return getattr(pa, arrow)(*arguments)
        case Decimal(precision, scale):
            return pa.decimal128(precision, scale)
        case Array(element, contains_null):
            return pa.list_(pa.field("element", to_arrow(element), contains_null))
        case Map(key, value, value_contains_null):
            return pa.map_(
                pa.field("key", to_arrow(key), False),
                pa.field("value", to_arrow(value), value_contains_null),
            )
        case Struct(fields):
            return pa.struct([pa.field(f.name, to_arrow(f.type), f.nullable) for f in fields])


def schema_to_arrow(schema: Struct) -> pa.Schema:
    """Return a table's schema for users; column comments become Arrow field metadata."""
    return pa.schema(
        [
            pa.field(
                field.name,
                to_arrow(field.type),
                field.nullable,
                metadata=_comment(field),
            )
            for field in schema
        ]
    )


def schema_from_arrow(schema: pa.Schema) -> Struct:
    """Return the Delta schema of an Arrow schema, keeping nullability and ``comment`` metadata.

    Raises InputError for a type that Delta cannot hold without loss of meaning.
    """
    return Struct(tuple(_field_from_arrow(field, field.name) for field in schema))


def _comment(field: Field) -> dict[str, str] | None:
    comment = field.metadata.get("comment")
    return {"comment": str(comment)} if comment else None


def _field_from_arrow(field: pa.Field, path: str) -> Field:
    comment = (field.metadata or {}).get(b"comment")
    metadata = {"comment": comment.decode()} if comment else {}
    return Field(field.name, _from_arrow(field.type, path), field.nullable, metadata)


def _from_arrow(type_: pa.DataType, path: str) -> Type:
    is_ = pa.types
    if is_.is_dictionary(type_):
        return _from_arrow(type_.value_type, path)
    if isinstance(type_, pa.BaseExtensionType):
        return Primitive("string") if type_ == pa.uuid() else _from_arrow(type_.storage_type, path)
    for kind, found in _FROM_ARROW:
        if getattr(is_, f"is_{kind}")(type_):
            return found
    if is_.is_timestamp(type_):
        return Primitive("timestamp" if type_.tz else "timestamp_ntz")
    if is_.is_decimal(type_) and 0 <= type_.scale <= type_.precision <= 38:
        return Decimal(type_.precision, type_.scale)
    if (
        is_.is_list(type_)
        or is_.is_large_list(type_)
        or is_.is_fixed_size_list(type_)
        or is_.is_list_view(type_)
        or is_.is_large_list_view(type_)
    ):
        return Array(_from_arrow(type_.value_type, path), type_.value_field.nullable)
    if is_.is_map(type_):
        return Map(
            _from_arrow(type_.key_type, path),
            _from_arrow(type_.item_type, path),
            type_.item_field.nullable,
        )
    if is_.is_struct(type_):
        return Struct(
            tuple(_field_from_arrow(child, f"{path}.{child.name}") for child in type_.fields)
        )
    raise InputError(
        f"column {path!r} has Arrow type {type_}, which Delta tables cannot hold",
        next_step="Cast it to a type that Delta has, or leave the column out",
        column=path,
    )


_FROM_ARROW = (
    ("boolean", Primitive("boolean")),
    ("int8", Primitive("byte")),
    ("int16", Primitive("short")),
    ("int32", Primitive("integer")),
    ("int64", Primitive("long")),
    ("uint8", Primitive("short")),
    ("uint16", Primitive("integer")),
    ("uint32", Primitive("long")),
    ("uint64", Decimal(20, 0)),
    ("float16", Primitive("float")),
    ("float32", Primitive("float")),
    ("float64", Primitive("double")),
    ("date", Primitive("date")),
    ("string", Primitive("string")),
    ("large_string", Primitive("string")),
    ("string_view", Primitive("string")),
    ("binary", Primitive("binary")),
    ("large_binary", Primitive("binary")),
    ("binary_view", Primitive("binary")),
    ("fixed_size_binary", Primitive("binary")),
)
