"""Column mapping: names and numbers of columns in data files, apart from those that users see.

Source: Delta protocol, "Column Mapping". With it, renaming or dropping a column changes the
schema and no data file.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lakehouse.delta.schema.fields import (
    FIELD_ID,
    PHYSICAL_NAME,
    Array,
    Field,
    Map,
    Struct,
    Type,
    fields_of,
)

MODE = "delta.columnMapping.mode"
MAX_ID = "delta.columnMapping.maxColumnId"

FieldIds = dict[str, Any]


def is_mapped(configuration: Mapping[str, str]) -> bool:
    """Tell whether a table's columns are mapped, by name or by id."""
    return mode_of(configuration) in ("name", "id")


def mode_of(configuration: Mapping[str, str]) -> str:
    """Return the mode in lower case: ``none``, ``name`` or ``id``; engines write it in any.

    >>> mode_of({MODE: "Name"}), mode_of({})
    ('name', 'none')
    """
    return configuration.get(MODE, "none").lower()


def assigned(
    schema: Struct,
    configuration: Mapping[str, str],
    *,
    keep_names: bool = False,
    seed: uuid.UUID | None = None,
) -> tuple[Struct, Mapping[str, str]]:
    """Give an id and a physical name to the fields of a mapped table that have none.

    ``keep_names`` takes the present names as physical ones, which is right where data files have
    them already. Names are random, and the same for the same ``seed`` and path of names. Returns
    the schema and the configuration with the greatest id ever given.
    """
    if not is_mapped(configuration):
        return schema, configuration
    used = max((field.field_id or 0 for field in fields_of(schema)), default=0)
    text = configuration.get(MAX_ID, "0")
    counter = _Counter(max(used, int(text) if text.isdigit() else 0))
    namespace = seed or uuid.uuid4()

    def named(field: Field, path: tuple[str, ...]) -> Field:
        metadata = dict(field.metadata)
        if field.field_id is None:
            metadata[FIELD_ID] = counter.next()
        if PHYSICAL_NAME not in metadata:
            fresh = f"col-{uuid.uuid5(namespace, repr(path))}"
            metadata[PHYSICAL_NAME] = field.name if keep_names else fresh
        return dataclasses.replace(field, metadata=MappingProxyType(metadata))

    changed = mapped_fields(schema, named)
    return changed, MappingProxyType({**configuration, MAX_ID: str(counter.last)})


def field_ids(schema: Struct, *, without: tuple[str, ...] = ()) -> FieldIds:
    """Return the ids that data files carry, by physical name: DuckDB's ``FIELD_IDS``.

    Fields below a struct, list or map stand in a dict beside ``__duckdb_field_id``. ``without``
    are physical names of columns that the files do not hold. Empty where nothing has an id.
    """
    found = {field.physical_name: _ids(field) for field in schema}
    return {name: ids for name, ids in found.items() if ids is not None and name not in without}


def mapped_fields(
    schema: Struct,
    change: Callable[[Field, tuple[str, ...]], Field],
    path: tuple[str, ...] = (),
) -> Struct:
    """Return a schema with ``change(field, path)`` done to every field, outer ones first."""
    fields = []
    for field in schema:
        where = (*path, field.name)
        made = change(field, where)
        fields.append(dataclasses.replace(made, type=_inside(made.type, change, where)))
    return Struct(tuple(fields))


def _inside(
    type_: Type, change: Callable[[Field, tuple[str, ...]], Field], path: tuple[str, ...]
) -> Type:
    match type_:
        case Struct():
            return mapped_fields(type_, change, path)
        case Array(element, contains_null):
            return Array(_inside(element, change, (*path, "element")), contains_null)
        case Map(key, value, contains_null):
            return Map(
                _inside(key, change, (*path, "key")),
                _inside(value, change, (*path, "value")),
                contains_null,
            )
        case _:
            return type_


@dataclasses.dataclass(slots=True)
class _Counter:
    last: int

    def next(self) -> int:
        self.last += 1
        return self.last


def _ids(field: Field) -> FieldIds | int | None:
    inner = _inner_ids(field.type)
    if not inner:
        return field.field_id
    own = {} if field.field_id is None else {"__duckdb_field_id": field.field_id}
    return {**own, **inner}


def _inner_ids(type_: Type) -> FieldIds:
    match type_:
        case Struct():
            return field_ids(type_)
        case Array(element):
            parts: dict[str, Type] = {"element": element}
        case Map(key, value):
            parts = {"key": key, "value": value}
        case _:
            return {}
    found = {name: _inner_ids(part) for name, part in parts.items()}
    return {name: ids for name, ids in found.items() if ids}
