"""Delta table schemas as frozen values, and their JSON form.

Source: Delta protocol, "Schema Serialization Format". Field metadata is kept as it is read, so
that what other engines store there (comments, column mapping ids, defaults) survives our writes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import CorruptionError, UnsupportedError
from lakehouse.delta.strict_json import document, flag, mapping, whole

PRIMITIVES = (
    "string", "long", "integer", "short", "byte", "float", "double", "boolean", "binary",
    "date", "timestamp", "timestamp_ntz",
)  # fmt: skip
PHYSICAL_NAME = "delta.columnMapping.physicalName"
FIELD_ID = "delta.columnMapping.id"


@dataclasses.dataclass(frozen=True, slots=True)
class Primitive:
    """Name one of the protocol's primitive types, such as ``long`` or ``timestamp``."""

    name: str


FLOATS = (Primitive("float"), Primitive("double"))


@dataclasses.dataclass(frozen=True, slots=True)
class Decimal:
    """Hold exact numbers of at most ``precision`` (1 to 38) digits, ``scale`` after the point."""

    precision: int
    scale: int


@dataclasses.dataclass(frozen=True, slots=True)
class Array:
    """Hold lists of one element type."""

    element: Type
    contains_null: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Map:
    """Hold key-value pairs; keys are never NULL."""

    key: Type
    value: Type
    value_contains_null: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """Describe one column or struct field."""

    name: str
    type: Type
    nullable: bool = True
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def physical_name(self) -> str:
        """Return the name in data files and statistics (differs under column mapping)."""
        return str(self.metadata.get(PHYSICAL_NAME) or self.name)

    @property
    def field_id(self) -> int | None:
        """Return the column mapping id, where the table has one."""
        value = self.metadata.get(FIELD_ID)
        return None if value is None else int(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Struct:
    """Hold named fields; a table's schema is a struct.

    >>> Struct((Field("id", Primitive("long")),)).to_json()
    '{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}'
    """

    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def names(self) -> tuple[str, ...]:
        """Return the fields' names in order."""
        return tuple(field.name for field in self.fields)

    def mentions(self, name: str) -> bool:
        """Tell whether a name occurs anywhere in the schema, in names or metadata."""
        return name in self.to_json()

    def field(self, name: str) -> Field | None:
        """Return the field of exactly this name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    def to_json(self) -> str:
        """Return the ``schemaString`` of a metadata action."""
        return json.dumps(_to_value(self), ensure_ascii=False, separators=(",", ":"))


Type = Primitive | Decimal | Array | Map | Struct


def schema_from_json(text: str) -> Struct:
    """Parse a ``schemaString``.

    Raises CorruptionError where it is not a struct in the protocol's form, and UnsupportedError,
    by name, for a type that we do not read.
    """
    try:
        parsed = _from_value(document(text.encode()))
        if isinstance(parsed, Struct):
            _check_fields(parsed)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise CorruptionError(
            f"the table's schema cannot be parsed: {error}",
            next_step="Restore the table to an earlier version",
        ) from error
    if not isinstance(parsed, Struct):
        raise CorruptionError("the table's schema is not a struct")
    return parsed


def _check_fields(schema: Struct) -> None:
    """Raise ValueError where two columns, or two of a struct's fields, cannot be told apart."""
    ids: set[int] = set()
    for struct in _structs(schema):
        for what, names in (
            ("named", [field.name.lower() for field in struct]),
            ("stored as", [field.physical_name for field in struct]),
        ):
            if "" in names:
                raise ValueError("a column has no name")
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"two columns are {what} {twice!r}")
        for field in struct:
            if "\0" in field.name + field.physical_name:
                raise ValueError(f"the name {field.name!r} holds NUL")
            if field.field_id is not None and field.field_id in ids:
                raise ValueError(f"two columns have the id {field.field_id}")
            ids.update(() if field.field_id is None else (field.field_id,))


def _structs(type_: Type) -> Iterator[Struct]:
    match type_:
        case Struct(fields):
            yield type_
            for field in fields:
                yield from _structs(field.type)
        case Array(element):
            yield from _structs(element)
        case Map(key, value):
            yield from _structs(key)
            yield from _structs(value)
        case _:
            return


def leaves(
    schema: Struct, prefix: tuple[Field, ...] = ()
) -> Iterator[tuple[tuple[Field, ...], Type]]:
    """Yield the path of fields and the type of every leaf, descending into structs only.

    Statistics are kept per such leaf; lists and maps are leaves.
    """
    for field in schema:
        path = (*prefix, field)
        if isinstance(field.type, Struct):
            yield from leaves(field.type, path)
        else:
            yield path, field.type


def fields_of(type_: Type) -> Iterator[Field]:
    """Yield every field of a type, at any depth."""
    match type_:
        case Struct(fields):
            for field in fields:
                yield field
                yield from fields_of(field.type)
        case Array(element):
            yield from fields_of(element)
        case Map(key, value):
            yield from fields_of(key)
            yield from fields_of(value)
        case _:
            pass


def _to_value(type_: Type) -> Any:
    match type_:
        case Primitive(name):
            return name
        case Decimal(precision, scale):
            return f"decimal({precision},{scale})"
        case Array(element, contains_null):
            return {
                "type": "array",
                "elementType": _to_value(element),
                "containsNull": contains_null,
            }
        case Map(key, value, value_contains_null):
            return {
                "type": "map",
                "keyType": _to_value(key),
                "valueType": _to_value(value),
                "valueContainsNull": value_contains_null,
            }
        case Struct(fields):
            return {
                "type": "struct",
                "fields": [
                    {
                        "name": field.name,
                        "type": _to_value(field.type),
                        "nullable": field.nullable,
                        "metadata": dict(field.metadata),
                    }
                    for field in fields
                ],
            }


def _from_value(value: Any) -> Type:
    if isinstance(value, str):
        return _from_name(value)
    kind = mapping(value, "a type")["type"]
    if kind == "struct":
        return Struct(
            tuple(
                Field(
                    name=_text(field["name"]),
                    type=_from_value(field["type"]),
                    nullable=flag(field.get("nullable"), otherwise=True),
                    metadata=_metadata(field.get("metadata")),
                )
                for field in value["fields"]
            )
        )
    if kind == "array":
        return Array(
            _from_value(value["elementType"]), flag(value.get("containsNull"), otherwise=True)
        )
    if kind == "map":
        return Map(
            _from_value(value["keyType"]),
            _from_value(value["valueType"]),
            flag(value.get("valueContainsNull"), otherwise=True),
        )
    raise UnsupportedError(f"column type {kind!r} is not supported")


def _metadata(value: Any) -> Mapping[str, Any]:
    found = mapping({} if value is None else value, "a field's metadata")
    if found.get(PHYSICAL_NAME) is not None:
        _text(found[PHYSICAL_NAME])
    if found.get(FIELD_ID) is not None:
        whole(found[FIELD_ID])
    return MappingProxyType(dict(found))


def _from_name(name: str) -> Type:
    if name in PRIMITIVES:
        return Primitive(name)
    if name == "decimal":
        return Decimal(10, 0)
    if name.startswith("decimal(") and name.endswith(")"):
        precision, scale = (int(part) for part in name[8:-1].split(","))
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise ValueError(f"{name} is out of range")
        return Decimal(precision, scale)
    feature = f"{name}Type"  # as the protocol calls what brings a type, such as variantType
    raise UnsupportedError(
        f"cannot read this table: a column is of type {name!r} ({feature})",
        next_step="Read it with an engine that knows the type",
        features=(feature,),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a name")
    return value
