"""Evolve a table's schema to take incoming columns: pure rules by mode.

``strict`` leaves the schema as it is; ``add`` adds columns that the table lacks, at any depth;
``widen`` also widens types without loss and lets columns be NULL that must not. Columns match by
name, in any order and case; nothing is ever renamed, narrowed or dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from lakehouse.delta.schema.fields import Array, Field, Map, Struct, Type
from lakehouse.delta.schema.types import from_duckdb
from lakehouse.delta.schema.widening import joined
from lakehouse.duck.describe import Column, DuckType
from lakehouse.write.fit import fits

SchemaMode = Literal["strict", "add", "widen"]


@dataclasses.dataclass(frozen=True, slots=True)
class Misfits:
    """Name the columns whose values were found not to fit the table as it is.

    ``values`` hold some that their type cannot, ``nulls`` hold NULL and must not.
    """

    values: frozenset[str] = frozenset()
    nulls: frozenset[str] = frozenset()


def evolved(
    schema: Struct,
    source: Collection[Column],
    *,
    mode: SchemaMode,
    misfits: Misfits = Misfits(),
) -> Struct:
    """Return the schema that takes the columns of ``source``, as far as ``mode`` allows.

    A type widens where none of the source's values could fit (mode ``widen``), or where some do
    not, as ``misfits`` says. What cannot be taken is left for the gate to refuse. Raises
    InputError for a new column of a type that Delta tables cannot hold.
    """
    if mode == "strict":
        return schema
    found = {column.name.lower(): column for column in source}
    fields = []
    for field in schema:
        column = found.pop(field.name.lower(), None)
        nullable = field.nullable
        type_ = field.type
        if mode == "widen" and (column is None or field.name in misfits.nulls):
            nullable = True
        if column is not None:
            widen = _Widening(mode == "widen", field.name in misfits.values)
            type_ = _merged(type_, column.type, widen, field.name)
        fields.append(dataclasses.replace(field, type=type_, nullable=nullable))
    added = (
        Field(column.name, from_duckdb(column.type, column=column.name))
        for column in found.values()
    )
    return Struct((*fields, *added))


@dataclasses.dataclass(frozen=True, slots=True)
class _Widening:
    allowed: bool
    wanted: bool


def _merged(type_: Type, source: DuckType, widen: _Widening, path: str) -> Type:
    match type_:
        case Struct() if source.name == "struct":
            return _merged_struct(type_, source, widen, path)
        case Array(element, contains_null) if source.name in ("list", "array"):
            inner = _merged(element, source.children[0].type, widen, f"{path}.element")
            return Array(inner, contains_null)
        case Map(key, value, contains_null) if source.name == "map":
            keys, values = (child.type for child in source.children)
            return Map(
                _merged(key, keys, widen, f"{path}.key"),
                _merged(value, values, widen, f"{path}.value"),
                contains_null,
            )
        case Struct() | Array() | Map():
            return type_
    if not widen.allowed or source.name in ("null", '"null"'):
        return type_
    if not widen.wanted and fits(source, type_):
        return type_
    return joined(type_, from_duckdb(source, column=path)) or type_


def _merged_struct(type_: Struct, source: DuckType, widen: _Widening, path: str) -> Struct:
    found = {child.name.lower(): child for child in source.children}
    fields = []
    for field in type_:
        child = found.pop(field.name.lower(), None)
        where = f"{path}.{field.name}"
        if child is None:
            # A struct of a NOT NULL field that the rows lack could not be taken at all.
            nullable = field.nullable or widen.allowed
            fields.append(dataclasses.replace(field, nullable=nullable))
        else:
            inner = _merged(field.type, child.type, widen, where)
            fields.append(dataclasses.replace(field, type=inner))
    added = (
        Field(child.name, from_duckdb(child.type, column=f"{path}.{child.name}"))
        for child in found.values()
    )
    return Struct((*fields, *added))
