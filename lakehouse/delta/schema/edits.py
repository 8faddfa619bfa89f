"""Edit a schema at a path: pure functions from schema to schema.

A path is names from the outside in; ``element`` goes into a list, ``key`` and ``value`` into a
map. Names are found whatever their case, as SQL does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from catalog.errors import AlreadyExistsError, InputError, NotFoundError
from catalog.names import near_misses
from lakehouse.delta.schema.fields import Array, Field, Map, Struct, Type

Path = tuple[str, ...]
Fields = tuple[Field, ...]


def shown(path: Path) -> str:
    """Return a path as people write it.

    >>> shown(("address", "street"))
    'address.street'
    """
    return ".".join(path)


def find(schema: Struct, path: Path) -> Field:
    """Return the field at a path; NotFoundError carries the near misses."""
    found: list[Field] = []

    def look(fields: Fields, index: int) -> Fields:
        found.append(fields[index])
        return fields

    _edit(schema, path, look, path)
    return found[0]


def add_field(
    schema: Struct, path: Path, field: Field, *, after: str | None = None, first: bool = False
) -> Struct:
    """Add a field to the struct at ``path`` (empty: the table), at its end unless told where."""

    def add(struct: Struct) -> Struct:
        taken = _index(struct.fields, field.name)
        if taken is not None:
            raise AlreadyExistsError(
                f"there is a column {shown((*path, struct.fields[taken].name))!r} already",
                next_step="Choose another name",
            )
        place = 0 if first else len(struct.fields)
        if after is not None:
            place = _required(struct.fields, after, (*path, after)) + 1
        return Struct((*struct.fields[:place], field, *struct.fields[place:]))

    return _in_struct(schema, path, add)


def replace_field(schema: Struct, path: Path, change: Callable[[Field], Field]) -> Struct:
    """Change one field."""
    return _edit(
        schema,
        path,
        lambda fields, index: (*fields[:index], change(fields[index]), *fields[index + 1 :]),
        path,
    )


def rename_field(schema: Struct, path: Path, name: str) -> Struct:
    """Give a field another name; its place, type and metadata stay."""

    def rename(fields: Fields, index: int) -> Fields:
        taken = _index(fields, name)
        if taken is not None and taken != index:
            raise AlreadyExistsError(
                f"there is a column {shown((*path[:-1], fields[taken].name))!r} already",
                next_step="Choose another name",
            )
        renamed = dataclasses.replace(fields[index], name=name)
        return (*fields[:index], renamed, *fields[index + 1 :])

    return _edit(schema, path, rename, path)


def drop_field(schema: Struct, path: Path) -> Struct:
    """Leave a field out; the last one of a struct must stay."""

    def drop(fields: Fields, index: int) -> Fields:
        if len(fields) == 1:
            raise InputError(
                f"{shown(path)!r} is the only column of its "
                f"{'struct' if len(path) > 1 else 'table'} and cannot be dropped",
                next_step="Add another column first, or drop what holds it",
            )
        return (*fields[:index], *fields[index + 1 :])

    return _edit(schema, path, drop, path)


def move_field(schema: Struct, path: Path, *, after: str | None) -> Struct:
    """Put a field behind another one of its struct, or first (``after`` None)."""

    def move(fields: Fields, index: int) -> Fields:
        moved, rest = fields[index], (*fields[:index], *fields[index + 1 :])
        if after is None:
            return (moved, *rest)
        place = _required(rest, after, (*path[:-1], after)) + 1
        return (*rest[:place], moved, *rest[place:])

    return _edit(schema, path, move, path)


def with_metadata(field: Field, key: str, value: Any) -> Field:
    """Set one entry of a field's metadata; None takes it away."""
    metadata = {name: known for name, known in field.metadata.items() if name != key}
    if value is not None:
        metadata[key] = value
    return dataclasses.replace(field, metadata=MappingProxyType(metadata))


def _in_struct(schema: Struct, path: Path, change: Callable[[Struct], Struct]) -> Struct:
    """Change the struct at a path, which may be a column or stand inside a list or map."""
    changed = _descend(schema, path, change, path)
    assert isinstance(changed, Struct)
    return changed


def _descend(type_: Type, steps: Path, change: Callable[[Struct], Struct], whole: Path) -> Type:
    match type_, steps:
        case Struct(), ():
            return change(type_)
        case Struct(fields), (name, *rest):
            index = _required(fields, name, whole)
            inner = _descend(fields[index].type, tuple(rest), change, whole)
            field = dataclasses.replace(fields[index], type=inner)
            return Struct((*fields[:index], field, *fields[index + 1 :]))
        case Array(element, contains_null), ("element", *rest):
            return Array(_descend(element, tuple(rest), change, whole), contains_null)
        case Map(key, value, contains_null), ("key", *rest):
            return Map(_descend(key, tuple(rest), change, whole), value, contains_null)
        case Map(key, value, contains_null), ("value", *rest):
            return Map(key, _descend(value, tuple(rest), change, whole), contains_null)
    raise InputError(
        f"{shown(whole)!r} is no struct, and has no fields",
        next_step="Name a struct; 'element' goes into a list, 'key' and 'value' into a map",
    )


def _edit(
    schema: Struct, path: Path, change: Callable[[Fields, int], Fields], whole: Path
) -> Struct:
    if not path:
        raise InputError("a column has no name")
    if len(path) == 1:
        return Struct(change(schema.fields, _required(schema.fields, path[0], whole)))
    return _in_struct(schema, path[:-1], lambda struct: _edit(struct, path[-1:], change, whole))


def _index(fields: Fields, name: str) -> int | None:
    exact = [index for index, field in enumerate(fields) if field.name == name]
    folded = [index for index, field in enumerate(fields) if field.name.lower() == name.lower()]
    return next(iter(exact or folded), None)


def _required(fields: Fields, name: str, whole: Path) -> int:
    found = _index(fields, name)
    if found is None:
        near = near_misses(name, [field.name for field in fields])
        raise NotFoundError(
            f"there is no column {shown(whole)!r}",
            next_step=f"Did you mean {' or '.join(map(repr, near))}?" if near else None,
            near=near,
        )
    return found
