"""Describe DuckDB's columns and types as frozen values, alike in every DuckDB version."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from lakehouse.duck.errors import DuckError, Interruption


@dataclasses.dataclass(frozen=True, slots=True)
class DuckType:
    """Hold a DuckDB type: its name in lower case, its parts, and its SQL text."""

    name: str
    text: str
    children: tuple[Column, ...] = ()
    precision: int = 0
    scale: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """Hold a column or struct field: name and type."""

    name: str
    type: DuckType


def columns_of(relation: Any) -> tuple[Column, ...]:
    """Return the columns of a DuckDB relation, in order."""
    return tuple(
        Column(name, type_of(type_))
        for name, type_ in zip(relation.columns, relation.types, strict=True)
    )


def are_alike(cursor: Any, queries: Sequence[str], params: Any = None) -> bool:
    """Tell whether queries can be run and have columns of the same names and types."""
    try:
        found = [cursor.sql(query, params=params) for query in queries]
        columns = [(one.columns, one.types) for one in found]
    except Interruption:
        raise
    except DuckError:
        return False  # a name in one was none, or is not found in its form
    return columns[1:] == columns[:-1]


def type_of(type_: Any) -> DuckType:
    """Return the description of a ``DuckDBPyType``."""
    name, text = str(type_.id), str(type_)
    if text == "JSON":
        return DuckType("varchar", "VARCHAR")
    if name == "decimal":
        parts = dict(type_.children)
        return DuckType(name, text, (), int(parts["precision"]), int(parts["scale"]))
    if name in ("list", "array"):
        return DuckType(name, text, (Column("element", type_of(type_.children[0][1])),))
    if name in ("struct", "map"):
        children = tuple(Column(str(key), type_of(child)) for key, child in type_.children)
        return DuckType(name, text, children)
    return DuckType(name, text)
